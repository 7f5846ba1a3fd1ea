"""Images from a generator, and which of them are kept."""
