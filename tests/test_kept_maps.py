"""Feature maps that are computed once: training on them is training on images."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.traverse_util import flatten_dict

from configs.classifier import list_variants
from jaxgan.classifiers import kept_maps
from jaxgan.classifiers.kept_maps import keep_maps
from jaxgan.classifiers.predict import create_predict
from jaxgan.classifiers.step import create_classifier_state, train_step
from jaxgan.classifiers.transfer import TransferSettings, begin, create_optimizer
from jaxgan.classifiers.weight_files import NPZ, WeightFile
from jaxgan.classifiers.weights import create_shapes, match
from jaxgan.core.settings import read_settings
from jaxgan.core.types import Batch
from jaxgan.experiments.train_classifier import TrainClassifierSettings
from tests.helpers import compute_difference, make_image_set
from tests.toy_classifier import ToySettings

FROZEN = TransferSettings(weights="file", frozen="features")


def create_toy(transfer=FROZEN, auxiliary_weight=0.0):
    toy = ToySettings(image_size=8, channels=1, rate=0.5).create(2)
    stages = (("conv",), ("norm",))
    toy = dataclasses.replace(toy, stages=stages, auxiliary_weight=auxiliary_weight)
    return transfer.apply(toy)


def create_start(classifier):
    rng, shapes = np.random.default_rng(0), flatten_dict(create_shapes(classifier), sep="/")
    arrays = {n: rng.uniform(0.5, 1.5, leaf.shape).astype("f4") for n, leaf in shapes.items()}
    return match(WeightFile("toy.npz", NPZ, "0" * 64, arrays), classifier)


def keep(classifier, start, num_images=8):
    return keep_maps(classifier, start, num_images=num_images, batch_size=3)


def test_training_on_maps_is_training_on_images():
    """Dropout in the head draws the same; the states have the same form, so a run may go on."""
    classifier = create_toy()
    start, images = create_start(classifier), make_image_set(8, size=8)
    kept = keep(classifier, start)
    optimizer = create_optimizer(optax.adam(0.01), classifier, FROZEN)
    bound = {"classifier": classifier, "optimizer": optimizer}
    state = begin(create_classifier_state(jax.random.key(0), **bound), start)
    results = {}
    for learner, data in ((classifier, images), (kept.learner, kept.replace(images))):
        step = jax.jit(functools.partial(train_step, classifier=learner, optimizer=optimizer))
        found, batch = state, Batch(jnp.asarray(data.images), jnp.asarray(data.labels))
        for i in range(3):
            found, metrics = step(found, batch, jax.random.key(i))
        results[learner.method] = (found, metrics)
        predicted = create_predict(learner, 3)(found.variables, data.images)
        results[f"{learner.method} predicts"] = predicted
    assert compute_difference(results["__call__"], results["classify"]) < 1e-5
    difference = np.abs(results["__call__ predicts"] - results["classify predicts"]).max()
    assert difference < 1e-5
    moved = compute_difference(state.params["output"], results["classify"][0].params["output"])
    assert moved > 1e-3


def test_maps_are_those_of_prediction():
    classifier = create_toy()
    start, images = create_start(classifier), make_image_set(7, size=8)
    maps = keep(classifier, start).replace(images)
    assert maps.images.shape == (7, 4, 4, 4) and maps.images.dtype == np.float32
    assert maps.files == images.files
    variables = start.fill(create_zeros(classifier))
    alone = classifier.module.apply(
        variables,
        classifier.input.scale(images.images[3:4]),
        train=False,
        method="extract_maps",
    )[0]
    np.testing.assert_allclose(maps.images[3], alone[0], atol=1e-5)


def create_zeros(classifier):
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), create_shapes(classifier))


def test_maps_are_kept_where_that_is_exact_alone(monkeypatch):
    classifier = create_toy()
    start = create_start(classifier)
    early = create_toy(dataclasses.replace(FROZEN, frozen="early"))
    assert keep(classifier, start) is not None
    assert keep(classifier, None) is None
    assert keep(early, start) is None
    assert keep(create_toy(dataclasses.replace(FROZEN, frozen="none")), start) is None
    assert keep(create_toy(auxiliary_weight=0.3), start) is None
    monkeypatch.setattr(kept_maps, "MAX_BYTES", 8 * 4 * 4 * 4 * 4)
    assert keep(classifier, start, num_images=8) is not None
    assert keep(classifier, start, num_images=9) is None


@pytest.mark.parametrize("weights", ["", "file"])
def test_a_family_without_stages_keeps_nothing(weights):
    toy = ToySettings(image_size=8, channels=1, rate=0.0).create(2)
    start = create_start(create_toy()) if weights else None
    assert keep(toy, start) is None


def test_equal_batches_are_computed_once_and_never_differently():
    """Batches are those of the images' places: the maps have the same bits with a full memory."""
    sizes = []

    def compute(images):
        sizes.append(len(images))
        return images.astype(np.float32).mean(axis=(1, 2)) + np.arange(len(images))[:, None]

    images = make_image_set(8, size=8).images
    expected = np.concatenate([compute(images[i : i + 3]) for i in (0, 3, 6)])
    row = expected[:1].nbytes
    for max_bytes, computed in ((2**20, [3, 3, 2]), (4 * row, [3, 3, 2, 3, 2]), (0, [3, 3, 2] * 2)):
        sizes.clear()
        cached = kept_maps.MapCache(compute, 3, max_bytes)
        for _ in range(2):
            np.testing.assert_array_equal(cached(images), expected)
        assert sizes == computed
    assert cached(images[:0]).shape == (0, 1)


def create_narrow(variant, frozen):
    """Return a published network of small width and its start, with random statistics."""
    config = list_variants()[variant]()
    config.classifier.width = 0.05
    run = read_settings(TrainClassifierSettings, config.to_dict())
    transfer = TransferSettings(weights="file", frozen=frozen)
    classifier = transfer.apply(run.classifier.create(2))
    state = create_classifier_state(
        jax.random.key(1), classifier=classifier, optimizer=optax.sgd(0.01)
    )
    rng, flat = np.random.default_rng(0), flatten_dict(state.variables, sep="/")
    arrays = {
        name: rng.uniform(0.5, 1.5, a.shape).astype("f4") if a.ndim == 1 else np.asarray(a)
        for name, a in flat.items()
    }
    return classifier, transfer, match(WeightFile("a.npz", NPZ, "0" * 64, arrays), classifier)


@pytest.mark.parametrize(
    "variant",
    [
        "vgg16_small",
        *(
            pytest.param(f"{name}_small", marks=pytest.mark.slow)
            for name in ("resnet18", "resnet50", "googlenet", "inception_v3", "efficientnet_lite0")
        ),
    ],
)
def test_the_last_stage_learns_from_kept_maps_as_from_images(variant):
    """The maps before the last stage are kept, and both trainings change that stage alike."""
    classifier, transfer, start = create_narrow(variant, "early")
    size = classifier.input.image_size
    images, kept = make_image_set(8, size=size), keep(classifier, start)
    assert kept.learner.method == "classify_early"
    optimizer = create_optimizer(optax.sgd(0.01), classifier, transfer)
    bound = {"classifier": classifier, "optimizer": optimizer}
    state = begin(create_classifier_state(jax.random.key(0), **bound), start)
    found = []
    for learner, data in ((classifier, images), (kept.learner, kept.replace(images))):
        step = jax.jit(functools.partial(train_step, classifier=learner, optimizer=optimizer))
        after, batch = state, Batch(jnp.asarray(data.images), jnp.asarray(data.labels))
        for i in range(2):
            after, _ = step(after, batch, jax.random.key(i))
        found.append((after, create_predict(learner, 3)(after.variables, data.images)))
    (from_images, expected), (from_maps, predicted) = found
    assert compute_difference(from_images.variables, from_maps.variables) < 1e-4
    np.testing.assert_allclose(predicted, expected, atol=1e-4)
    *early, late = classifier.stages
    moved = [
        compute_difference(state.params[name], from_maps.params[name])
        for name in late
        if name in state.params
    ]
    assert min(moved) > 1e-5
    for name in (name for stage in early for name in stage if name in state.params):
        assert compute_difference(state.params[name], from_maps.params[name]) == 0.0
