"""Errors, files, seeds, settings. Every other package needs them."""
