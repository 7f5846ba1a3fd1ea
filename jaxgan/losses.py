"""Per-example losses on logits, in log-sigmoid form: finite and with a finite gradient everywhere.

With D(x) = sigmoid(logit), log D = -softplus(-logit) and log(1 - D) = -softplus(logit).
"""

import jax
import jax.numpy as jnp

from jaxgan.types import Array


def discriminator_loss(*, real_logits: Array, fake_logits: Array) -> tuple[Array, Array]:
    """Return the binary cross-entropy of real images as 1 and fake ones as 0, each [batch].

    Their sum is the negative of eq. 2; the listing in section 4.1 calls them errD_real, errD_fake.
    """
    return jax.nn.softplus(-real_logits), jax.nn.softplus(fake_logits)


def non_saturating_generator_loss(*, fake_logits: Array) -> Array:
    """Return -log D(G(z)) [batch]: what the listing in section 4.1 minimises (errG)."""
    return jax.nn.softplus(-fake_logits)


def saturating_generator_loss(*, fake_logits: Array) -> Array:
    """Return log(1 - D(G(z))) [batch], eq. 3: its gradient vanishes where D wins."""
    return -jax.nn.softplus(fake_logits)


def softmax_cross_entropy(*, logits: Array, labels: Array) -> Array:
    """Return -log softmax(logits)[label] [batch] for logits [batch, outputs], labels [batch]."""
    log_probabilities = jax.nn.log_softmax(logits)
    return -jnp.take_along_axis(log_probabilities, labels[:, None], axis=1)[:, 0]
