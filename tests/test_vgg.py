"""VGG16: parameter counts, heads, names; its logits against torchvision's with the same weights."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.classifiers.torch_names import to_ours
from jaxgan.classifiers.vgg import VggSettings
from jaxgan.core.errors import UserError
from tests import twins

PRINTED = {
    "image_size": 224,
    "channels": 3,
    "head": "dense",
    "norm": False,
    "width": 1.0,
    "dropout": 0.5,
    "dtype": "float32",
}
TINY = PRINTED | {"image_size": 32, "width": 0.02}


def create(num_classes=twins.NUM_CLASSES, **changes):
    return VggSettings(**PRINTED | changes).create(num_classes)


@pytest.mark.parametrize(
    ("changes", "num_classes", "expected"),
    [
        ({}, 1000, 138_357_544),
        ({}, 3, 134_272_835),
        ({"norm": True}, 1000, 138_365_992),
        ({"head": "average", "image_size": 64}, 3, 14_716_227),
    ],
)
def test_parameter_counts_of_the_published_network(changes, num_classes, expected):
    assert twins.count_parameters(create(num_classes, **changes)) == expected


@pytest.mark.parametrize("head", ["dense", "average"])
def test_the_least_image_comes_to_one_pixel_and_is_classified(head):
    classifier = create(3, **TINY | {"head": head, "norm": True})
    images = jnp.asarray(twins.draw_images(32, "float32"))
    variables = twins.draw_variables(classifier)
    maps, _ = jax.jit(
        lambda v, x: classifier.module.apply(v, x, train=False, method="extract_maps")
    )(variables, images)
    assert maps.shape == (2, 1, 1, 16)
    logits = classifier.module.apply(variables, maps, train=False, method="classify_maps")
    assert logits.shape == (2, 3) and float(jnp.ptp(logits)) > 0.0


def test_layers_have_the_places_that_torchvision_gives_them():
    """The list of torchvision's layers counts ReLU and pooling too."""
    plain = twins.name_places(create())
    assert len(plain) == 32 and plain["classifier.0.weight"].shape == (4096, 25088)
    places = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
    names = {f"features.{place}" for place in places}
    names |= {f"classifier.{place}" for place in (0, 3, 6)}
    assert {name.rpartition(".")[0] for name in plain} == names
    normed = twins.name_places(create(norm=True))
    assert "features.41.running_var" in normed and "features.40.weight" in normed


def test_the_dense_layer_reads_maps_in_the_order_of_torch():
    """[out, channels, height, width] laid out flat becomes [height, width, channels, out]."""
    place = twins.name_places(create(**TINY))["classifier.0.weight"]
    values = np.arange(np.prod(place.shape)).reshape(place.shape)
    kernel = to_ours(place, values)
    channels = place.shape[1] // 49
    for out, c, h, w in [(0, 0, 0, 1), (1, 3, 2, 6), (5, 1, 6, 0)]:
        row = (h * 7 + w) * channels + c
        assert kernel[row, out] == values[out, (c * 7 + h) * 7 + w]
    assert kernel.shape == place.shape[::-1]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"image_size": 31}, "config.image_size is 31, expected 32 to 1024"),
        ({"channels": 2}, "config.channels is 2, expected one of 1, 3"),
        ({"width": 0.0}, "config.width is 0.0, expected above 0"),
        ({"dropout": 1.0}, "config.dropout is 1.0, expected 0 to below 1"),
        ({"dtype": "float16"}, "config.dtype is 'float16'"),
    ],
)
def test_a_wrong_field_is_named(changes, sentence):
    with pytest.raises(UserError, match=sentence):
        VggSettings(**PRINTED | changes)


def create_network(**changes):
    _, torchvision = twins.import_torchvision()
    return torchvision.models.vgg16(num_classes=twins.NUM_CLASSES, **changes)


def create_normed_network(**changes):
    _, torchvision = twins.import_torchvision()
    return torchvision.models.vgg16_bn(num_classes=twins.NUM_CLASSES, **changes)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", twins.TOLERANCE)
@pytest.mark.parametrize("size", [64, 97])
def test_logits_are_those_of_torchvision(size, dtype):
    difference = twins.compute_difference(create(image_size=size), create_network, dtype)
    assert difference < twins.TOLERANCE[dtype]


@pytest.mark.slow
def test_logits_with_batch_norm_are_those_of_torchvision():
    classifier = create(image_size=64, norm=True)
    assert twins.compute_difference(classifier, create_normed_network, "float64") < 1e-10


@pytest.mark.slow
@pytest.mark.parametrize(
    ("norm", "network"), [(False, create_network), (True, create_normed_network)]
)
def test_gradients_are_those_of_torchvision(norm, network):
    classifier = create(image_size=64, norm=norm, dropout=0.0)
    network = functools.partial(network, dropout=0.0)
    assert twins.compute_gradient_difference(classifier, network) < 1e-9


# What the test of parity has to notice --------------------------------------------------------


@pytest.mark.slow
def test_the_order_of_another_layout_would_be_noticed():
    classifier = create(image_size=64)
    names = dataclasses.replace(classifier.torch_names, maps={})
    wrong = dataclasses.replace(classifier, torch_names=names)
    assert twins.compute_difference(wrong, create_network, "float32") > 1e-2
