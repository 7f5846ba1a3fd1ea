"""Convolution of each feature by itself, against XLA's own."""

import functools

import jax
import numpy as np
import pytest

from jaxgan.ops.depthwise import depthwise_conv, phased_depthwise_conv


def convolve(x, kernel, strides):
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (strides, strides),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1],
    )


@functools.partial(jax.jit, static_argnames=("fn", "strides"))
def apply(fn, x, kernel, dy, strides):
    found, pull = jax.vjp(lambda *args: fn(*args, strides=strides), x, kernel)
    return found, *pull(dy)


def phased(x, kernel, strides):
    return phased_depthwise_conv(x, kernel, strides)


@pytest.mark.parametrize("fn", [depthwise_conv, phased])
@pytest.mark.parametrize(
    ("size", "strides", "shape"), [(3, 1, (7, 5)), (3, 2, (7, 8)), (5, 2, (9, 2)), (5, 1, (1, 4))]
)
def test_it_is_a_grouped_convolution(fn, size, strides, shape):
    """Values and both gradients; where a side is odd 'SAME' pads unevenly."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, *shape, 3)).astype(np.float32)
    kernel = rng.normal(size=(size, size, 1, 3)).astype(np.float32)
    out = tuple(-(-n // strides) for n in shape)
    dy = rng.normal(size=(2, *out, 3)).astype(np.float32)
    found = apply(fn, x, kernel, dy, strides)
    for ours, theirs in zip(found, apply(convolve, x, kernel, dy, strides), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)
