"""Transposed convolutions of few images: one matrix product per tap, with the unchanged kernel.

For one or two images the other forms spend most of their time on flipping the kernel. A tap is one
position of a kernel. Its product with all pixels is added at the positions of that tap.
"""

import jax.numpy as jnp
from jax import Array, lax

from jaxgan.ops.geometry import Geometry

_FEW = 8  # images: from this number on, flipping a kernel costs little in comparison


def is_spread_of_few(g: Geometry, batch: int) -> bool:
    """Whether each of a few pixels becomes an image of the kernel's size."""
    is_few = isinstance(batch, int) and batch < _FEW  # a symbol in an exported program
    return is_few and g.out == (1, 1) and g.stride == 1 and g.size == g.kernel


def is_doubling(g: Geometry) -> bool:
    """Whether the result has twice the size of the images, with a kernel of 4x4."""
    is_shape = (g.kernel, g.stride, tuple(g.padding)) == ((4, 4), 2, ((1, 1), (1, 1)))
    return is_shape and g.size == (2 * g.out[0], 2 * g.out[1])


def transposed(dy: Array, kernel: Array, g: Geometry) -> Array:
    """Convolve the dilated image: [b, *g.out, i], [k, k, i, o] -> [b, *g.size, o]."""
    # XLA computes such a product in one thread. Two halves of an image use two threads.
    halves = jnp.split(dy, 1 if g.out[0] % 2 else 2, axis=1)
    products = jnp.concatenate([_multiply(half, kernel) for half in halves], axis=3)
    if g.out == (1, 1):
        return products[::-1, ::-1, :, 0, 0].transpose(2, 0, 1, 3)
    return _interleave([_interleave(list(row), 2) for row in products], 1)


def _multiply(dy: Array, kernel: Array) -> Array:
    """Multiply all pixels by each tap: [b, h, w, i], [k, k, i, o] -> [k, k, b, h, w, o]."""
    taps, (i, o) = kernel.shape[:2], kernel.shape[2:]
    num = taps[0] * taps[1]
    rows = jnp.broadcast_to(dy.reshape(1, -1, i), (num, dy.size // i, i))
    products = lax.dot_general(rows, kernel.reshape(num, i, o), (((2,), (1,)), ((0,), (0,))))
    return products.reshape(*taps, *dy.shape[:3], o)


def _interleave(taps: list[Array], axis: int) -> Array:
    """Combine the products of four taps along an axis of twice the length.

    Even positions get tap 0 of the previous position and tap 2. Odd positions get tap 1, and tap 3
    of the next position.
    """
    even, odd = _moved(taps[0], axis, 1) + taps[2], taps[1] + _moved(taps[3], axis, -1)
    joined = jnp.stack([even, odd], axis + 1)
    shape = joined.shape
    return joined.reshape(*shape[:axis], 2 * shape[axis], *shape[axis + 2 :])


def _moved(values: Array, axis: int, by: int) -> Array:
    places = [(0, 0, 0)] * 4
    places[axis] = (by, -by, 0)
    return lax.pad(values, jnp.zeros((), values.dtype), places)
