"""Errors, files, seeds, settings. Every room needs them."""
