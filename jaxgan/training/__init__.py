"""The training loop, the run folder. Also batches, checkpoints, records, many small runs."""
