"""GoogLeNet: parameter counts, both forms, auxiliary heads; its logits against torchvision's."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.classifiers import googlenet, torch_names
from jaxgan.classifiers.googlenet import GooglenetSettings, normalise_over_features
from jaxgan.core.errors import UserError
from tests import twins

PUBLISHED = {
    "image_size": 224,
    "channels": 3,
    "paper": False,
    "auxiliary": True,
    "width": 1.0,
    "dropout": 0.2,
    "dtype": "float32",
}
TINY = PUBLISHED | {"image_size": 15, "width": 0.05}


def create(num_classes=twins.NUM_CLASSES, **changes):
    return GooglenetSettings(**PUBLISHED | changes).create(num_classes)


@pytest.mark.parametrize(
    ("changes", "num_classes", "expected"),
    [
        ({}, 1000, 13_004_888),
        ({"auxiliary": False}, 1000, 6_624_904),
        ({"auxiliary": False}, 3, 5_602_979),
        ({"auxiliary": False, "paper": True}, 1000, 6_998_552),
    ],
)
def test_parameter_counts_of_the_published_network(changes, num_classes, expected):
    assert twins.count_parameters(create(num_classes, **changes)) == expected


@pytest.mark.parametrize(("paper", "size"), [(False, 15), (True, 31)])
def test_auxiliary_heads_are_of_the_training_alone(paper, size):
    classifier = create(3, **TINY | {"paper": paper, "image_size": size})
    images = jax.ShapeDtypeStruct((2, size, size, 3), jnp.float32)
    variables = twins.compute_shapes(classifier)
    apply = functools.partial(classifier.module.apply, mutable=["batch_stats"])
    rngs = {"dropout": jax.random.key(0)}
    trained, _ = jax.eval_shape(functools.partial(apply, train=True, rngs=rngs), variables, images)
    assert [row.shape for row in trained.auxiliary] == [(2, 3), (2, 3)]
    extract = functools.partial(classifier.module.apply, train=False, method="extract_maps")
    maps, auxiliary = jax.eval_shape(extract, variables, images)
    assert maps.shape == (2, 1, 1, 64) and auxiliary == ()
    assert classifier.auxiliary_weight == 0.3
    assert (
        create(
            3, **TINY | {"paper": paper, "image_size": size, "auxiliary": False}
        ).auxiliary_weight
        == 0.0
    )


def test_published_weights_are_for_the_form_with_batch_norm_alone():
    assert create(paper=True).torch_names is None
    assert create(paper=False).torch_names is not None


def test_features_are_normalised_by_their_neighbours():
    """Krizhevsky et al. 2012, section 3.3, written out."""
    x = np.random.default_rng(0).normal(size=(2, 3, 3, 7)).astype(np.float32) * 50
    expected = np.empty_like(x)
    for i in range(7):
        total = np.square(x[..., max(0, i - 2) : i + 3]).sum(axis=-1)
        expected[..., i] = x[..., i] / (1.0 + 1e-4 / 5 * total) ** 0.75
    found = normalise_over_features(jnp.asarray(x))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert np.abs(found - x).max() > 1.0


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"image_size": 14}, "config.image_size is 14, expected 15 to 1024"),
        ({"image_size": 30, "paper": True}, "config.image_size is 30, expected 31 to 1024"),
        ({"dropout": -0.1}, "config.dropout is -0.1, expected 0 to below 1"),
    ],
)
def test_a_wrong_field_is_named(changes, sentence):
    with pytest.raises(UserError, match=sentence):
        GooglenetSettings(**PUBLISHED | changes)


def create_network(**changes):
    _, torchvision = twins.import_torchvision()
    options = {"num_classes": twins.NUM_CLASSES, "aux_logits": True, "init_weights": False}
    return torchvision.models.googlenet(**options | changes)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", twins.TOLERANCE)
@pytest.mark.parametrize("size", [15, 97, 224])
def test_logits_are_those_of_torchvision(size, dtype):
    difference = twins.compute_difference(create(image_size=size), create_network, dtype)
    assert difference < twins.TOLERANCE[dtype]


@pytest.mark.slow
def test_logits_of_all_heads_in_training_are_those_of_torchvision():
    """By the statistics of the batch, nothing dropped; torchvision names the second head first."""
    classifier = create(image_size=64, dropout=0.0)
    module = classifier.module.clone(auxiliary_dropout=0.0)
    with jax.enable_x64(True):
        network = functools.partial(create_network, dropout=0.0, dropout_aux=0.0)
        twin = twins.create_twin(network, "float64")
        variables, images = twins.take_variables(classifier, twin), twins.draw_images(64, "float64")
        outputs, _ = jax.jit(functools.partial(module.apply, train=True, mutable=["batch_stats"]))(
            variables, images
        )
    logits, second, first = twin.compute_logits(images, train=True)
    found = (outputs.logits, *outputs.auxiliary)
    for ours, expected in zip(found, (logits, first, second), strict=True):
        np.testing.assert_allclose(ours, expected, atol=1e-9 * np.abs(expected).max())


@pytest.mark.slow
def test_gradients_are_those_of_torchvision():
    """Through both auxiliary heads too."""
    classifier = create(image_size=64, dropout=0.0)
    module = classifier.module.clone(auxiliary_dropout=0.0)
    network = functools.partial(create_network, dropout=0.0, dropout_aux=0.0)
    assert twins.compute_gradient_difference(classifier, network, module) < 1e-9


# What the test of parity has to notice --------------------------------------------------------


@pytest.mark.slow
def test_a_pooling_that_stops_at_the_border_would_be_noticed(monkeypatch):
    def floor(x, size, strides, *, padding=0, ceil=False):
        return pool(x, size, strides, padding=padding)

    pool = googlenet.max_pool
    monkeypatch.setattr(googlenet, "max_pool", floor)
    assert twins.compute_difference(create(image_size=97), create_network, "float32") > 1e-2


@pytest.mark.slow
def test_another_epsilon_would_be_noticed():
    classifier = create(image_size=97)
    style = dataclasses.replace(classifier.module.style, epsilon=1e-5)
    module = classifier.module.clone(style=style)
    difference = twins.compute_difference(classifier, create_network, "float32", module)
    assert difference > 10 * twins.TOLERANCE["float32"]


@pytest.mark.slow
def test_a_swap_of_mean_and_variance_would_be_noticed(monkeypatch):
    swapped = {"mean": "running_var", "var": "running_mean"}
    monkeypatch.setattr(torch_names, "_LEAVES", torch_names._LEAVES | swapped)
    # A variance may then be negative, and its root no number, which is no small difference.
    difference = twins.compute_difference(create(image_size=97), create_network, "float32")
    assert not difference < 1e-2


@pytest.mark.slow
def test_maps_in_another_order_would_be_noticed_by_the_auxiliary_heads():
    classifier = create(image_size=64, dropout=0.0)
    names = dataclasses.replace(classifier.torch_names, maps={})
    wrong = dataclasses.replace(classifier, torch_names=names)
    module = classifier.module.clone(auxiliary_dropout=0.0)
    network = functools.partial(create_network, dropout=0.0, dropout_aux=0.0)
    assert twins.compute_gradient_difference(wrong, network, module) > 1e-2
