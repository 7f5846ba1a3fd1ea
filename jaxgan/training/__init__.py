"""The training loop and the run folder: batches, checkpoints, records, many small runs."""
