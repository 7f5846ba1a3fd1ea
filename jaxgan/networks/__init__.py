"""Layers, states, optimizers. The parts of both kinds of networks."""
