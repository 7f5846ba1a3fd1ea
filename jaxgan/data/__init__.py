"""Images in: sources (folder, phantom, TFDS), decoding, values, splits by patient, copies."""
