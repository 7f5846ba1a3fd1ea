"""Layers, states and optimizers: the parts of both kinds of networks."""
