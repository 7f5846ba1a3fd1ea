"""Draw images from a generator, during training or from a run's folder, and keep some of them."""
