"""Numbers from arrays. Distances, diversity, memorisation, classification."""
