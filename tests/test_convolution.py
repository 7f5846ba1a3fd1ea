"""Our convolutions against linen's, values and gradients, in float64."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.ops.convolution import conv, conv_transpose

TOLERANCE = 1e-12  # of float64 sums of at most a few hundred products


def draw(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


def compare(ours, theirs, x, kernel):
    """Hold values and both gradients of `ours(x, kernel)` to those of `theirs`."""
    with jax.enable_x64(True):
        x, kernel = jnp.float64(x), jnp.float64(kernel)
        y, pull = jax.vjp(ours, x, kernel)
        expected, expected_pull = jax.vjp(theirs, x, kernel)
        cotangent = draw(7, *expected.shape).astype(jnp.float64)
        for got, want in zip(
            (y, *pull(cotangent)), (expected, *expected_pull(cotangent)), strict=True
        ):
            assert got.shape == want.shape
            np.testing.assert_allclose(got, want, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("size", [4, 5, 8, 9])
@pytest.mark.parametrize(
    ("kernel_size", "strides", "padding"),
    [
        (4, 2, ((1, 1), (1, 1))),
        (4, 2, "SAME"),
        (4, 1, "VALID"),
        (3, 1, "SAME"),
        (3, 1, "VALID"),
        (3, 2, ((0, 1), (2, 1))),
    ],
)
def test_conv_is_linens(size, kernel_size, strides, padding):
    x, kernel = draw(0, 3, size, size + 1, 2), draw(1, kernel_size, kernel_size, 2, 5)
    layer = nn.Conv(
        5, (kernel_size,) * 2, (strides,) * 2, padding, use_bias=False, param_dtype=jnp.float64
    )
    compare(
        lambda x, k: conv(x, k, strides=strides, padding=padding),
        lambda x, k: layer.apply({"params": {"kernel": k}}, x),
        x,
        kernel,
    )


@pytest.mark.parametrize("size", [1, 4, 5])
@pytest.mark.parametrize("kernel_size", [2, 3, 4])
@pytest.mark.parametrize("strides", [1, 2, 3])
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_conv_transpose_is_linens(size, kernel_size, strides, padding):
    x, kernel = draw(0, 3, size, size + 1, 2), draw(1, kernel_size, kernel_size, 2, 5)
    layer = nn.ConvTranspose(
        5, (kernel_size,) * 2, (strides,) * 2, padding, use_bias=False, param_dtype=jnp.float64
    )
    compare(
        lambda x, k: conv_transpose(x, k, strides=strides, padding=padding),
        lambda x, k: layer.apply({"params": {"kernel": k}}, x),
        x,
        kernel,
    )


def test_gradient_of_a_gradient():
    """WGAN-GP differentiates twice."""
    x, kernel = draw(0, 2, 6, 6, 2), draw(1, 4, 4, 2, 3)

    def penalty(x, kernel, convolve):
        return jnp.sum(jax.grad(lambda x: jnp.sum(jnp.sin(convolve(x, kernel))))(x) ** 2)

    def theirs(x, kernel):
        return nn.Conv(3, (4, 4), (2, 2), "SAME", use_bias=False, param_dtype=jnp.float64).apply(
            {"params": {"kernel": kernel}}, x
        )

    with jax.enable_x64(True):
        x, kernel = jnp.float64(x), jnp.float64(kernel)
        got = jax.grad(penalty, argnums=(0, 1))(
            x, kernel, lambda x, k: conv(x, k, strides=2, padding="SAME")
        )
        want = jax.grad(penalty, argnums=(0, 1))(x, kernel, theirs)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)
