"""Names and layouts of PyTorch's arrays, for every family that has published weights."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.classifiers.efficientnet import EfficientnetLiteSettings
from jaxgan.classifiers.googlenet import GooglenetSettings
from jaxgan.classifiers.inception import InceptionSettings
from jaxgan.classifiers.resnet import ResnetSettings
from jaxgan.classifiers.torch_names import TorchArray, TorchNames, name_arrays, to_ours
from jaxgan.classifiers.vgg import VggSettings
from tests import twins

COMMON: dict[str, Any] = {"channels": 1, "width": 0.05, "dtype": "float32"}
LITE: dict[str, Any] = {"variant": 0, "dropout": 0.2, "drop_connect": 0.2, "norm_momentum": 0.9}
# A classifier of each family, and how many arrays torchvision has of it.
FAMILIES = {
    "vgg": (VggSettings(image_size=32, head="dense", norm=False, dropout=0.5, **COMMON), 32),
    "resnet18": (ResnetSettings(image_size=8, depth=18, **COMMON), 102),
    "resnet50": (ResnetSettings(image_size=8, depth=50, **COMMON), 267),
    "googlenet": (
        GooglenetSettings(image_size=15, paper=False, auxiliary=True, dropout=0.2, **COMMON),
        305,
    ),
    "inception": (InceptionSettings(image_size=299, auxiliary=True, dropout=0.5, **COMMON), 484),
    "efficientnet": (EfficientnetLiteSettings(image_size=8, **LITE, **COMMON), 247),
}
every_family = pytest.mark.parametrize("name", FAMILIES)


def test_layouts_are_turned_into_ours():
    values = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)  # out, in, height, width
    conv = to_ours(TorchArray(("k",), values.shape, (2, 3, 1, 0)), values)
    assert conv.shape == (4, 5, 3, 2) and conv[1, 2, 0, 1] == values[1, 0, 1, 2]
    dense = to_ours(TorchArray(("k",), (2, 60), (1, 0)), values.reshape(2, 60))
    assert dense.shape == (60, 2) and dense[7, 1] == values.reshape(2, 60)[1, 7]
    flat = TorchArray(("k",), (2, 60), (1, 0), maps=(3, 4, 5))
    read = to_ours(flat, values.reshape(2, 60)).reshape(4, 5, 3, 2)
    np.testing.assert_array_equal(read, conv)


def test_arrays_have_torch_s_names_and_shapes():
    variables = {
        "params": {
            "conv_0": {"kernel": jnp.zeros((5, 7, 3, 2)), "bias": jnp.zeros(2)},
            "bn": {"scale": jnp.zeros(2), "bias": jnp.zeros(2)},
            "fc": {"kernel": jnp.zeros((12, 4))},
        },
        "batch_stats": {"bn": {"mean": jnp.zeros(2), "var": jnp.zeros(2)}},
    }
    names = TorchNames(lambda path: path.replace("_", "."), head=(), maps={"fc": (3, 2, 2)})
    arrays = name_arrays(names, variables)
    assert {name: array.shape for name, array in arrays.items()} == {
        "conv.0.weight": (2, 3, 5, 7),
        "conv.0.bias": (2,),
        "bn.weight": (2,),
        "bn.bias": (2,),
        "bn.running_mean": (2,),
        "bn.running_var": (2,),
        "fc.weight": (4, 12),
    }
    assert arrays["bn.running_var"].path == ("batch_stats", "bn", "var")
    assert arrays["fc.weight"].maps == (3, 2, 2) and arrays["conv.0.weight"].maps is None


@every_family
def test_every_array_has_a_name_and_stages_are_all_layers_but_the_heads(name):
    settings, num = FAMILIES[name]
    classifier = settings.create(3)
    places = twins.name_places(classifier)
    assert len(places) == num == len({place.path for place in places.values()})
    heads = classifier.torch_names.head
    with_outputs = {n.rpartition(".")[0] for n, place in places.items() if place.shape[0] == 3}
    assert set(heads) == with_outputs
    for auxiliary in classifier.torch_names.auxiliary:
        assert any(name.startswith(f"{auxiliary}.") for name in places)
    stages = [layer for stage in classifier.stages for layer in stage]
    assert len(classifier.stages) >= 4 and len(stages) == len(set(stages))
    others = {place.path[1] for place in places.values()} - set(stages)
    heads = {"classifier_0", "classifier_3", "classifier_6", "fc", "aux1", "aux2", "AuxLogits"}
    assert others and others <= heads
