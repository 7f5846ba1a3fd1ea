"""GMD: parameter counts, sizes, padding, outputs, what it may be told."""

import jax
import jax.numpy as jnp
import pytest

from jaxgan.classifiers.gmd import Gmd
from jaxgan.core.errors import UserError
from tests.helpers import make_gmd_settings


def count_parameters(model, size, channels=3):
    images = jnp.zeros((1, size, size, channels))
    variables = jax.eval_shape(lambda: model.init(jax.random.key(0), images, train=False))
    return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))


def test_parameter_counts_of_the_paper():
    assert count_parameters(Gmd(), 150) == 4_033_252
    assert count_parameters(Gmd(padding="SAME"), 150) == 4_929_252


@pytest.mark.parametrize(("size", "channels"), [(24, 1), (33, 3), (64, 1)])
def test_any_size_and_channels(size, channels):
    model = Gmd(num_outputs=3, width=8)
    images = jnp.ones((2, size, size, channels))
    variables = model.init(jax.random.key(0), images, train=False)
    assert model.apply(variables, images, train=False).logits.shape == (2, 3)


def test_outputs_follow_the_classes_or_the_papers_four():
    assert make_gmd_settings().classifier.create(3).module.num_outputs == 3
    settings = make_gmd_settings(num_outputs=4).classifier
    assert settings.create(3).module.num_outputs == 4
    with pytest.raises(UserError, match=r"config.classifier.num_outputs is 4 and .* 5 classes"):
        settings.create(5)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"image_size": 20}, "config.classifier.image_size is 20, expected 24 to 512"),
        ({"channels": 2}, "config.classifier.channels is 2, expected one of 1, 3"),
        ({"width": 12}, "config.classifier.width is 12, expected a multiple of 8"),
        ({"padding": "FULL"}, "config.classifier.padding is 'FULL', expected one of VALID, SAME"),
        ({"num_outputs": -1}, "config.classifier.num_outputs is -1"),
        ({"dtype": "float16"}, "config.classifier.dtype is 'float16'"),
        ({"family": "gdm"}, "config.classifier.family is 'gdm'"),
    ],
)
def test_a_wrong_field_is_named(changes, sentence):
    with pytest.raises(UserError, match=sentence):
        make_gmd_settings(**changes)
