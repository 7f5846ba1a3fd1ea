"""What the launchers do: train, sample, keep, ablate."""
