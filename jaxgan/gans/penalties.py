"""Optional terms of D's loss: penalties on the gradient of its score by the image, and LeCam's.

A `score_fn` maps images [batch, height, width, channels] to logits [batch]. The gradient of the sum
over the batch is taken. It is each image's own gradient if D has no batch norm, which mixes images.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxgan.core.types import Array, Key

ScoreFn = Callable[[Array], Array]


def r1_penalty(score_fn: ScoreFn, real: Array) -> Array:
    """Return half the squared gradient at real images [batch] (Mescheder et al. 2018, eq. 9)."""
    return 0.5 * _squared_slope(score_fn, real)


def r2_penalty(score_fn: ScoreFn, fake: Array) -> Array:
    """Return half the squared gradient at fake images [batch] (Mescheder et al. 2018, eq. 10).

    With R1 at the same weight, the gamma of the paper, it is the penalty of R3GAN (Huang et al.
    2024).
    """
    return 0.5 * _squared_slope(score_fn, fake)


def gradient_penalty(score_fn: ScoreFn, real: Array, fake: Array, keys: Key) -> Array:
    """Return (slope - 1)^2 between a real and a fake image [batch] (Gulrajani et al. 2017, eq. 3).

    `keys` [batch] draw each point between the two.
    """
    share = jax.vmap(jax.random.uniform)(keys)[:, None, None, None]
    between = fake + share * (real - fake)
    # The root of 0 has no gradient: images that D cannot distinguish would make it NaN.
    slope = jnp.sqrt(_squared_slope(score_fn, between) + 1e-12)
    return (slope - 1.0) ** 2


def lecam_penalty(
    *, real_logits: Array, fake_logits: Array, real_average: Array, fake_average: Array
) -> Array:
    """Return the squared distances to the other side's average [batch] (Tseng et al. 2021).

    The averages, float [], are of D's earlier logits of real and of fake images. A D that is sure
    of its images moves away from both. The authors' code counts only the distances of a D that is
    right; their paper, and this, count all.
    """
    return (real_logits - fake_average) ** 2 + (fake_logits - real_average) ** 2


def _squared_slope(score_fn: ScoreFn, images: Array) -> Array:
    slopes = jax.grad(lambda x: jnp.sum(score_fn(x)))(images)
    return jnp.sum(slopes**2, axis=(1, 2, 3))
