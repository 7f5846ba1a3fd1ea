"""The classifiers: what each learns, and how."""
