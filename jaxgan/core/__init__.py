"""Errors, files, seeds, settings: what every room needs, and what is said to the user."""
