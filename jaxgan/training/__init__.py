"""A run: its batches, its loop, its folder, its checkpoints."""
