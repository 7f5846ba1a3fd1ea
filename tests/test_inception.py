"""Inception v3: parameter counts, its auxiliary head; its logits against torchvision's."""

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.classifiers import inception, torch_names
from jaxgan.classifiers.inception import InceptionSettings
from jaxgan.core.errors import UserError
from tests import twins

PUBLISHED = {
    "image_size": 299,
    "channels": 3,
    "auxiliary": True,
    "width": 1.0,
    "dropout": 0.5,
    "dtype": "float32",
}


def create(num_classes=twins.NUM_CLASSES, **changes):
    return InceptionSettings(**PUBLISHED | changes).create(num_classes)


def create_without(size, **changes):
    return create(image_size=size, auxiliary=False, **changes)


@pytest.mark.parametrize(
    ("size", "auxiliary", "num_classes", "expected"),
    [
        (75, False, 3, 21_791_715),
        (299, True, 1000, 27_161_264),
        pytest.param(299, True, 3, 24_351_718, marks=pytest.mark.slow),
        pytest.param(299, False, 1000, 23_834_568, marks=pytest.mark.slow),
    ],
)
def test_parameter_counts_of_the_published_network(size, auxiliary, num_classes, expected):
    classifier = create(num_classes, image_size=size, auxiliary=auxiliary)
    assert twins.count_parameters(classifier) == expected


@pytest.mark.slow
@pytest.mark.parametrize(("size", "expected"), [(75, 1), (96, 1), (128, 2), (150, 3), (299, 8)])
def test_the_last_maps_are_as_large_as_torchvision_s(size, expected):
    maps, _ = extract_maps(create_without(size, width=0.05), train=False)
    assert maps.shape == (2, expected, expected, 128)


def test_the_auxiliary_head_is_of_the_training_alone():
    classifier = create(3, width=0.05)
    maps, auxiliary = extract_maps(classifier, train=False)
    assert maps.shape == (2, 8, 8, 128) and auxiliary == ()
    _, auxiliary = extract_maps(classifier, train=True)
    assert [row.shape for row in auxiliary] == [(2, 3)] and classifier.auxiliary_weight == 0.4
    assert create_without(75).auxiliary_weight == 0.0


def extract_maps(classifier, *, train):
    """The shapes of the last maps and of auxiliary logits."""
    size = classifier.input.image_size
    images = jax.ShapeDtypeStruct((2, size, size, 3), jnp.float32)
    apply = functools.partial(classifier.module.apply, train=train, method="extract_maps")
    found = functools.partial(apply, mutable=["batch_stats"])
    outputs, _ = jax.eval_shape(found, twins.compute_shapes(classifier), images)
    return outputs


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"image_size": 74}, "config.image_size is 74, expected 75 to 1024"),
        (
            {"image_size": 150},
            "config.auxiliary is True, expected False for images of fewer than 299 pixels a side",
        ),
        ({"dropout": 1.5}, "config.dropout is 1.5, expected 0 to below 1"),
    ],
)
def test_a_wrong_field_is_named(changes, sentence):
    with pytest.raises(UserError, match=sentence):
        InceptionSettings(**PUBLISHED | changes)


def create_network(**changes):
    _, torchvision = twins.import_torchvision()
    options = {"num_classes": twins.NUM_CLASSES, "aux_logits": False, "init_weights": False}
    return torchvision.models.inception_v3(**options | changes)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", twins.TOLERANCE)
@pytest.mark.parametrize("size", [75, 107])
def test_logits_are_those_of_torchvision(size, dtype):
    difference = twins.compute_difference(create_without(size), create_network, dtype)
    assert difference < twins.TOLERANCE[dtype]


@pytest.mark.slow
def test_logits_of_both_heads_in_training_are_those_of_torchvision():
    """At 299 pixels, by the statistics of the batch, nothing dropped."""
    classifier = create(dropout=0.0)
    with jax.enable_x64(True):
        network = functools.partial(create_network, aux_logits=True, dropout=0.0)
        twin = twins.create_twin(network, "float64")
        images = twins.draw_images(299, "float64")
        variables = twins.take_variables(classifier, twin)
        outputs, _ = jax.jit(
            functools.partial(classifier.module.apply, train=True, mutable=["batch_stats"])
        )(variables, images)
    found = (outputs.logits, *outputs.auxiliary)
    for ours, expected in zip(found, twin.compute_logits(images, train=True), strict=True):
        np.testing.assert_allclose(ours, expected, atol=1e-9 * np.abs(expected).max())


@pytest.mark.slow
def test_gradients_are_those_of_torchvision():
    """Through the auxiliary head too."""
    network = functools.partial(create_network, aux_logits=True, dropout=0.0)
    assert twins.compute_gradient_difference(create(dropout=0.0), network) < 1e-9


# What the test of parity has to notice --------------------------------------------------------


@pytest.mark.slow
def test_another_epsilon_would_be_noticed():
    classifier = create_without(75)
    style = dataclasses.replace(classifier.module.style, epsilon=1e-5)
    module = classifier.module.clone(style=style)
    difference = twins.compute_difference(classifier, create_network, "float32", module)
    assert difference > 10 * twins.TOLERANCE["float32"]


@pytest.mark.slow
def test_an_average_that_leaves_the_padding_out_would_be_noticed(monkeypatch):
    """As Keras has it."""
    average = functools.partial(nn.avg_pool, count_include_pad=False)
    monkeypatch.setattr(inception.nn, "avg_pool", average)
    assert twins.compute_difference(create_without(75), create_network, "float32") > 1e-3


@pytest.mark.slow
def test_a_swap_of_mean_and_variance_would_be_noticed(monkeypatch):
    swapped = {"mean": "running_var", "var": "running_mean"}
    monkeypatch.setattr(torch_names, "_LEAVES", torch_names._LEAVES | swapped)
    # A variance may then be negative, and its root no number, which is no small difference.
    assert not twins.compute_difference(create_without(75), create_network, "float32") < 1e-2
