"""Losses for several kinds of networks."""

import jax
import jax.numpy as jnp

from jaxgan.core.types import Array


def softmax_cross_entropy(*, logits: Array, labels: Array) -> Array:
    """Return -log softmax(logits)[label] [batch] for logits [batch, outputs], labels [batch]."""
    log_probabilities = jax.nn.log_softmax(logits)
    return -jnp.take_along_axis(log_probabilities, labels[:, None], axis=1)[:, 0]
