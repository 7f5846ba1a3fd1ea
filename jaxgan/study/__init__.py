"""Does it help? Arms x folds x seeds. They end with a verdict and a page."""
