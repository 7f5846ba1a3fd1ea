"""The cross-entropy against its closed form."""

import jax.numpy as jnp
import numpy as np

from jaxgan.networks import losses


def test_cross_entropy_is_minus_log_softmax():
    logits = np.array([[1.0, 2.0, -1.0], [0.0, 0.0, 0.0]])
    softmax = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    loss = losses.softmax_cross_entropy(logits=jnp.array(logits), labels=jnp.array([1, 2]))
    np.testing.assert_allclose(loss, -np.log(softmax[[0, 1], [1, 2]]), rtol=1e-6)
    extreme = losses.softmax_cross_entropy(
        logits=jnp.array([[100.0, -100.0]]), labels=jnp.array([1])
    )
    np.testing.assert_allclose(extreme, [200.0])
