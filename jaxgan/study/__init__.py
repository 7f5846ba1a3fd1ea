"""Arms x folds x seeds -> a verdict and a page: `run.run_study` is the entrance."""
