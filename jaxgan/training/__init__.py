"""The loop of a run, its folder. Batches, checkpoints, records, many small runs."""
