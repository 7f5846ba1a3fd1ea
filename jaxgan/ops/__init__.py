"""Convolutions; they know arrays only."""
