"""Max pooling, with a gradient that needs no scatter."""

import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxgan.ops.geometry import Pads


@jax.custom_vjp
def max_pool_2x2(x: Array) -> Array:
    """Take the maximum of every 2x2 window: [b, h, w, c] -> [b, h // 2, w // 2, c].

    Equals `flax.linen.max_pool(x, (2, 2), (2, 2))`; of equal maxima the first in reading order
    receives the gradient, as in XLA and PyTorch.
    """
    a, b, c, d = _corners(x)
    return jnp.maximum(jnp.maximum(a, b), jnp.maximum(c, d))


def _corners(x: Array) -> list[Array]:
    """Split even rows and columns of x into the four places of its 2x2 windows.

    In an exported program the batch is a symbol: there, indexing would become a gather.
    """
    h, w = (n // 2 * 2 for n in x.shape[1:3])
    ends, steps = (x.shape[0], h, w, x.shape[3]), (1, 2, 2, 1)
    return [lax.slice(x, (0, p, q, 0), ends, steps) for p in range(2) for q in range(2)]


def _max_pool_fwd(x: Array) -> tuple[Array, tuple[Array, Array]]:
    y = max_pool_2x2(x)
    return y, (x, y)


def _max_pool_bwd(residual: tuple[Array, Array], g: Array) -> tuple[Array]:
    x, y = residual
    taken = jnp.zeros(y.shape, bool)
    parts = []
    for corner in _corners(x):
        here = (corner == y) & ~taken
        taken = taken | here
        parts.append(jnp.where(here, g, 0))
    rows = [jnp.stack(pair, 3) for pair in (parts[:2], parts[2:])]
    b, h, w, c = y.shape
    dx = jnp.stack(rows, 2).reshape(b, 2 * h, 2 * w, c)
    odd = [(0, n % 2, 0) for n in x.shape[1:3]]
    return (lax.pad(dx, jnp.zeros((), dx.dtype), [(0, 0, 0), *odd, (0, 0, 0)]),)


max_pool_2x2.defvjp(_max_pool_fwd, _max_pool_bwd)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def max_pool(x: Array, size: int, strides: int, pads: Pads) -> Array:
    """Take the maximum of windows of `size` x `size`: [b, h, w, c] -> [b, h', w', c].

    Equals `flax.linen.max_pool`, also in its gradient. XLA's own gradient is slow on a CPU: it
    searches the maximum of each window again, one number at a time.
    """
    by_taps = functools.partial(_pool_taps, size=size, strides=strides, pads=pads)
    by_library = functools.partial(_reduce_windows, size=size, strides=strides, pads=pads)
    return lax.platform_dependent(x, cpu=by_taps, default=by_library)


def _reduce_windows(x: Array, size: int, strides: int, pads: Pads) -> Array:
    window, steps = (1, size, size, 1), (1, strides, strides, 1)
    return lax.reduce_window(x, -jnp.inf, lax.max, window, steps, ((0, 0), *pads, (0, 0)))


def _pool_taps(x: Array, size: int, strides: int, pads: Pads) -> Array:
    return functools.reduce(jnp.maximum, (tap for _, tap in _list_taps(x, size, strides, pads)))


Tap = tuple[tuple[int, int], Array]


def _list_taps(x: Array, size: int, strides: int, pads: Pads) -> Iterator[Tap]:
    """Yield each place of a window, with the pixels that all windows have there."""
    padded = lax.pad(x, jnp.array(-jnp.inf, x.dtype), _create_pads(pads))
    ends = [(n - size) // strides * strides + 1 for n in padded.shape[1:3]]
    for i in range(size):
        for j in range(size):
            yield (i, j), padded[:, i : i + ends[0] : strides, j : j + ends[1] : strides]


def _create_pads(pads: Pads) -> list[tuple[int, int, int]]:
    return [(0, 0, 0), *((low, high, 0) for low, high in pads), (0, 0, 0)]


def _max_pool_windows_fwd(
    x: Array, size: int, strides: int, pads: Pads
) -> tuple[Array, tuple[Array, Array]]:
    y = max_pool(x, size, strides, pads)
    return y, (x, y)


def _max_pool_windows_bwd(
    size: int, strides: int, pads: Pads, residual: tuple[Array, Array], g: Array
) -> tuple[Array]:
    def by_library(x: Array, y: Array, g: Array) -> Array:
        del y
        pool = functools.partial(_reduce_windows, size=size, strides=strides, pads=pads)
        (dx,) = jax.vjp(pool, x)[1](g)
        return dx

    by_taps = functools.partial(_spread_taps, size=size, strides=strides, pads=pads)
    return (lax.platform_dependent(*residual, g, cpu=by_taps, default=by_library),)


def _spread_taps(x: Array, y: Array, g: Array, size: int, strides: int, pads: Pads) -> Array:
    """Add each gradient to the first maximum of its window."""
    first = jnp.full(y.shape, size**2, jnp.int32)
    taps = list(_list_taps(x, size, strides, pads))
    for number, (_, tap) in reversed(list(enumerate(taps))):
        first = jnp.where(tap == y, number, first)
    # The barrier makes XLA compute this once, and not again for each place.
    first = lax.optimization_barrier(first)
    zero, sizes = (
        jnp.zeros((), g.dtype),
        [n + sum(pad) for n, pad in zip(x.shape[1:3], pads, strict=True)],
    )
    parts = []
    for number, (place, _) in enumerate(taps):
        spaces = [
            (begin, whole - begin - strides * (n - 1) - 1, strides - 1)
            for begin, whole, n in zip(place, sizes, y.shape[1:3], strict=True)
        ]
        part = jnp.where(first == number, g, zero)
        parts.append(lax.pad(part, zero, [(0, 0, 0), *spaces, (0, 0, 0)]))
    total = functools.reduce(jnp.add, parts)
    return lax.pad(total, zero, _create_pads(tuple((-low, -high) for low, high in pads)))


max_pool.defvjp(_max_pool_windows_fwd, _max_pool_windows_bwd)
