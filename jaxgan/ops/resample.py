"""Twice or half the size of images, by the low-pass filter [1, 3, 3, 1] in both directions.

The filter is [1, 2, 1] and the two equal pixels of a doubled image. StyleGAN2 and R3GAN resample
with it. Outside of an image there are zeros, as in their code.
"""

import jax.numpy as jnp
from jax import Array, lax

_ROWS, _COLUMNS = 1, 2  # axes of images


def upsample(x: Array) -> Array:
    """Double the size: [b, h, w, c] -> [b, 2 * h, 2 * w, c]. Inside, a constant stays constant."""
    return _upsample_axis(_upsample_axis(x, _ROWS), _COLUMNS)


def downsample(x: Array) -> Array:
    """Halve the size, of even h and w: [b, h, w, c] -> [b, h / 2, w / 2, c].

    It is a quarter of the transpose of `upsample`.
    """
    return _downsample_axis(_downsample_axis(x, _ROWS), _COLUMNS)


def _upsample_axis(x: Array, axis: int) -> Array:
    """Put two pixels in the place of each: 3/4 of it, and 1/4 of its neighbour on that side."""
    pair = [0.75 * x + 0.25 * _shift(x, by, axis) for by in (1, -1)]
    shape = [n * (1 + (i == axis)) for i, n in enumerate(x.shape)]
    return jnp.stack(pair, axis + 1).reshape(shape)


def _downsample_axis(x: Array, axis: int) -> Array:
    """Take 3/8 of the two pixels of each place, and 1/8 of the one before and the one after."""
    shape = x.shape
    pairs = x.reshape(*shape[:axis], shape[axis] // 2, 2, *shape[axis + 1 :])
    first, second = (jnp.squeeze(part, axis + 1) for part in jnp.split(pairs, 2, axis + 1))
    return 0.375 * (first + second) + 0.125 * (_shift(second, 1, axis) + _shift(first, -1, axis))


def _shift(x: Array, by: int, axis: int) -> Array:
    """Move an image by one pixel, forwards (1) or back (-1); a zero enters."""
    pads = [(0, 0, 0)] * x.ndim
    pads[axis] = (by, -by, 0)
    return lax.pad(x, jnp.zeros((), x.dtype), pads)
