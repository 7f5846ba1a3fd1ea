"""Convolutions as one matrix product over gathered windows: the fastest for few channels.

The windows of an image become rows [places, k * k * i]; their transpose scatters rows back by
adding shifted copies. An image of the kernel's own size needs neither: it is one row.
"""

import jax.numpy as jnp
from jax import Array, lax

from jaxgan.ops.geometry import Geometry
from jaxgan.ops.plane import from_plane, image_kernel, plane_kernel, to_plane


def _gather(x: Array, g: Geometry) -> Array:
    """Collect windows: [b, *g.size, i] -> [b, *g.out, k * k * i], in the plane kernel's order."""
    z = to_plane(x, g, g.out)
    if g.out == (1, 1):
        return z.reshape(z.shape[0], 1, 1, -1)
    rh, rw = (k // g.stride for k in g.kernel)
    h, w = g.out
    return jnp.concatenate(
        [z[:, p : p + h, q : q + w] for p in range(rh) for q in range(rw)], axis=-1
    )


def _scatter(rows: Array, g: Geometry) -> Array:
    """Add windows at their original positions: the transpose of `_gather`."""
    rh, rw = (k // g.stride for k in g.kernel)
    if g.out == (1, 1):
        return from_plane(rows.reshape(rows.shape[0], rh, rw, -1), g)
    parts = jnp.split(rows, rh * rw, axis=-1)
    shifts = [(p, q) for p in range(rh) for q in range(rw)]
    zero = jnp.zeros((), rows.dtype)
    moved = [
        lax.pad(part, zero, [(0, 0, 0), (p, rh - 1 - p, 0), (q, rw - 1 - q, 0), (0, 0, 0)])
        for part, (p, q) in zip(parts, shifts, strict=True)
    ]
    return from_plane(sum(moved[1:], start=moved[0]), g)


def forward(x: Array, kernel: Array, g: Geometry) -> Array:
    """Convolve: [b, *g.size, i], [k, k, i, o] -> [b, *g.out, o]."""
    rows = _gather(x, g)
    weights = plane_kernel(kernel, g).reshape(-1, kernel.shape[-1])
    return (rows.reshape(-1, rows.shape[-1]) @ weights).reshape(*rows.shape[:3], -1)


def input_gradient(dy: Array, kernel: Array, g: Geometry) -> Array:
    """Transpose the convolution: [b, *g.out, o], [k, k, i, o] -> [b, *g.size, i]."""
    weights = plane_kernel(kernel, g).reshape(-1, kernel.shape[-1])
    rows = lax.dot_general(dy.reshape(-1, dy.shape[-1]), weights, (((1,), (1,)), ((), ())))
    return _scatter(rows.reshape(*dy.shape[:3], -1), g)


def kernel_gradient(x: Array, dy: Array, g: Geometry) -> Array:
    """Differentiate by the kernel: [b, *g.size, i], [b, *g.out, o] -> [k, k, i, o]."""
    rows = _gather(x, g)
    i, o = x.shape[-1], dy.shape[-1]
    dk = lax.dot_general(
        rows.reshape(-1, rows.shape[-1]), dy.reshape(-1, o), (((0,), (0,)), ((), ()))
    )
    rh, rw = (k // g.stride for k in g.kernel)
    return image_kernel(dk.reshape(rh, rw, g.stride**2 * i, o), g)
