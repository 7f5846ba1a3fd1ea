"""Arms x folds x seeds -> a verdict and a page: `run.run_jobs`, then `page.write_study`."""
