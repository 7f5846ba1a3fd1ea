"""What layers are drawn from, and what dropout does."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.networks.layers import Dropout, glorot_init, normal, uniform

SHAPES = [(3,), (3, 3, 1, 8), (72, 100), (3, 3, 64, 128)]
GLOROT = [shape for shape in SHAPES if len(shape) > 1]
KEY = jax.random.key(3)


@pytest.mark.parametrize("shape", SHAPES)
def test_an_array_is_what_a_program_of_its_own_would_draw(shape):
    """One program serves arrays of many sizes, and no bit differs; nor where it is traced."""
    draw = normal(1.0, 0.02)
    expected = jax.jit(lambda key: jax.random.normal(key, shape, jnp.float32) * 0.02 + 1.0)(KEY)
    np.testing.assert_array_equal(draw(KEY, shape, jnp.float32), expected)
    traced = jax.jit(lambda key: draw(key, shape, jnp.float32))(KEY)
    np.testing.assert_array_equal(traced, expected)


@pytest.mark.parametrize("shape", GLOROT)
def test_glorot_s_numbers_are_those_of_flax(shape):
    expected = nn.initializers.glorot_uniform()(KEY, shape, jnp.float32)
    np.testing.assert_array_equal(glorot_init(KEY, shape, jnp.float32), expected)
    traced = jax.jit(lambda key: glorot_init(key, shape, jnp.float32))(KEY)
    np.testing.assert_array_equal(traced, expected)


def test_uniform_numbers_fill_their_range():
    numbers = np.asarray(uniform(0.05)(KEY, (5000,), jnp.float32))
    assert 0.0499 < np.abs(numbers).max() <= 0.05
    assert np.abs(numbers.mean()) < 0.002


def apply_dropout(rate, seed, *, train=True, num=64):
    x = jnp.full((num, 100), 2.0)
    return np.asarray(Dropout(rate).apply({}, x, train=train, rngs={"dropout": seed}))


def test_dropout_keeps_the_mean_and_what_it_keeps_is_scaled():
    dropped = apply_dropout(0.75, jax.random.key(0))
    assert set(np.unique(dropped)) == {0.0, 8.0}
    assert dropped.mean() == pytest.approx(2.0, abs=0.2)
    assert (dropped != apply_dropout(0.75, jax.random.key(1))).any()
    assert (dropped[0] != dropped[1]).any()


def test_dropout_is_of_the_training_alone():
    assert (apply_dropout(0.75, jax.random.key(0), train=False) == 2.0).all()
    assert (apply_dropout(0.0, jax.random.key(0)) == 2.0).all()


def test_two_devices_drop_what_one_does():
    x, module = jnp.ones((8, 20)), Dropout(0.5, axis_name="device")
    alone = Dropout(0.5).apply({}, x, train=True, rngs={"dropout": KEY})
    both = jax.pmap(
        lambda part: module.apply({}, part, train=True, rngs={"dropout": KEY}), axis_name="device"
    )(x.reshape(2, 4, 20))
    np.testing.assert_array_equal(both.reshape(8, 20), alone)
