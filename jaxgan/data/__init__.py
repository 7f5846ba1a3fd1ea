"""Images in: sources (folder, phantom, TFDS), decoding, splitting by patient, feeding."""
