"""The GANs, one file a family. What each learns is a value of `protocol.Gan`."""
