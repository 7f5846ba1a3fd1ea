"""Layers, states, optimizers. What networks of both kinds are made of."""
