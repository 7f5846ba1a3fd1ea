"""bfloat16 as the type of activations, and several models in one program."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgan.classifiers.step import create_classifier_state, train_step
from jaxgan.core.types import Batch
from tests.helpers import (
    compute_difference,
    create_state,
    create_step,
    make_dcgan_settings,
    make_gmd_settings,
    make_image_set,
    replace,
)

SETTINGS = make_dcgan_settings(diffaugment=False)


def make_batch(seed=0, num=8, size=32):
    images = make_image_set(num, size=size, seed=seed)
    return Batch(jnp.asarray(images.images), jnp.asarray(images.labels))


@functools.cache
def make_step(dtype="float32"):
    """Compiled once for all tests."""
    return jax.jit(create_step(replace(SETTINGS, dtype=dtype), None))


def train_gan(settings, num_steps):
    step = make_step(settings.gan.dtype)
    state, rows = create_state(settings, jax.random.key(0)), []
    for i in range(num_steps):
        state, metrics = step(state, make_batch(i), jax.random.fold_in(jax.random.key(1), i))
        rows.append((float(metrics["loss_d"]), float(metrics["loss_g"])))
    return state, np.array(rows)


def test_fifty_gan_steps_in_bfloat16_stay_near_float32():
    """Both games are played with the same dice; the losses' means over ten steps agree to 0.05."""
    wide, wide_losses = train_gan(SETTINGS, 50)
    half, half_losses = train_gan(replace(SETTINGS, dtype="bfloat16"), 50)
    assert np.isfinite(half_losses).all()
    means = [losses.reshape(5, 10, 2).mean(1) for losses in (wide_losses, half_losses)]
    np.testing.assert_allclose(*means, atol=0.05)
    assert np.abs(half_losses - wide_losses).max() > 0.0  # or it would not be bfloat16
    assert np.ptp(wide_losses, axis=0).min() > 0.15  # or agreement would say nothing
    assert {leaf.dtype for leaf in jax.tree.leaves((half.generator, half.discriminator))} == {
        leaf.dtype for leaf in jax.tree.leaves((wide.generator, wide.discriminator))
    }


@pytest.mark.parametrize("train", [True, False])
def test_what_leaves_a_network_is_float32(train):
    settings = replace(SETTINGS, dtype="bfloat16")
    generator, discriminator = settings.gan.create_networks()
    state = create_state(settings, jax.random.key(0))

    def apply(network, variables, x):
        return jax.eval_shape(
            functools.partial(network.apply, train=train, mutable=["batch_stats"]), variables, x
        )

    images, stats = apply(generator, state.generator.variables, jnp.zeros((2, 8)))
    logits, _ = apply(discriminator, state.discriminator.variables, jnp.zeros(images.shape))
    assert images.dtype == logits.dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(stats)} <= {jnp.dtype(jnp.float32)}


def test_fifty_classifier_steps_in_bfloat16_stay_near_float32():
    losses = []
    for dtype in ("float32", "bfloat16"):
        classifier = make_gmd_settings(dtype=dtype).classifier.create(2)
        bound = {"classifier": classifier, "optimizer": optax.sgd(0.1)}
        state = create_classifier_state(jax.random.key(0), **bound)
        step = jax.jit(functools.partial(train_step, **bound))
        rows = []
        for i in range(50):
            state, metrics = step(state, make_batch(i, size=24), jax.random.key(0))
            rows.append(float(metrics["loss"]))
        assert {leaf.dtype for leaf in jax.tree.leaves(state.params)} == {jnp.dtype(jnp.float32)}
        losses.append(rows)
    np.testing.assert_allclose(losses[1], losses[0], atol=0.05)
    assert losses[1] != losses[0]
    assert max(losses[0]) - min(losses[0]) > 0.2


def test_models_trained_together_are_those_trained_alone():
    """Three seeds vmapped into one step, 20 steps: each is the one trained by itself."""
    alone, together = make_step(), jax.jit(jax.vmap(create_step(SETTINGS, None)))
    keys = jax.random.split(jax.random.key(0), 3)
    states = [create_state(SETTINGS, key) for key in keys]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
    for i in range(20):
        batches = [make_batch(3 * i + j) for j in range(3)]
        step_keys = jax.vmap(functools.partial(jax.random.fold_in, data=i))(keys)
        states = [
            alone(state, batch, key)[0]
            for state, batch, key in zip(states, batches, step_keys, strict=True)
        ]
        joined = jax.tree.map(lambda *leaves: jnp.stack(leaves), *batches)
        stacked, _ = together(stacked, joined, step_keys)
    for j, state in enumerate(states):
        one = jax.tree.map(lambda leaf, j=j: leaf[j], stacked)
        assert compute_difference(one.generator, state.generator) < 1e-5
        assert compute_difference(one.discriminator, state.discriminator) < 1e-5
