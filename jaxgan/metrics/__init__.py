"""Measures of image sets and of classifiers."""
