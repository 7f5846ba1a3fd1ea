"""Convert between an image for a convolution of stride s and its plane, for one of stride 1.

The s * s phases of the image become channels of the plane; the kernel [s r, s r, i, o] becomes
[r, r, s s i, o]. At stride 1 the two are the same, except that the plane contains the padding.
"""

from collections.abc import Sequence

import jax.numpy as jnp
from jax import Array, lax

from jaxgan.ops.geometry import Geometry, Sizes


def to_plane(x: Array, g: Geometry, out: Sizes) -> Array:
    """Pad an image for `out` results and fold its phases into channels."""
    x = pad(x, g.padding_to(out))
    if g.stride == 1:
        return x
    b, h, w, c = x.shape
    x = x.reshape(b, h // 2, 2, w // 2, 2 * c)
    return x.transpose(0, 1, 3, 2, 4).reshape(b, h // 2, w // 2, 4 * c)


def from_plane(z: Array, g: Geometry) -> Array:
    """Unfold the phases of a plane, at least as large as needed, and cut the padding off."""
    b, h, w, c = z.shape
    if g.stride == 2:
        z = z.reshape(b, h, w, 2, c // 2).transpose(0, 1, 3, 2, 4).reshape(b, 2 * h, 2 * w, c // 4)
    shape = z.shape[1:3]
    padding = tuple(
        (-low, size + low - n) for low, size, n in zip(g.low, g.size, shape, strict=True)
    )
    return pad(z, padding)


def plane_kernel(kernel: Array, g: Geometry) -> Array:
    """Order a kernel [k, k, i, o] as the plane's [r, r, channels, o]."""
    if g.stride == 1:
        return kernel
    _, _, i, o = kernel.shape
    return kernel.reshape(2, 2, 2, 2, i, o).transpose(0, 2, 1, 3, 4, 5).reshape(2, 2, 4 * i, o)


def image_kernel(kernel: Array, g: Geometry) -> Array:
    """Undo `plane_kernel`."""
    if g.stride == 1:
        return kernel
    _, _, i, o = kernel.shape
    kernel = kernel.reshape(2, 2, 2, 2, i // 4, o).transpose(0, 2, 1, 3, 4, 5)
    return kernel.reshape(4, 4, i // 4, o)


def pad(x: Array, padding: Sequence[tuple[int, int]]) -> Array:
    """Pad, or cut where negative, the two middle axes."""
    if all(p == (0, 0) for p in padding):
        return x
    zero = jnp.zeros((), x.dtype)
    return lax.pad(x, zero, [(0, 0, 0), *((lo, hi, 0) for lo, hi in padding), (0, 0, 0)])
