"""Numbers from arrays: distances, diversity, memorisation, classification."""
