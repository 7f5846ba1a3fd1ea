"""The GANs: what each learns, and how."""
