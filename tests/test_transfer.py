"""What a classifier begins with, which of its layers stay so, and how fast the others learn."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.traverse_util import flatten_dict

from jaxgan.classifiers.step import create_classifier_state, train_step
from jaxgan.classifiers.transfer import NO_TRANSFER, TransferSettings, begin, create_optimizer
from jaxgan.classifiers.weight_files import NPZ, WeightFile
from jaxgan.classifiers.weights import match
from jaxgan.core.errors import UserError
from jaxgan.core.types import Batch
from tests.helpers import make_image_set
from tests.toy_classifier import ToySettings

STAGES = (("conv",), ("norm",))


def create_toy(transfer=NO_TRANSFER, rate=0.0):
    toy = ToySettings(image_size=8, channels=1, rate=rate).create(2)
    return transfer.apply(dataclasses.replace(toy, stages=STAGES))


def make_batch():
    images = make_image_set(8, size=8)
    return Batch(jnp.asarray(images.images), jnp.asarray(images.labels))


def train(transfer, num_steps=1, rate=0.0, optimizer=None):
    """The state before and after some steps, flat and by name."""
    classifier = create_toy(transfer, rate)
    optimizer = create_optimizer(optimizer or optax.sgd(0.1), classifier, transfer)
    bound = {"classifier": classifier, "optimizer": optimizer}
    state = first = create_classifier_state(jax.random.key(0), **bound)
    step = jax.jit(functools.partial(train_step, **bound))
    for i in range(num_steps):
        state, _ = step(state, make_batch(), jax.random.key(i))
    return [flatten_dict(s.variables, sep="/") for s in (first, state)]


def list_changed(before, after):
    return {n.split("/", 1)[1] for n in before if not np.array_equal(before[n], after[n])}


HEAD = {"output/kernel", "output/bias", "early/kernel", "early/bias"}
LAST = {"norm/scale", "norm/bias", "norm/mean", "norm/var"}


@pytest.mark.parametrize(
    ("frozen", "changed"),
    [
        ("none", {*HEAD, *LAST, "conv/kernel"}),
        ("early", {*HEAD, *LAST}),
        ("features", HEAD),
    ],
)
def test_what_is_frozen_stays_to_the_bit(frozen, changed):
    """Its parameters and what batch norm has noted; everything else learns."""
    before, after = train(TransferSettings(weights="file", frozen=frozen), num_steps=3)
    assert list_changed(before, after) == changed


def test_a_frozen_batch_norm_reads_its_statistics_and_not_the_batch():
    """So the head sees the same features in training as in prediction."""
    classifier = create_toy(TransferSettings(weights="file", frozen="features"))
    bound = {"classifier": classifier, "optimizer": optax.sgd(0.0)}
    state = create_classifier_state(jax.random.key(0), **bound)
    step = jax.jit(functools.partial(train_step, **bound))
    _, metrics = step(state, make_batch(), jax.random.key(0))
    batch = make_batch()
    images = classifier.input.scale(batch.images)
    logits = classifier.module.apply(state.variables, images, train=False).logits
    expected = optax.softmax_cross_entropy_with_integer_labels(logits, batch.labels).mean()
    maps = nn_relu_norm(state.variables, images)
    early = maps.mean(axis=(1, 2)) @ state.params["early"]["kernel"]
    auxiliary = optax.softmax_cross_entropy_with_integer_labels(early, batch.labels).mean()
    np.testing.assert_allclose(metrics["loss"], expected + 0.3 * auxiliary, rtol=1e-5)


def nn_relu_norm(variables, images):
    """The toy's maps, with the running statistics as they are at first: 0 and 1."""
    kernel = variables["params"]["conv"]["kernel"]
    dimensions = ("NHWC", "HWIO", "NHWC")
    x = jax.lax.conv_general_dilated(
        images, kernel, (2, 2), ((1, 1), (1, 1)), dimension_numbers=dimensions
    )
    norm = variables["params"]["norm"]
    return jax.nn.relu(x / np.sqrt(1 + 1e-5) * norm["scale"] + norm["bias"])


def test_the_backbone_learns_at_its_own_rate():
    """By plain descent an update is proportional to the rate."""
    before, whole = train(NO_TRANSFER)
    _, slow = train(TransferSettings(backbone_rate=0.25))
    for name in (n for n in before if n.startswith("params")):
        share = 1.0 if name.removeprefix("params/") in HEAD else 0.25
        step, expected = slow[name] - before[name], whole[name] - before[name]
        np.testing.assert_allclose(step, share * expected, atol=1e-7, err_msg=name)


def test_moments_are_kept_for_what_learns_alone():
    transfer = TransferSettings(weights="file", frozen="features")
    classifier = create_toy(transfer)
    optimizer = create_optimizer(optax.adam(0.1), classifier, transfer)
    state = create_classifier_state(jax.random.key(0), classifier=classifier, optimizer=optimizer)
    num = sum(leaf.size for leaf in jax.tree.leaves(state.opt_state))
    head = sum(a.size for n in ("output", "early") for a in state.params[n].values())
    assert num <= 2 * head + 2  # and two counts


def test_without_transfer_the_optimizer_is_the_very_same():
    """So nothing changes for a classifier that begins with nothing."""
    sgd = optax.sgd(0.1)
    assert create_optimizer(sgd, create_toy(), NO_TRANSFER) is sgd
    slow = TransferSettings(backbone_rate=0.5)
    first, second = (create_optimizer(sgd, create_toy(slow), slow) for _ in range(2))
    assert first is second is not sgd


def make_file(**arrays):
    return WeightFile("toy.npz", NPZ, "0" * 64, arrays)


def take_arrays(state):
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    return {name: np.asarray(a) + 1 for name, a in flatten_dict(variables, sep="/").items()}


def test_a_state_begins_with_the_arrays_of_a_file():
    classifier = create_toy()
    bound = {"classifier": classifier, "optimizer": optax.sgd(0.1)}
    state = create_classifier_state(jax.random.key(0), **bound)
    arrays = take_arrays(state)
    begun = begin(state, match(make_file(**arrays), classifier))
    for name, array in take_arrays(begun).items():
        np.testing.assert_array_equal(array, arrays[name] + 1)
    assert begin(state, None) is state


def test_nothing_is_frozen_that_was_drawn():
    with pytest.raises(UserError, match=r"config.frozen is 'features', expected none where"):
        TransferSettings(frozen="features")
    for rate in (0.0, 1.5):
        with pytest.raises(UserError, match=r"config\.backbone_rate is"):
            TransferSettings(backbone_rate=rate)


def test_a_family_without_stages_says_so():
    toy = ToySettings(image_size=8, channels=1, rate=0.0).create(2)
    assert NO_TRANSFER.apply(toy) == toy
    with pytest.raises(UserError, match="for networks with stages"):
        TransferSettings(backbone_rate=0.5).apply(toy)


def test_a_rate_of_layers_that_do_not_learn_has_no_effect():
    assert "backbone_rate" in TransferSettings(weights="a", frozen="features").find_unused()
    assert TransferSettings(weights="a", frozen="early").find_unused() == {}
