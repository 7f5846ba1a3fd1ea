"""Convolutions by Winograd's minimal filtering F(m x m, r x r), in blocks that stay in cache.

A 3x3 convolution of stride 1 is one with r = 3 as it stands. A 4x4 convolution of stride 2 is a 2x2
convolution of stride 1 (r = 2) over the four phases of the image, which become channels. On such a
"plane" every tile of m x m results costs (m + r - 1)^2 products a channel pair in place of (m r)^2.

Source: Lavin and Gray, "Fast algorithms for convolutional neural networks", 2016. The transposed
forms are the adjoints of the bilinear algorithm y = A^T [(G k G^T) * (B^T x B)] A.
"""

import functools
import math
from collections.abc import Callable, Sequence
from fractions import Fraction

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxgan.ops.choice import Winograd
from jaxgan.ops.geometry import Geometry, Sizes
from jaxgan.ops.plane import from_plane, image_kernel, pad, plane_kernel, to_plane

Grid = list[Array]
Matrix = tuple[tuple[float, ...], ...]

_POINTS = {
    3: (0, 1),
    4: (0, 1, -1),
    5: (0, 1, -1, 2),
    6: (0, 1, -1, 2, -2),
}


@functools.cache
def matrices(m: int, r: int) -> tuple[Matrix, Matrix, Matrix]:
    """Give A^T [m, n], G [n, r] and B^T [n, n], n = m + r - 1, by Toom and Cook's construction."""
    n = m + r - 1
    points = [Fraction(p) for p in _POINTS[n]]
    at = [[p**i for p in points] + [Fraction(i == m - 1)] for i in range(m)]
    g, bt = [], []
    for p in points:
        others = [q for q in points if q != p]
        norm = math.prod([p - q for q in others], start=Fraction(1))
        sign = 1 if norm > 0 else -1
        g.append([sign * p**k / norm for k in range(r)])
        bt.append([*(sign * c for c in _polynomial(others)), Fraction(0)])
    g.append([Fraction(k == r - 1) for k in range(r)])
    bt.append(_polynomial(points))
    return _floats(at), _floats(g), _floats(bt)


def _polynomial(roots: Sequence[Fraction]) -> list[Fraction]:
    """Expand prod (x - root), lowest power first."""
    coefficients = [Fraction(1)]
    for root in roots:
        shifted = [Fraction(0), *coefficients]
        scaled = [root * c for c in coefficients] + [Fraction(0)]
        coefficients = [s - t for s, t in zip(shifted, scaled, strict=True)]
    return coefficients


def _floats(rows: Sequence[Sequence[Fraction]]) -> Matrix:
    return tuple(tuple(float(x) for x in row) for row in rows)


def _transpose(matrix: Matrix) -> Matrix:
    return tuple(zip(*matrix, strict=True))


def _combine(matrix: Matrix, terms: Sequence[Array]) -> list[Array]:
    """Multiply a small constant matrix with a list of arrays, leaving out zeros and ones."""
    return [_weighted_sum(row, terms) for row in matrix]


def _weighted_sum(row: Sequence[float], terms: Sequence[Array]) -> Array:
    total = None
    # positive weights first, so that the sum begins without a negation
    for weight, term in sorted(zip(row, terms, strict=True), key=lambda pair: -pair[0]):
        if weight == 0:
            continue
        if total is None:
            total = term if weight == 1 else weight * term
        elif abs(weight) == 1:
            total = total + term if weight == 1 else total - term
        else:
            total = total + weight * term
    assert total is not None
    return total


def _taps(g: Geometry) -> int:
    return g.kernel[0] // g.stride


def _tiles(g: Geometry, m: int) -> Sizes:
    return -(-g.out[0] // m), -(-g.out[1] // m)


# --- transforms, one axis at a time
#
# A transformed array is a Grid, the columns of the transformed tile: grid[column] is an array
# [rows, places, channels], so that one batched product serves a column.


def _transform_kernel(kernel: Array, m: int) -> Grid:
    """G k G^T: the places are the image's channels."""
    _, g, _ = matrices(m, kernel.shape[0])
    rows = jnp.stack(_combine(g, list(kernel)))
    return _combine(g, [rows[:, q] for q in range(rows.shape[1])])


def _transform_kernel_adjoint(grid: Grid, m: int, r: int) -> Array:
    """G^T p G: a kernel [r, r, channels, o]."""
    _, g, _ = matrices(m, r)
    columns = [_combine(_transpose(g), list(column)) for column in grid]
    rows = [_combine(_transpose(g), row) for row in zip(*columns, strict=True)]
    return jnp.stack([jnp.stack(row) for row in rows])


def _windows(z: Array, axis: int, m: int, n: int) -> list[Array]:
    """Take element e of every tile of n, tiles m apart, for each e."""
    tiles = (z.shape[axis] - n) // m + 1
    return [lax.slice_in_dim(z, e, e + m * (tiles - 1) + 1, m, axis) for e in range(n)]


def _transform_plane(z: Array, m: int, r: int) -> Grid:
    """B^T z B of every tile: the places are the tiles."""
    _, _, bt = matrices(m, r)
    n = m + r - 1
    rows = jnp.stack(_combine(bt, _windows(z, 1, m, n)))
    return [_flat(v) for v in _combine(bt, _windows(rows, 3, m, n))]


def _transform_result_adjoint(dy: Array, m: int, r: int) -> Grid:
    """A dy A^T of every tile: the places are the tiles."""
    at, _, _ = matrices(m, r)
    a = _transpose(at)
    rows = jnp.stack(_combine(a, _windows(dy, 1, m, m)))
    return [_flat(v) for v in _combine(a, _windows(rows, 3, m, m))]


def _transform_result(grid: Grid, shape: Sizes, m: int, r: int) -> Array:
    """A^T p A of every tile, tiles joined: [batch, m * tiles_h, m * tiles_w, o]."""
    at, _, _ = matrices(m, r)
    rows = _join(_combine(at, [_unflat(p, shape) for p in grid]), 3)
    return _join(_combine(at, list(rows)), 1)


def _transform_plane_adjoint(grid: Grid, shape: Sizes, m: int, r: int) -> Array:
    """B p B^T of every tile, overlapping tiles added: [batch, h, w, channels]."""
    _, _, bt = matrices(m, r)
    b = _transpose(bt)
    rows = _join_overlapping(_combine(b, [_unflat(p, shape) for p in grid]), 3, m)
    return _join_overlapping(_combine(b, list(rows)), 1, m)


def _multiply(product: str, left: Grid, right: Grid) -> Grid:
    """Multiply place by place, over channels: einsum's `product` of [batch, ...] matrices."""
    return [jnp.einsum(product, a, b) for a, b in zip(left, right, strict=True)]


def _flat(v: Array) -> Array:
    return v.reshape(v.shape[0], -1, v.shape[-1])


def _unflat(p: Array, shape: Sizes) -> Array:
    return p.reshape(p.shape[0], *shape, p.shape[-1])


def _join(elements: Sequence[Array], axis: int) -> Array:
    """Interleave: element e of tile t goes to place m t + e."""
    joined = jnp.stack(elements, axis + 1)
    shape = joined.shape
    return joined.reshape(*shape[:axis], shape[axis] * shape[axis + 1], *shape[axis + 2 :])


def _join_overlapping(elements: Sequence[Array], axis: int, m: int) -> Array:
    """Add element e of tile t into place m t + e, where tiles are longer than m."""
    after = [(0, 0, 0)] * elements[0].ndim
    before = list(after)
    after[axis], before[axis] = (0, 1, 0), (1, 0, 0)
    zero = jnp.zeros((), elements[0].dtype)
    parts = [lax.pad(e, zero, after) for e in elements[:m]]
    for i, e in enumerate(elements[m:]):
        parts[i] = parts[i] + lax.pad(e, zero, before)
    length = m * elements[0].shape[axis] + len(elements) - m
    return lax.slice_in_dim(_join(parts, axis), 0, length, axis=axis)


# --- the three products


def forward(x: Array, kernel: Array, g: Geometry, form: Winograd) -> Array:
    """Convolve: [b, *g.size, i], [k, k, i, o] -> [b, *g.out, o]."""
    m, r = form.m, _taps(g)
    th, tw = _tiles(g, m)
    weights = _transform_kernel(plane_kernel(kernel, g), m)
    strip = min(form.rows, max(g.out[0] // m, 1)) if form.rows else th

    def block(z: Array) -> Array:
        grid = _multiply("ntc,nco->nto", _transform_plane(z, m, r), weights)
        return _transform_result(grid, (z.shape[0], (z.shape[1] - r + 1) // m, tw), m, r)

    def group(x: Array) -> Array:
        if strip == th:
            z = to_plane(x, g, (th * m, tw * m))
            return block(z)[:, : g.out[0], : g.out[1]]
        z = to_plane(x, g, (g.out[0], tw * m))

        def body(s: Array, y: Array) -> Array:
            # the last strip begins early enough to end with the image
            start = jnp.minimum(s * strip * m, g.out[0] - strip * m)
            rows = lax.dynamic_slice_in_dim(z, start, strip * m + r - 1, 1)
            return lax.dynamic_update_slice_in_dim(y, block(rows)[:, :, : g.out[1]], start, 1)

        y = jnp.zeros((x.shape[0], *g.out, kernel.shape[-1]), x.dtype)
        return lax.fori_loop(0, -(-th // strip), body, y)

    return _map_groups(group, x, form.images)


def input_gradient(dy: Array, kernel: Array, g: Geometry, form: Winograd) -> Array:
    """Transpose the convolution: [b, *g.out, o], [k, k, i, o] -> [b, *g.size, i]."""
    if g.stride == 1:
        return forward(dy, flip(kernel), _reversed(g), form)
    m, r = form.m, _taps(g)
    th, tw = _tiles(g, m)
    weights = _transform_kernel(plane_kernel(kernel, g), m)

    def group(dy: Array) -> Array:
        tiles = _transform_result_adjoint(_pad_result(dy, g, (th * m, tw * m)), m, r)
        grid = _multiply("nto,nco->ntc", tiles, weights)
        return from_plane(_transform_plane_adjoint(grid, (dy.shape[0], th, tw), m, r), g)

    return _map_groups(group, dy, form.images)


def kernel_gradient(x: Array, dy: Array, g: Geometry, form: Winograd) -> Array:
    """Differentiate by the kernel: [b, *g.size, i], [b, *g.out, o] -> [k, k, i, o]."""
    m, r = form.m, _taps(g)
    th, tw = _tiles(g, m)
    strip = min(form.rows or th, th)
    strips = -(-th // strip)
    out = (strips * strip * m, tw * m)

    def block(z: Array, dy: Array) -> Grid:
        # transposing either factor beforehand costs more than the product saves
        left = _transform_plane(z, m, r)
        right = _transform_result_adjoint(dy, m, r)
        return _multiply("ntc,nto->nco", left, right)

    def group(x: Array, dy: Array) -> Grid:
        z, dy = to_plane(x, g, out), _pad_result(dy, g, out)
        if strips == 1:
            return block(z, dy)

        def step(s: Array | int) -> Grid:
            start = s * strip * m
            rows = lax.dynamic_slice_in_dim(z, start, strip * m + r - 1, 1)
            return block(rows, lax.dynamic_slice_in_dim(dy, start, strip * m, 1))

        return _accumulate(step, strips)

    grid = _sum_groups(group, x, dy, form.images)
    return image_kernel(_transform_kernel_adjoint(grid, m, r), g)


def flip(kernel: Array) -> Array:
    """Turn a kernel [h, w, i, o] by half a turn and exchange its channels."""
    return kernel[::-1, ::-1].swapaxes(2, 3)


def _reversed(g: Geometry) -> Geometry:
    """The convolution of stride 1 that is another's transpose."""
    low = tuple(k - 1 - lo for k, lo in zip(g.kernel, g.low, strict=True))
    return Geometry(g.out, g.size, g.kernel, 1, low)


def _pad_result(dy: Array, g: Geometry, out: Sizes) -> Array:
    return pad(dy, tuple((0, n - have) for n, have in zip(out, g.out, strict=True)))


# --- loops over parts of the batch


def _map_groups(fn: Callable[[Array], Array], x: Array, images: int | None) -> Array:
    """Apply fn to groups of images, one group after the other, so that a group stays in cache."""
    batch = x.shape[0]
    if images is None or images >= batch:
        return fn(x)
    shape = jax.eval_shape(fn, x[:images])

    def body(i: Array, y: Array) -> Array:
        # the last group begins early enough to end with the batch
        start = jnp.minimum(i * images, batch - images)
        part = fn(lax.dynamic_slice_in_dim(x, start, images))
        return lax.dynamic_update_slice_in_dim(y, part, start, 0)

    y = jnp.zeros((batch, *shape.shape[1:]), shape.dtype)
    return lax.fori_loop(0, -(-batch // images), body, y)


def _sum_groups(
    fn: Callable[[Array, Array], Grid], x: Array, dy: Array, images: int | None
) -> Grid:
    """Add fn over groups of images, one group after the other."""
    batch = x.shape[0]
    if images is None or images >= batch:
        return fn(x, dy)

    def step(i: Array | int) -> Grid:
        start = jnp.minimum(i * images, batch - images)
        part_x, part_dy = (lax.dynamic_slice_in_dim(a, start, images) for a in (x, dy))
        if batch % images:
            fresh = start + jnp.arange(images) >= i * images
            part_dy = jnp.where(fresh[:, None, None, None], part_dy, 0)
        return fn(part_x, part_dy)

    return _accumulate(step, -(-batch // images))


def _accumulate(step: Callable[[Array | int], Grid], count: int) -> Grid:
    shapes = jax.eval_shape(step, 0)
    zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
    return lax.fori_loop(0, count, lambda i, total: jax.tree.map(jnp.add, total, step(i)), zeros)
