"""The work of the launchers: training, sampling, keeping images, ablation."""
