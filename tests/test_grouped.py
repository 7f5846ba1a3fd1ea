"""Convolution of groups, against XLA's own: values, gradients, and gradients of gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.ops import grouped

SHAPES = [(6, 2), (6, 6), (80, 16)]  # few features, one group, many features


def make_factors(features, group_size, outputs=None):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 5, 4, features))
    return x, rng.normal(size=(3, 3, group_size, outputs or features))


def list_derivatives(fn, x, kernel):
    """The values, and the gradient of the sum of a squared gradient: every product of R1."""

    def penalise(kernel, x):
        slopes = jax.grad(lambda x: jnp.sum(fn(x, kernel) ** 3))(x)
        return jnp.sum(slopes**2)

    return [fn(x, kernel), *jax.grad(penalise, argnums=(0, 1))(kernel, x)]


@pytest.mark.parametrize(("features", "group_size"), SHAPES)
def test_it_is_a_grouped_convolution(features, group_size):
    with jax.enable_x64(True):
        found, expected = (
            jax.jit(functools.partial(list_derivatives, fn))(*make_factors(features, group_size))
            for fn in (grouped.grouped_conv, grouped._convolve)
        )
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == np.float64
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9 * np.abs(theirs).max())


@pytest.mark.parametrize("form", [grouped._convolve_filled, grouped._convolve_each])
def test_both_forms_are_the_same_where_groups_grow(form):
    x, kernel = make_factors(6, 2, outputs=12)
    found = form(jnp.asarray(x), jnp.asarray(kernel))
    expected = grouped._convolve(jnp.asarray(x), jnp.asarray(kernel))
    assert found.shape == (2, 5, 4, 12)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_no_group_sees_another():
    x, kernel = (jnp.asarray(factor) for factor in make_factors(6, 2))
    moved = grouped.grouped_conv(x.at[..., 2:4].add(1.0), kernel) - grouped.grouped_conv(x, kernel)
    assert float(jnp.abs(moved[..., [0, 1, 4, 5]]).max()) == 0.0
    assert float(jnp.abs(moved[..., 2:4]).min()) > 0.0
