"""What the launchers do. Training, sampling, keeping, ablating."""
