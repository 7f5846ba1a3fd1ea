"""The GANs, one file per family. Each family creates a `protocol.Gan`."""
