"""The work of the launchers. Training, sampling, keeping images, ablation."""
