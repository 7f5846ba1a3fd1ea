"""ResNet: parameter counts, blocks; its logits and gradients against torchvision's."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.classifiers import resnet, torch_names
from jaxgan.classifiers.resnet import Block, ResnetSettings
from jaxgan.core.errors import UserError
from tests import twins

PUBLISHED = {"image_size": 224, "channels": 3, "depth": 18, "width": 1.0, "dtype": "float32"}


def create(num_classes=twins.NUM_CLASSES, **changes):
    return ResnetSettings(**PUBLISHED | changes).create(num_classes)


@pytest.mark.parametrize(
    ("depth", "num_classes", "expected"),
    [(18, 1000, 11_689_512), (18, 3, 11_178_051), (50, 1000, 25_557_032), (50, 3, 23_514_179)],
)
def test_parameter_counts_of_the_published_network(depth, num_classes, expected):
    assert twins.count_parameters(create(num_classes, depth=depth)) == expected


def test_a_quarter_of_the_width_is_a_quarter_of_every_layer():
    shapes = twins.compute_shapes(create(width=0.25))["params"]
    assert shapes["conv1"]["kernel"].shape == (7, 7, 3, 16)
    assert shapes["layer4_1"]["conv2"]["kernel"].shape == (3, 3, 128, 128)


def apply_block(x, *, strides=1, is_deep=False, **scales):
    """Apply a block whose last batch norm has a scale of 0: what remains is the shortcut."""
    block = Block(resnet.Style(), x.shape[-1], strides, is_deep)
    variables = block.init(jax.random.key(0), x, train=False)
    for name, value in scales.items():
        norm = variables["params"][name]
        norm["scale"] = jnp.full_like(norm["scale"], value)
    return block.apply(variables, x, train=False), variables


def test_a_block_adds_to_what_it_was_given_and_relu_follows():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(1, 4, 4, 8)), jnp.float32)
    found, _ = apply_block(x, bn2=0.0)
    np.testing.assert_allclose(found, np.maximum(x, 0), rtol=1e-6)


def test_where_shapes_differ_a_convolution_brings_the_maps_to_the_sum():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(1, 4, 4, 8)), jnp.float32)
    found, variables = apply_block(x, strides=2, is_deep=True, bn3=0.0)
    kernel = variables["params"]["downsample_0"]["kernel"][0, 0]
    assert kernel.shape == (8, 32)
    expected = np.maximum(x[:, ::2, ::2] @ kernel, 0) / np.sqrt(1 + 1e-5)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"image_size": 0}, "config.image_size is 0, expected 1 to 1024"),
        ({"channels": 4}, "config.channels is 4, expected one of 1, 3"),
        ({"width": 5.0}, "config.width is 5.0, expected above 0, at most 4"),
    ],
)
def test_a_wrong_field_is_named(changes, sentence):
    with pytest.raises(UserError, match=sentence):
        ResnetSettings(**PUBLISHED | changes)


def create_network(depth):
    _, torchvision = twins.import_torchvision()
    create_model = getattr(torchvision.models, f"resnet{depth}")
    return lambda: create_model(num_classes=twins.NUM_CLASSES)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", twins.TOLERANCE)
@pytest.mark.parametrize(("depth", "size"), [(18, 64), (18, 97), (18, 224), (50, 97), (50, 224)])
def test_logits_are_those_of_torchvision(depth, size, dtype):
    classifier = create(depth=depth, image_size=size)
    difference = twins.compute_difference(classifier, create_network(depth), dtype)
    assert difference < twins.TOLERANCE[dtype]


@pytest.mark.slow
@pytest.mark.parametrize(("depth", "size"), [(18, 64), (50, 97)])
def test_gradients_are_those_of_torchvision(depth, size):
    classifier = create(depth=depth, image_size=size)
    assert twins.compute_gradient_difference(classifier, create_network(depth)) < 1e-9


@pytest.mark.slow
def test_statistics_are_those_of_torchvision():
    """PyTorch keeps the unbiased variance, linen the other."""
    classifier = create(image_size=64)
    with jax.enable_x64(True):
        twin = twins.create_twin(create_network(18), "float64")
        images = twins.draw_images(64, "float64")
        variables = twins.take_variables(classifier, twin)
        apply = functools.partial(classifier.module.apply, train=True, mutable=["batch_stats"])
        _, updates = jax.jit(apply)(variables, images)
    twin.compute_logits(images, train=True)
    found, state = jax.device_get(updates["batch_stats"]["bn1"]), twin.network.state_dict()
    count = len(images) * 32 * 32  # what the first batch norm averages over
    begin = variables["batch_stats"]["bn1"]["var"]
    unbiased = begin * 0.9 + (found["var"] - begin * 0.9) * count / (count - 1)
    np.testing.assert_allclose(unbiased, state["bn1.running_var"].numpy(), rtol=1e-10)
    np.testing.assert_allclose(found["mean"], state["bn1.running_mean"].numpy(), rtol=1e-9)


# What the test of parity has to notice --------------------------------------------------------


@pytest.mark.slow
def test_padding_as_tensorflow_does_it_would_be_noticed(monkeypatch):
    monkeypatch.setattr(resnet, "pad", lambda rows: "SAME")
    classifier = create(image_size=64)
    assert twins.compute_difference(classifier, create_network(18), "float32") > 1e-2


@pytest.mark.slow
def test_a_swap_of_mean_and_variance_would_be_noticed(monkeypatch):
    swapped = {"mean": "running_var", "var": "running_mean"}
    monkeypatch.setattr(torch_names, "_LEAVES", torch_names._LEAVES | swapped)
    classifier = create(image_size=64)
    # A variance may then be negative, and its root no number, which is no small difference.
    difference = twins.compute_difference(classifier, create_network(18), "float32")
    assert not difference < 1e-2


@pytest.mark.slow
def test_a_stride_in_the_first_convolution_of_a_block_would_be_noticed(monkeypatch):
    """The form before v1.5."""

    def plan(block):
        n = block.features
        return [(n, 1, block.strides, "VALID"), (n, 3, 1, "SAME"), (4 * n, 1, 1, "VALID")]

    monkeypatch.setattr(Block, "_plan", plan)
    classifier = create(image_size=64, depth=50)
    assert twins.compute_difference(classifier, create_network(50), "float32") > 1e-2


@pytest.mark.slow
def test_another_epsilon_would_be_noticed():
    classifier = create(image_size=64)
    style = dataclasses.replace(resnet.Style(), epsilon=1e-3)
    module = classifier.module.clone(style=style)
    difference = twins.compute_difference(classifier, create_network(18), "float32", module)
    assert difference > 10 * twins.TOLERANCE["float32"]
