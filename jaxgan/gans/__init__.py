"""The GANs, one file a family: what each learns is a value of `protocol.Gan`."""
