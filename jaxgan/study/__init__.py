"""Does it help: arms x folds x seeds -> a verdict and a page."""
