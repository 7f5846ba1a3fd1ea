"""The classifier's step and its evaluation."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgan.classifiers import step as classifier
from jaxgan.classifiers.gmd import Gmd
from jaxgan.devices.parallel import Dispatcher, choose_devices
from jaxgan.experiments.train_classifier import Evaluator, create_model, create_optimizer
from jaxgan.training.epochs import EpochPlan
from jaxgan.training.feed import create_feed
from tests.helpers import compute_difference, make_gmd_settings, make_image_set

MODEL = Gmd(num_outputs=2, width=8)


def run_steps(num_devices, optimizer, num_steps=20):
    images = make_image_set(22, size=24)
    plan = EpochPlan(len(images), 8, 1000, 4)
    devices = choose_devices(num_devices)
    feed = create_feed(images, jax.random.key(0), plan, devices, resident_bytes=2**20)
    make_step = lambda axis_name: functools.partial(  # noqa: E731
        classifier.train_step, model=MODEL, optimizer=optimizer, axis_name=axis_name
    )
    dispatcher = Dispatcher(make_step, feed, jax.random.key(1), devices=devices, max_steps=4)
    state = dispatcher.place(
        classifier.create_classifier_state(
            jax.random.key(2), model=MODEL, optimizer=optimizer, image_shape=(24, 24, 1)
        )
    )
    losses, step = [], 0
    while step < num_steps:
        begin, step = step, min(plan.compute_next(step), num_steps)
        state, metrics = dispatcher(state, begin, step)
        losses += metrics["loss"][: step - begin].tolist()
    return dispatcher.unplace(state), losses


def test_it_learns_what_is_easy():
    state, losses = run_steps(1, optax.adam(3e-3), num_steps=60)
    assert losses[0] == pytest.approx(np.log(2), abs=0.5)
    assert np.mean(losses[-5:]) < 0.1
    images = make_image_set(9, size=24, seed=3)
    probabilities = Evaluator(MODEL, 4).predict(state.params, images.images)
    assert (probabilities.argmax(axis=1) == images.labels).all()


def test_one_device_equals_two():
    one, one_losses = run_steps(1, optax.sgd(1e-2))
    two, two_losses = run_steps(2, optax.sgd(1e-2))
    assert compute_difference(one, two) < 1e-5
    np.testing.assert_allclose(one_losses, two_losses, atol=1e-5)


@pytest.mark.parametrize("num", [1, 4, 9])
def test_every_image_is_evaluated_exactly_once(num):
    images = make_image_set(num, size=24).images
    params = MODEL.init(jax.random.key(0), jnp.zeros((1, 24, 24, 1)))["params"]
    whole = classifier.predict(params, jnp.asarray(images), model=MODEL)
    probabilities = Evaluator(MODEL, 4).predict(params, images)
    assert probabilities.shape == (num, 2)
    np.testing.assert_allclose(probabilities, whole, atol=1e-6)


def test_the_papers_optimizer_is_plain_gradient_descent():
    optimizer = create_optimizer(make_gmd_settings(learning_rate=1e-3))
    params = {"w": jnp.array([1.0, 2.0])}
    state = optimizer.init(params)
    for _ in range(3):
        updates, state = optimizer.update({"w": jnp.array([10.0, -10.0])}, state, params)
        np.testing.assert_allclose(updates["w"], [-0.01, 0.01], rtol=1e-6)


def test_outputs_follow_the_classes_or_the_papers_four():
    assert create_model(make_gmd_settings(), 3).num_outputs == 3
    assert create_model(make_gmd_settings(num_outputs=4), 3).num_outputs == 4
