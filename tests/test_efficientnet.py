"""EfficientNet-Lite: parameter counts, what training drops; its logits against PyTorch's."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.classifiers import blocks, torch_names
from jaxgan.classifiers.efficientnet import DropConnect, EfficientnetLiteSettings
from jaxgan.core.errors import UserError
from tests import twins

PUBLISHED = {
    "image_size": 224,
    "channels": 3,
    "variant": 0,
    "width": 1.0,
    "drop_connect": 0.2,
    "dropout": 0.2,
    "norm_momentum": 0.99,
    "dtype": "float32",
}
KEY = jax.random.key(0)


def create(num_classes=twins.NUM_CLASSES, **changes):
    return EfficientnetLiteSettings(**PUBLISHED | changes).create(num_classes)


@pytest.mark.parametrize(("variant", "expected"), [(0, 4_652_008), (1, 5_416_680), (2, 6_092_072)])
def test_parameter_counts_of_the_published_network(variant, expected):
    assert twins.count_parameters(create(1000, variant=variant)) == expected


def test_blocks_drop_more_the_deeper_they_are():
    module = create(width=0.05).module.bind({})
    rates = [block.drop_connect for block in module.blocks]
    np.testing.assert_allclose(rates, 0.2 * np.arange(16) / 16)


def test_drop_connect_drops_whole_images_of_the_whole_batch():
    x, module = jnp.ones((64, 2, 2, 3)), DropConnect(0.25)
    found = np.asarray(module.apply({}, x, train=True, rngs={"dropout": KEY}))
    by_image = found.reshape(64, -1)
    assert set(np.unique(found)) == {0.0, np.float32(1 / 0.75)}
    assert (by_image == by_image[:, :1]).all() and by_image.mean() == pytest.approx(1.0, abs=0.25)
    np.testing.assert_array_equal(module.apply({}, x, train=False), x)
    halves = jax.vmap(
        lambda part: DropConnect(0.25, "device").apply({}, part, train=True, rngs={"dropout": KEY}),
        axis_name="device",
    )(x.reshape(2, 32, 2, 2, 3))
    np.testing.assert_array_equal(halves.reshape(x.shape), found)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"image_size": 2000}, "config.image_size is 2000, expected 1 to 1024"),
        ({"drop_connect": 1.0}, "config.drop_connect is 1.0, expected 0 to below 1"),
        ({"norm_momentum": 1.0}, "config.norm_momentum is 1.0, expected between 0 and 1"),
    ],
)
def test_a_wrong_field_is_named(changes, sentence):
    with pytest.raises(UserError, match=sentence):
        EfficientnetLiteSettings(**PUBLISHED | changes)


def create_network(variant, size):
    """The package's padding is that of the size that it is made for."""
    twins.import_torchvision()
    package = pytest.importorskip(
        "efficientnet_lite_pytorch", reason="parity needs pip install efficientnet-lite-pytorch"
    )
    return package.EfficientNet.from_name(
        f"efficientnet-lite{variant}", image_size=size, num_classes=twins.NUM_CLASSES
    )


def create_undropping_network(variant, size):
    network = create_network(variant, size)
    network._global_params = network._global_params._replace(drop_connect_rate=0.0)
    network._dropout.p = 0.0
    return network


CASES = [(0, 97), (0, 128), (0, 224), (1, 240), (2, 260)]


@pytest.mark.slow
@pytest.mark.parametrize("dtype", twins.TOLERANCE)
@pytest.mark.parametrize(("variant", "size"), CASES)
def test_logits_are_those_of_the_package(variant, size, dtype):
    classifier = create(variant=variant, image_size=size)
    network = functools.partial(create_network, variant, size)
    assert twins.compute_difference(classifier, network, dtype) < twins.TOLERANCE[dtype]


@pytest.mark.slow
def test_gradients_are_those_of_the_package():
    classifier = create(image_size=128, drop_connect=0.0, dropout=0.0)
    network = functools.partial(create_undropping_network, 0, 128)
    assert twins.compute_gradient_difference(classifier, network) < 1e-9


# What the test of parity has to notice --------------------------------------------------------


@pytest.mark.slow
def test_another_epsilon_would_be_noticed():
    classifier = create(image_size=64)
    module = classifier.module.clone(style=blocks.Style(epsilon=1e-5))
    network = functools.partial(create_network, 0, 64)
    difference = twins.compute_difference(classifier, network, "float32", module)
    assert difference > 10 * twins.TOLERANCE["float32"]


@pytest.mark.slow
def test_symmetric_padding_would_be_noticed():
    """PyTorch's habit: at even sizes it is half a pixel from TensorFlow's."""
    classifier = create(image_size=64)
    style = dataclasses.replace(classifier.module.style)
    module = classifier.module.clone(style=SymmetricStyle(**vars(style)))
    network = functools.partial(create_network, 0, 64)
    assert twins.compute_difference(classifier, network, "float32", module) > 1e-2


@pytest.mark.slow
def test_a_swap_of_mean_and_variance_would_be_noticed(monkeypatch):
    swapped = {"mean": "running_var", "var": "running_mean"}
    monkeypatch.setattr(torch_names, "_LEAVES", torch_names._LEAVES | swapped)
    network = functools.partial(create_network, 0, 64)
    # A variance may then be negative, and its root no number, which is no small difference.
    assert not twins.compute_difference(create(image_size=64), network, "float32") < 1e-2


class SymmetricStyle(blocks.Style):
    """Pads the first convolution by one pixel on every side."""

    def create_conv(self, features, kernel_size, **more):
        if kernel_size == 3:
            more["padding"] = blocks.pad(1)
        return super().create_conv(features, kernel_size, **more)
