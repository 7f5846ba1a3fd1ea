"""Convolution and transposed convolution, exact to rounding, differentiable to any order.

A convolution is bilinear in the image and the kernel, so its two gradients are bilinear too, and
the derivatives of all three products are again these three products. Each is a `custom_vjp`
function, so that each is computed in the form that is fastest for it.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxgan.ops import choice, direct, library, pointwise, taps, winograd
from jaxgan.ops.geometry import (
    Geometry,
    Padding,
    conv_geometry,
    conv_transpose_geometry,
    widen,
)


def conv(x: Array, kernel: Array, *, strides: int, padding: Padding) -> Array:
    """Convolve as `flax.linen.Conv` does: [b, h, w, i], [kh, kw, i, o] -> [b, h', w', o]."""
    x, kernel = _promoted(x, kernel)
    g = conv_geometry(x.shape[1:3], kernel.shape[:2], strides, padding)
    return _forward(x, kernel, g)


def conv_transpose(x: Array, kernel: Array, *, strides: int, padding: Padding) -> Array:
    """Convolve as `flax.linen.ConvTranspose` does: [b, h, w, i], [kh, kw, i, o] -> [b, h', w', o].

    Explicit padding is that of the dilated image, as in linen.
    """
    x, kernel = _promoted(x, kernel)
    g = conv_transpose_geometry(x.shape[1:3], kernel.shape[:2], strides, padding)
    return _transposed(x, kernel, g)


def _promoted(x: Array, kernel: Array) -> tuple[Array, Array]:
    if x.ndim != 4 or kernel.ndim != 4 or x.shape[3] != kernel.shape[2]:
        raise ValueError(
            f"an image batch [b, h, w, i] and a kernel [kh, kw, i, o] are needed, "
            f"found {x.shape} and {kernel.shape}"
        )
    dtype = jnp.result_type(x, kernel)
    return x.astype(dtype), kernel.astype(dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _forward(x: Array, kernel: Array, g: Geometry) -> Array:
    return _dispatch("forward", x, kernel, g, kernel.shape[2:])


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _input_gradient(dy: Array, kernel: Array, g: Geometry) -> Array:
    return _dispatch("input_gradient", dy, kernel, g, kernel.shape[2:])


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _kernel_gradient(x: Array, dy: Array, g: Geometry) -> Array:
    return _dispatch("kernel_gradient", x, dy, g, (x.shape[3], dy.shape[3]))


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _transposed(x: Array, kernel: Array, g: Geometry) -> Array:
    """Compute `_input_gradient` of the flipped kernel.

    XLA would not cancel the flip with that of its own transposed convolution. For one or two images
    this is most of the work, so they have their own form.
    """
    form = choice.choose("input_gradient", g, x.shape[0], kernel.shape[3], kernel.shape[2])
    is_library = isinstance(form, choice.Library)
    by_library = functools.partial(library.transposed, g=g)
    if taps.is_spread_of_few(g, x.shape[0]) or (is_library and taps.is_doubling(g)):
        by_taps = functools.partial(taps.transposed, g=g)
        return lax.platform_dependent(x, kernel, cpu=by_taps, default=by_library)
    if is_library:
        return by_library(x, kernel)
    return _input_gradient(x, winograd.flip(kernel), g)


@functools.partial(jax.jit, static_argnums=(0, 3, 4))
def _dispatch(product: str, a: Array, b: Array, g: Geometry, channels: tuple[int, ...]) -> Array:
    """Compute a product in the chosen form on a CPU, by XLA's convolution elsewhere."""
    form = choice.choose(product, g, a.shape[0], *channels)
    by_library = functools.partial(getattr(library, product), g=g)
    if isinstance(form, choice.Library):
        return by_library(a, b)
    by_form = _bind(product, form, widen(g))

    def on_cpu(a: Array, b: Array) -> Array:
        # half precision would be lost in the transforms' sums
        wide = jnp.promote_types(a.dtype, jnp.float32)
        a, b = a.astype(wide), b.astype(wide)
        if widen(g) == g:
            return by_form(a, b).astype(dtype)
        return _widened(product, by_form, a, b, g).astype(dtype)

    dtype = a.dtype
    return lax.platform_dependent(a, b, cpu=on_cpu, default=by_library)


def _bind(product: str, form: choice.Form, g: Geometry) -> Callable[[Array, Array], Array]:
    if isinstance(form, choice.Winograd):
        return functools.partial(getattr(winograd, product), g=g, form=form)
    module = direct if isinstance(form, choice.Direct) else pointwise
    return functools.partial(getattr(module, product), g=g)


def _widened(
    product: str, by_form: Callable[[Array, Array], Array], a: Array, b: Array, g: Geometry
) -> Array:
    """Compute a product with a kernel that has one more row and column of zeros."""
    if product == "kernel_gradient":
        return by_form(a, b)[: g.kernel[0], : g.kernel[1]]
    return by_form(a, jnp.pad(b, ((0, 1), (0, 1), (0, 0), (0, 0))))


Pair = tuple[Array, Array]


def _forward_bwd(g: Geometry, factors: Pair, dy: Array) -> Pair:
    x, kernel = factors
    return _input_gradient(dy, kernel, g), _kernel_gradient(x, dy, g)


def _input_gradient_bwd(g: Geometry, factors: Pair, dx: Array) -> Pair:
    dy, kernel = factors
    return _forward(dx, kernel, g), _kernel_gradient(dx, dy, g)


def _kernel_gradient_bwd(g: Geometry, factors: Pair, dk: Array) -> Pair:
    x, dy = factors
    return _input_gradient(dy, dk, g), _forward(x, dk, g)


def _transposed_bwd(g: Geometry, factors: Pair, dy: Array) -> Pair:
    x, kernel = factors
    kernel_gradient = _kernel_gradient(dy, x, g)
    return _forward(dy, winograd.flip(kernel), g), winograd.flip(kernel_gradient)


def _keeping_factors(product: Callable[..., Array]) -> Callable[..., tuple[Array, Pair]]:
    """Return the function that computes a product and keeps its two factors for the gradients."""
    return lambda a, b, g: (product(a, b, g), (a, b))


_transposed.defvjp(_keeping_factors(_transposed), _transposed_bwd)
_forward.defvjp(_keeping_factors(_forward), _forward_bwd)
_input_gradient.defvjp(_keeping_factors(_input_gradient), _input_gradient_bwd)
_kernel_gradient.defvjp(_keeping_factors(_kernel_gradient), _kernel_gradient_bwd)
