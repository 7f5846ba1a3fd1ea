"""What networks are made of: layers, states, optimizers, losses."""
