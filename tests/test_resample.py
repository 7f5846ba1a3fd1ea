"""Twice and half the size: the filter, its borders, and that one is the other's transpose."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.ops.resample import downsample, upsample

TAPS = np.array([1.0, 3.0, 3.0, 1.0])


def make_image(*shape):
    return jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)


def test_one_pixel_becomes_the_filter_and_is_seen_by_it():
    """Doubled, a pixel spreads over 4x4; halved, four results see it."""
    pixel = jnp.zeros((1, 4, 4, 1)).at[0, 1, 2, 0].set(1.0)
    doubled = np.zeros((8, 8))
    doubled[1:5, 3:7] = np.outer(TAPS, TAPS) / 16
    np.testing.assert_allclose(upsample(pixel)[0, :, :, 0], doubled, atol=1e-7)
    # Row 1 is the second of the first pair and next to the second pair; column 2 the first.
    halved = np.outer([3.0, 1.0], [1.0, 3.0]) / 64
    np.testing.assert_allclose(downsample(pixel)[0, :, :, 0], halved, atol=1e-7)


def test_a_constant_is_kept_but_for_the_border():
    """Outside are zeros: on the border a share of the filter is lost."""
    constant = jnp.full((1, 8, 8, 2), 3.0)
    lost = np.array([0.75, *np.ones(14), 0.75])
    expected = 3.0 * np.outer(lost, lost)[:, :, None]
    np.testing.assert_allclose(upsample(constant)[0], np.repeat(expected, 2, -1), rtol=1e-6)
    lost = np.array([0.875, 1.0, 1.0, 0.875])
    expected = 3.0 * np.outer(lost, lost)[:, :, None]
    np.testing.assert_allclose(downsample(constant)[0], np.repeat(expected, 2, -1), rtol=1e-6)


def test_they_are_convolutions_by_the_filter():
    image = make_image(2, 6, 8, 3)
    kernel = jnp.asarray(np.outer(TAPS, TAPS) / 64, jnp.float32)[:, :, None, None]
    options = {"dimension_numbers": ("NHWC", "HWIO", "NHWC"), "feature_group_count": 3}
    kernel = jnp.tile(kernel, (1, 1, 1, 3))
    halved = jax.lax.conv_general_dilated(image, kernel, (2, 2), ((1, 1), (1, 1)), **options)
    np.testing.assert_allclose(downsample(image), halved, atol=1e-6)
    pads, spread = ((2, 2), (2, 2)), (2, 2)
    doubled = jax.lax.conv_general_dilated(
        image, 4 * kernel, (1, 1), pads, lhs_dilation=spread, **options
    )
    np.testing.assert_allclose(upsample(image), doubled, atol=1e-6)


def test_one_is_a_quarter_of_the_transpose_of_the_other():
    small, large = make_image(2, 3, 4, 2), make_image(2, 6, 8, 2)
    (transposed,) = jax.vjp(upsample, small)[1](large)
    np.testing.assert_allclose(transposed, 4 * downsample(large), atol=1e-5)
