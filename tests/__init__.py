"""A package of its own: torch-fidelity, a peer of the metrics, installs another called tests."""
