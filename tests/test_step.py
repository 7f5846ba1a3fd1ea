"""The classifier's step and what it predicts."""

import contextlib
import functools
import threading

import jax
import numpy as np
import optax
import pytest

from jaxgan.classifiers.predict import create_predict
from jaxgan.classifiers.step import (
    compute_probabilities,
    create_classifier_state,
    train_step,
)
from jaxgan.devices.parallel import Dispatcher, choose_devices
from jaxgan.training.epochs import EpochPlan
from jaxgan.training.feed import create_feed
from tests.helpers import compute_difference, make_gmd_settings, make_image_set

GMD = make_gmd_settings().classifier.create(2)


def run_steps(num_devices, optimizer, num_steps=20, **options):
    images = make_image_set(22, size=24)
    plan = EpochPlan(len(images), 8, 1000, 4)
    devices = choose_devices(num_devices)
    feed = create_feed(images, jax.random.key(0), plan, devices, resident_bytes=2**20)
    bound = {"classifier": GMD, "optimizer": optimizer}
    make_step = lambda axis_name: functools.partial(  # noqa: E731
        train_step, **bound, axis_name=axis_name
    )
    dispatcher = Dispatcher(
        make_step, feed, jax.random.key(1), devices=devices, max_steps=4, **options
    )
    state = dispatcher.to_devices(create_classifier_state(jax.random.key(2), **bound))
    losses, step = [], 0
    while step < num_steps:
        begin, step = step, min(plan.compute_next(step), num_steps)
        state, metrics = dispatcher(state, begin, step)
        losses += metrics["loss"][: step - begin].tolist()
    return dispatcher.to_host(state), losses


def test_it_learns_what_is_easy():
    state, losses = run_steps(1, optax.adam(3e-3), num_steps=60)
    assert losses[0] == pytest.approx(np.log(2), abs=0.5)
    assert np.mean(losses[-5:]) < 0.1
    images = make_image_set(9, size=24, seed=3)
    probabilities = create_predict(GMD, 4)(state.variables, images.images)
    assert (probabilities.argmax(axis=1) == images.labels).all()


def test_one_device_equals_two():
    one, one_losses = run_steps(1, optax.sgd(1e-2))
    two, two_losses = run_steps(2, optax.sgd(1e-2))
    assert compute_difference(one, two) < 1e-5
    np.testing.assert_allclose(one_losses, two_losses, atol=1e-5)


@pytest.mark.parametrize("error", [None, ValueError("not today")])
def test_what_is_done_meanwhile_is_done_once_and_its_error_comes_out(error):
    names = []

    def do_meanwhile():
        names.append(threading.current_thread().name)
        if error:
            raise error

    with contextlib.nullcontext() if error is None else pytest.raises(ValueError, match="today"):
        _, losses = run_steps(1, optax.sgd(1e-2), meanwhile=do_meanwhile)
        assert losses == run_steps(1, optax.sgd(1e-2))[1]
    assert len(names) == 1 and names[0] != threading.current_thread().name
    assert names[0] not in {thread.name for thread in threading.enumerate()}


@pytest.mark.parametrize("num", [1, 4, 9])
def test_every_image_is_predicted_exactly_once(num):
    images = make_image_set(num, size=24).images
    state = create_classifier_state(jax.random.key(0), classifier=GMD, optimizer=optax.sgd(1.0))
    whole = compute_probabilities(state.variables, images, classifier=GMD)
    probabilities = create_predict(GMD, 4)(state.variables, images)
    assert probabilities.shape == (num, 2)
    np.testing.assert_allclose(probabilities, whole, atol=1e-6)
