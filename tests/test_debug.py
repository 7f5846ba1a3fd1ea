"""JAX's own checks, on in one step of each kind: no key used twice, nothing not a number."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.classifiers.step import create_classifier_state, train_step
from jaxgan.core.types import Batch
from jaxgan.training.keys import create_keys
from tests.helpers import (
    create_state,
    create_step,
    make_dcgan_settings,
    make_gmd_settings,
    make_image_set,
)

CHECKS = ("jax_debug_key_reuse", "jax_debug_nans")


@pytest.fixture(params=CHECKS)
def check(request):
    jax.config.update(request.param, True)
    yield request.param
    jax.config.update(request.param, False)


def make_batch(size):
    images = make_image_set(8, size)
    return Batch(jnp.asarray(images.images), jnp.asarray(images.labels))


def test_a_step_of_the_gan_passes(check):
    settings = make_dcgan_settings()
    keys = create_keys(0)
    step = jax.jit(create_step(settings, None))
    state, metrics = step(create_state(settings, keys.init), make_batch(32), keys.steps)
    assert np.isfinite(metrics["loss_g"])
    assert int(state.step) == 1


def test_a_step_of_the_classifier_passes(check):
    settings = make_gmd_settings()
    bound = {"classifier": settings.classifier.create(2), "optimizer": settings.optimizer.create()}
    init, key = jax.random.split(jax.random.key(0))
    state = create_classifier_state(init, **bound)
    _, metrics = jax.jit(functools.partial(train_step, **bound))(state, make_batch(24), key)
    assert np.isfinite(metrics["loss"])


def test_the_checks_find_what_they_are_for():
    def reuse(key):
        return jax.random.normal(key) + jax.random.normal(key)

    jax.config.update("jax_debug_key_reuse", True)
    try:
        with pytest.raises(jax.errors.KeyReuseError):
            jax.jit(reuse)(jax.random.key(0))
    finally:
        jax.config.update("jax_debug_key_reuse", False)
    jax.config.update("jax_debug_nans", True)
    try:
        with pytest.raises(FloatingPointError):
            jax.jit(jnp.log)(-1.0)
    finally:
        jax.config.update("jax_debug_nans", False)
