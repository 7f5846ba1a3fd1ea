"""Convolutions with a kernel of one pixel, as one matrix product over pixels."""

import jax.numpy as jnp
from jax import Array, lax

from jaxgan.ops.geometry import Geometry


def is_pointwise(g: Geometry) -> bool:
    """Whether each result depends on one pixel, and on no padding."""
    return g.kernel == (1, 1) and all(low == 0 >= high for low, high in g.padding)


def _read(x: Array, g: Geometry) -> Array:
    """Take every `stride`-th pixel: [b, *g.size, i] -> [b * g.out, i]."""
    ends = [g.stride * (n - 1) + 1 for n in g.out]
    return x[:, : ends[0] : g.stride, : ends[1] : g.stride].reshape(-1, x.shape[-1])


def forward(x: Array, kernel: Array, g: Geometry) -> Array:
    """Convolve: [b, *g.size, i], [1, 1, i, o] -> [b, *g.out, o]."""
    return (_read(x, g) @ kernel[0, 0]).reshape(len(x), *g.out, -1)


def input_gradient(dy: Array, kernel: Array, g: Geometry) -> Array:
    """Transpose the convolution: [b, *g.out, o], [1, 1, i, o] -> [b, *g.size, i]."""
    rows = lax.dot_general(dy.reshape(-1, dy.shape[-1]), kernel[0, 0], (((1,), (1,)), ((), ())))
    dx = rows.reshape(*dy.shape[:3], -1)
    after = [-high for _, high in g.padding]
    pads = [(0, 0, 0), *((0, n, g.stride - 1) for n in after), (0, 0, 0)]
    return lax.pad(dx, jnp.zeros((), dx.dtype), pads)


def kernel_gradient(x: Array, dy: Array, g: Geometry) -> Array:
    """Differentiate by the kernel: [b, *g.size, i], [b, *g.out, o] -> [1, 1, i, o]."""
    rows = _read(x, g), dy.reshape(-1, dy.shape[-1])
    return lax.dot_general(*rows, (((0,), (0,)), ((), ())))[None, None]
