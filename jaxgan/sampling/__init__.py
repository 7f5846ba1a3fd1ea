"""Images, and which of them are kept. From a generator during training, or from a run's folder."""
