"""Balanced batches: how often each class, and each image, comes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.devices.parallel import Dispatcher, choose_devices
from jaxgan.training.balanced import (
    BalancedFeed,
    BalancedOrder,
    StreamedBalancedFeed,
    create_balanced_feed,
)
from jaxgan.training.epochs import EpochPlan
from tests.helpers import make_image_set

LABELS = np.array([0] * 7 + [1] * 2 + [2] * 4)


def test_no_two_classes_differ_by_more_than_two_images_in_any_batch():
    order = BalancedOrder(LABELS, jax.random.key(0))
    labels = LABELS[order.compute_indices(np.arange(4000))]
    for batch_size in (1, 3, 8, 32):
        batches = labels[: len(labels) // batch_size * batch_size].reshape(-1, batch_size)
        counts = np.stack([(batches == label).sum(axis=1) for label in range(3)])
        assert (counts.max(axis=0) - counts.min(axis=0)).max() <= 2
    assert len({tuple(row) for row in labels[:300].reshape(-1, 3)}) == 6  # every order of a round


def test_every_image_of_a_class_comes_before_any_comes_again():
    indices = BalancedOrder(LABELS, jax.random.key(0)).compute_indices(np.arange(3 * 28))
    for label, num in enumerate([7, 2, 4]):
        passes = indices[LABELS[indices] == label].reshape(-1, num)
        assert (np.sort(passes) == np.flatnonzero(label == LABELS)).all()
        assert len({tuple(row) for row in passes}) > 1


def test_the_order_depends_on_key_and_position_alone():
    order, again = (BalancedOrder(LABELS, jax.random.key(0)) for _ in range(2))
    whole = order.compute_indices(np.arange(5000))
    np.testing.assert_array_equal(again.compute_indices(np.arange(4321, 5000)), whole[4321:])
    other = BalancedOrder(LABELS, jax.random.key(1)).compute_indices(np.arange(5000))
    assert (other != whole).mean() > 0.5


def collect(feed_class, num_devices, start=0):
    """The labels and pixels of every step from `start` on, [steps, batch]."""
    images = make_image_set(10, size=2)
    images.labels[:] = [0] * 7 + [1] * 3
    images.images[:] = np.arange(10)[:, None, None, None]
    plan, devices = EpochPlan(10, 4, num_epochs=6, max_steps=3), choose_devices(num_devices)
    feed = feed_class(images, jax.random.key(0), plan, devices)

    def make_step(axis_name):
        def step(state, batch, key):
            del key
            seen = batch.labels * 100 + batch.images[:, 0, 0, 0]
            if axis_name is not None:
                seen = jax.lax.all_gather(seen, axis_name).reshape(-1)
            return state, {"seen": seen}

        return step

    run = Dispatcher(make_step, feed, jax.random.key(1), devices=devices, max_steps=3)
    state, step, rows = run.to_devices(jnp.int32(0)), start, []
    while step < plan.num_steps:
        begin, step = step, plan.compute_next(step)
        state, metrics = jax.block_until_ready(run(state, begin, step))
        rows.append(np.asarray(metrics["seen"])[: step - begin])
    return np.concatenate(rows)


def test_feeds_agree_on_every_batch_resumed_and_on_two_devices():
    one = collect(BalancedFeed, 1)
    assert ((one // 100) == 1).sum(axis=1).tolist() == [2] * 15
    for feed_class, num_devices in [
        (BalancedFeed, 2),
        (StreamedBalancedFeed, 1),
        (StreamedBalancedFeed, 2),
    ]:
        np.testing.assert_array_equal(collect(feed_class, num_devices), one)
    np.testing.assert_array_equal(collect(BalancedFeed, 1, start=8), one[8:])


@pytest.mark.parametrize(("room", "feed_class"), [(10**6, BalancedFeed), (1, StreamedBalancedFeed)])
def test_images_that_do_not_fit_are_streamed(room, feed_class):
    plan = EpochPlan(10, 4, num_epochs=1, max_steps=3)
    made = create_balanced_feed(
        make_image_set(10), jax.random.key(0), plan, jax.devices()[:1], resident_bytes=room
    )
    assert type(made) is feed_class
