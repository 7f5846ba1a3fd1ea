"""Penalties on functions whose slope is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.gans import penalties

SHAPE = (4, 6, 5, 2)


def make_images(seed):
    return jax.random.normal(jax.random.key(seed), SHAPE)


def test_r1_is_half_the_squared_slope():
    images = make_images(0)
    penalty = penalties.r1_penalty(lambda x: jnp.sum(x**2, axis=(1, 2, 3)), images)
    expected = 0.5 * np.sum((2 * np.asarray(images)) ** 2, axis=(1, 2, 3))
    np.testing.assert_allclose(penalty, expected, rtol=1e-5)


def test_r2_is_the_same_at_fake_images():
    """The slope of a sum of cubes over 3 is the square of each pixel."""
    images = make_images(1)
    penalty = penalties.r2_penalty(lambda x: jnp.sum(x**3, axis=(1, 2, 3)) / 3, images)
    expected = 0.5 * np.sum(np.asarray(images) ** 4, axis=(1, 2, 3))
    np.testing.assert_allclose(penalty, expected, rtol=1e-5)


def test_lecam_is_the_distance_to_the_average_of_the_other_side():
    penalty = penalties.lecam_penalty(
        real_logits=jnp.array([2.0, -1.0]),
        fake_logits=jnp.array([-3.0, 0.5]),
        real_average=jnp.float32(1.5),
        fake_average=jnp.float32(-0.5),
    )
    np.testing.assert_allclose(penalty, [2.5**2 + 4.5**2, 0.5**2 + 1.0**2], rtol=1e-6)


@pytest.mark.parametrize("slope", [0.0, 1.0, 3.0])
def test_the_gradient_penalty_is_the_slopes_distance_to_1(slope):
    direction = jnp.ones(SHAPE[1:]) / np.sqrt(np.prod(SHAPE[1:]))
    keys = jax.random.split(jax.random.key(2), SHAPE[0])

    def total(scale):
        return jnp.sum(
            penalties.gradient_penalty(
                lambda x: jnp.einsum("bhwc,hwc->b", x, scale * direction),
                make_images(0),
                make_images(1),
                keys,
            )
        )

    value, gradient = jax.value_and_grad(total)(slope)
    assert float(value) == pytest.approx(4 * (slope - 1) ** 2, abs=1e-4)
    assert np.isfinite(gradient)


def test_the_slope_is_taken_between_real_and_fake():
    real, fake = make_images(0), make_images(1)
    keys = jax.random.split(jax.random.key(2), SHAPE[0])
    penalty = penalties.gradient_penalty(
        lambda x: 0.5 * jnp.sum(x**2, axis=(1, 2, 3)), real, fake, keys
    )
    share = np.asarray(jax.vmap(jax.random.uniform)(keys))[:, None, None, None]
    assert len(np.unique(share)) == SHAPE[0]
    between = share * np.asarray(real) + (1 - share) * np.asarray(fake)
    length = np.sqrt(np.sum(between**2, axis=(1, 2, 3)))
    np.testing.assert_allclose(penalty, (length - 1) ** 2, rtol=1e-4)
