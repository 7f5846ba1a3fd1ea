"""Feeds: which images a step sees, resident and streamed, on one device and on two."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.core.types import Batch
from jaxgan.devices.parallel import Dispatcher, choose_devices
from jaxgan.training.epochs import EpochPlan
from jaxgan.training.feed import ResidentFeed, StreamedFeed, create_feed
from tests.helpers import make_image_set

NUM_IMAGES = 10


def make_numbered_images():
    """Images whose label is their number, and whose every pixel is it too."""
    images = make_image_set(NUM_IMAGES, size=2)
    numbers = np.arange(NUM_IMAGES)
    images.images[:] = numbers[:, None, None, None]
    images.labels[:] = numbers
    return images


def collect(feed_class, num_devices, plan, start=0):
    """Return the labels that each step sees, [steps, batch]."""
    devices = choose_devices(num_devices)
    feed = feed_class(make_numbered_images(), jax.random.key(0), plan, devices)

    def make_step(axis_name):
        def step(state, batch: Batch, key):
            del key
            labels = batch.labels
            if axis_name is not None:
                labels = jax.lax.all_gather(labels, axis_name).reshape(-1)
            pixels_agree = jnp.all(batch.images == batch.labels[:, None, None, None])
            return state + 1, {"labels": labels, "agree": pixels_agree}

        return step

    dispatcher = Dispatcher(
        make_step, feed, jax.random.key(1), devices=devices, max_steps=plan.max_steps
    )
    state, step, rows = dispatcher.to_devices(jnp.int32(start)), start, []
    while step < plan.num_steps:
        begin, step = step, plan.compute_next(step)
        state, metrics = dispatcher(state, begin, step)
        assert np.all(metrics["agree"][: step - begin])
        rows.append(np.asarray(metrics["labels"])[: step - begin])
    assert int(dispatcher.to_host(state)) == plan.num_steps
    return np.concatenate(rows)


@pytest.mark.parametrize("batch_size", [4, 10, 16])
@pytest.mark.parametrize("feed_class", [ResidentFeed, StreamedFeed])
def test_every_epoch_is_a_permutation_and_no_two_are_alike(feed_class, batch_size):
    plan = EpochPlan(NUM_IMAGES, batch_size, num_epochs=6, max_steps=3)
    seen = collect(feed_class, 1, plan).reshape(-1)
    epochs = seen[: 6 * NUM_IMAGES].reshape(6, NUM_IMAGES)
    assert (np.sort(epochs, axis=1) == np.arange(NUM_IMAGES)).all()
    assert len({tuple(epoch) for epoch in epochs}) == 6


@pytest.mark.parametrize(
    ("feed_class", "num_devices"), [(ResidentFeed, 2), (StreamedFeed, 1), (StreamedFeed, 2)]
)
@pytest.mark.parametrize("batch_size", [4, 16])
def test_all_feeds_give_the_same_batches(feed_class, num_devices, batch_size):
    plan = EpochPlan(NUM_IMAGES, batch_size, num_epochs=6, max_steps=3)
    expected = collect(ResidentFeed, 1, plan)
    assert (collect(feed_class, num_devices, plan) == expected).all()


@pytest.mark.parametrize("feed_class", [ResidentFeed, StreamedFeed])
def test_a_resumed_run_sees_what_it_would_have_seen(feed_class):
    plan = EpochPlan(NUM_IMAGES, 4, num_epochs=6, max_steps=3)
    start = plan.compute_next(plan.compute_next(0))
    whole = collect(feed_class, 1, plan)
    assert (collect(feed_class, 1, plan, start) == whole[start:]).all()


def test_nothing_is_read_ahead_of_the_end_and_no_error_is_lost():
    plan = EpochPlan(NUM_IMAGES, 4, num_epochs=2, max_steps=3)
    feed = StreamedFeed(make_numbered_images(), jax.random.key(0), plan, choose_devices(1))
    read, asked = feed._read, []

    def note(begin, end):
        asked.append((begin, end))
        if end == plan.num_steps:
            raise OSError("the disk is gone")
        return read(begin, end)

    feed._read = note
    step, spans = 0, []
    while (end := plan.compute_next(step)) < plan.num_steps:
        spans.append((step, end))
        feed.load(step, end)
        step = end
    with pytest.raises(OSError, match="the disk is gone"):
        feed.load(step, end)
    feed._read = read
    feed.load(step, end)
    feed._reader.shutdown()
    assert asked == [*spans, (step, plan.num_steps)]
    assert all(future.exception() is None for future in feed._ahead.values())


def test_of_several_processes_each_streams_the_parts_of_its_own_devices():
    """Of four devices this process, number 0, has the last two."""
    plan = EpochPlan(NUM_IMAGES, 8, num_epochs=2, max_steps=3)
    devices = [SimpleNamespace(process_index=i) for i in (1, 1, 0, 0)]
    images, key = make_numbered_images(), jax.random.key(0)
    all_images, all_labels = StreamedFeed(
        images, key, plan, [SimpleNamespace(process_index=0)] * 4
    ).load(0, 2)
    own_images, own_labels = StreamedFeed(images, key, plan, devices).load(0, 2)
    assert own_labels.shape == (2, 3, 2)
    np.testing.assert_array_equal(own_labels, all_labels[2:])
    np.testing.assert_array_equal(own_images, all_images[2:])


def test_the_size_decides_between_resident_and_streamed():
    images = make_numbered_images()
    plan = EpochPlan(NUM_IMAGES, 4, 1, 3)
    size = images.images.nbytes

    def choose(resident_bytes):
        return type(
            create_feed(
                images,
                jax.random.key(0),
                plan,
                choose_devices(1),
                resident_bytes=resident_bytes,
            )
        )

    assert choose(size) is ResidentFeed
    assert choose(size - 1) is StreamedFeed
