"""What every family of classifiers has to do, and a toy that nothing else knows of."""

import contextlib
import dataclasses
import functools
import json
import typing
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgan.classifiers import families
from jaxgan.classifiers import step as step_module
from jaxgan.classifiers.predict import create_predict
from jaxgan.classifiers.step import (
    create_classifier_state,
    train_step,
    train_step_classic,
)
from jaxgan.classifiers.transfer import TransferSettings, create_optimizer
from jaxgan.core.errors import UserError
from jaxgan.core.settings import read_settings, to_dict
from jaxgan.core.types import Batch
from jaxgan.devices.parallel import Dispatcher
from jaxgan.experiments.train_classifier import TrainClassifierSettings, train_classifier
from jaxgan.networks.losses import softmax_cross_entropy
from jaxgan.ops.pixels import scale_to_unit
from jaxgan.training.checkpoint import Checkpoints
from jaxgan.training.feed import ResidentFeed
from jaxgan.training.keys import create_keys
from jaxgan.training.loop import Stopped
from tests import forks
from tests.helpers import (
    compute_difference,
    make_dataset,
    make_gmd_settings,
    make_image_set,
    widen,
    write_split_folder,
)
from tests.toy_classifier import ToySettings

TINY = {"image_size": 24, "channels": 1}
NARROW = {**TINY, "width": 0.05, "dtype": "float32"}
# Small settings of every family.
VALUES = {
    "gmd": {**TINY, "dtype": "float32", "num_outputs": 3, "width": 8, "padding": "VALID"},
    "toy": {**TINY, "rate": 0.5},
    "vgg16": {**NARROW, "image_size": 32, "head": "dense", "norm": True, "dropout": 0.5},
    "resnet": {**NARROW, "depth": 18},
    "googlenet": {**NARROW, "paper": False, "auxiliary": True, "dropout": 0.2},
    "inception_v3": {**NARROW, "image_size": 75, "auxiliary": False, "dropout": 0.5},
    "efficientnet_lite": {
        **NARROW,
        "variant": 0,
        "drop_connect": 0.2,
        "dropout": 0.2,
        "norm_momentum": 0.9,
    },
}
QUICK = ("gmd", "toy")  # the others have many layers, which take long to compile


def try_families(*quick):
    """Try every family: these always, the others among the slow tests."""
    slow = pytest.mark.slow
    names = [name if name in quick else pytest.param(name, marks=slow) for name in VALUES]
    return pytest.mark.parametrize("name", names)


every_family = try_families(*QUICK)


@pytest.fixture(autouse=True)
def toy_is_known(monkeypatch):
    """The one line that a newcomer adds."""
    monkeypatch.setattr(families, "ClassifierSettings", families.ClassifierSettings | ToySettings)


def make_settings(name, **changes):
    """A run of a family, of few epochs."""
    classifier = {"family": name, **VALUES[name], **changes.pop("classifier", {})}
    values = to_dict(make_gmd_settings(num_epochs=4)) | {"classifier": classifier}
    return read_settings(TrainClassifierSettings, values | changes)


def bind(settings):
    """What the step of a run is given beside state, batch and key."""
    return {"classifier": settings.classifier.create(2), "optimizer": settings.optimizer.create()}


def make_batch(num=8, name="gmd"):
    images = make_image_set(num, size=VALUES[name]["image_size"])
    return Batch(jnp.asarray(images.images), jnp.asarray(images.labels))


def test_every_family_is_tried_here():
    members = typing.get_args(families.ClassifierSettings)
    assert sorted(member.family for member in members) == sorted(VALUES)


@try_families(*VALUES)
def test_a_config_comes_back_as_it_was_written(name):
    settings = make_settings(name)
    assert settings.classifier.family == name
    assert read_settings(TrainClassifierSettings, to_dict(settings)) == settings


def test_a_family_that_is_not_there_is_told_with_those_that_are():
    with pytest.raises(UserError, match=r"family is 'ty', expected one of gmd, .*, toy"):
        make_settings("toy", classifier={"family": "ty"})
    with pytest.raises(UserError, match=r"config.classifier.rate is 1.0, expected 0 to below 1"):
        make_settings("toy", classifier={"rate": 1.0})


@try_families(*QUICK, "resnet")
def test_a_step_changes_no_shape_and_no_type(name):
    bound = bind(make_settings(name))
    state = create_classifier_state(jax.random.key(0), **bound)
    shapes = jax.eval_shape(lambda: create_classifier_state(jax.random.key(0), **bound))
    assert describe(state) == describe(shapes)
    step = jax.jit(functools.partial(train_step, **bound))
    new_state, metrics = step(state, make_batch(name=name), jax.random.key(1))
    assert describe(new_state) == describe(shapes)
    assert {name: row.shape for name, row in metrics.items()} == {"loss": (), "accuracy": ()}
    assert int(new_state.step) == 1
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), state.params, new_state.params)
    assert all(jax.tree.leaves(moved))


def describe(tree):
    return jax.tree.map(lambda leaf: (leaf.shape, str(leaf.dtype)), tree)


@pytest.mark.parametrize("name", QUICK)
def test_one_device_and_two_learn_the_same(name):
    settings = make_settings(name)
    one, two = (fit(settings, jax.devices()[:num]) for num in (1, 2))
    assert compute_difference(one, two) < 1e-5
    assert compute_difference(one.params, fit(settings, jax.devices()[:1], 2).params) > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(VALUES.keys() - QUICK))
def test_one_part_of_a_batch_and_two_learn_the_same_by_many_layers(name):
    """In float64: batch norm of maps that hardly differ makes a rounding error large."""
    bound = bind(make_settings(name))
    with jax.enable_x64(True):
        state = jax.tree.map(widen, create_classifier_state(jax.random.key(0), **bound))
        batch, states = make_batch(name=name), []
        for num in (1, 2):
            parts = jax.tree.map(lambda leaf, n=num: leaf.reshape(n, -1, *leaf.shape[1:]), batch)
            bound_step = functools.partial(train_step, **bound, axis_name="device")
            step = jax.jit(jax.vmap(bound_step, (None, 0, None), axis_name="device"))
            new_state, _ = step(state, parts, jax.random.key(1))
            states.append(jax.device_get(jax.tree.map(lambda leaf: leaf[-1], new_state)))
    one, two = states
    assert {leaf.dtype.name for leaf in jax.tree.leaves(one.params)} == {"float64"}
    assert compute_difference(one, two) < 1e-9
    assert compute_difference(one.params, state.params) > 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(VALUES.keys() - QUICK))
def test_one_device_and_two_learn_the_same_by_many_layers(name):
    """On two devices, where the test above has two parts of a batch in one program."""
    settings, first = make_settings(name), jax.devices()[:1]
    with jax.enable_x64(True):
        one, two, before = (
            fit(settings, devices, num_steps, wide=True)
            for devices, num_steps in ((first, 3), (jax.devices()[:2], 3), (first, 0))
        )
    assert {leaf.dtype.name for leaf in jax.tree.leaves(one.params)} == {"float64"}
    difference = compute_difference(one, two)
    print(f"{name}: {difference:.1e}")
    assert difference < 1e-9
    assert compute_difference(one.params, before.params) > 1e-5


TRANSFERS = [
    TransferSettings(weights="file", frozen="features"),
    TransferSettings(weights="file", frozen="early"),
    TransferSettings(backbone_rate=0.25),
]


@pytest.mark.slow
@pytest.mark.parametrize("transfer", TRANSFERS)
def test_one_device_and_two_learn_the_same_of_frozen_and_slow_layers(transfer):
    settings = make_settings("toy")
    toy = dataclasses.replace(settings.classifier.create(2), stages=(("conv",), ("norm",)))
    classifier = transfer.apply(toy)
    optimizer = create_optimizer(settings.optimizer.create(), classifier, transfer)
    bound = {"classifier": classifier, "optimizer": optimizer}
    one, two = (fit(settings, jax.devices()[:num], bound=bound) for num in (1, 2))
    assert compute_difference(one, two) < 1e-5
    assert compute_difference(one.params, fit(settings, jax.devices()[:2]).params) > 1e-3


def test_the_changes_of_an_image_are_of_its_place_in_the_whole_batch(monkeypatch):
    monkeypatch.setattr(step_module, "train_step", lambda state, batch, key, **_: (batch, key))
    batch, key, seen = make_batch(), jax.random.key(3), []
    for num in (1, 4):
        parts = jax.tree.map(lambda leaf, n=num: leaf.reshape(n, -1, *leaf.shape[1:]), batch)
        step = jax.vmap(
            functools.partial(train_step_classic, axis_name="device"),
            in_axes=(None, 0, None),
            axis_name="device",
        )
        found, keys = jax.jit(step)(None, parts, key)
        seen.append(found.images.reshape(batch.images.shape))
        expected = jax.random.key_data(jax.random.fold_in(key, 8))
        assert (jax.random.key_data(keys) == expected).all()
    for other in seen[1:]:
        np.testing.assert_allclose(other, seen[0], atol=1e-3)
    changes = np.abs(np.asarray(seen[0]) - np.asarray(batch.images, np.float32))
    assert (changes.reshape(8, -1).mean(axis=1) > 1).all()


@pytest.mark.slow
def test_one_device_and_two_augment_the_same():
    settings = make_settings("toy")
    one, two = (fit(settings, jax.devices()[:num], step=train_step_classic) for num in (1, 2))
    assert compute_difference(one, two) < 1e-5
    assert compute_difference(one.params, fit(settings, jax.devices()[:1]).params) > 1e-3


def fit(settings, devices, num_steps=6, step=train_step, bound=None, *, wide=False):
    """The state after some steps, of float64 where it is `wide`."""
    images = make_image_set(24, size=settings.classifier.image_size)
    keys, bound = create_keys(0), bound or bind(settings)
    plan = settings.create_plan(len(images))
    dispatcher = Dispatcher(
        lambda axis_name: functools.partial(step, **bound, axis_name=axis_name),
        ResidentFeed(images, keys.data, plan, devices),
        keys.steps,
        devices=devices,
        max_steps=plan.max_steps,
    )
    state = create_classifier_state(keys.init, **bound)
    state = dispatcher.to_devices(jax.tree.map(widen, state) if wide else state)
    for begin in range(num_steps):  # two virtual devices need to be waited for
        state, _ = jax.block_until_ready(dispatcher(state, begin, begin + 1))
    return dispatcher.to_host(state)


@every_family
def test_what_fills_the_last_batch_up_changes_no_prediction(name):
    settings, images = make_settings(name), make_batch(9, name).images
    variables = strengthen(create_classifier_state(jax.random.key(0), **bind(settings)).variables)
    classifier = settings.classifier.create(2)
    probabilities = create_predict(classifier, 4)(variables, images)
    assert probabilities.shape == (9, 3 if name == "gmd" else 2)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-5)
    assert len(np.unique(probabilities, axis=0)) > 3
    alone = create_predict(classifier, 1)(variables, images)
    np.testing.assert_allclose(probabilities, alone, atol=1e-6)


def strengthen(variables):
    """Draw kernels by which an image keeps its strength: before training some families lose it."""
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        if path[-1].key != "kernel":
            return leaf
        spread = np.sqrt(2.0 / np.prod(leaf.shape[:-1]))
        return jnp.asarray(rng.normal(0.0, spread, leaf.shape), leaf.dtype)

    return jax.tree_util.tree_map_with_path(draw, variables)


@every_family
def test_the_two_parts_of_a_module_are_the_whole(name):
    settings = make_settings(name)
    images = settings.classifier.create(2).input.scale(make_batch(name=name).images)
    variables = create_classifier_state(jax.random.key(0), **bind(settings)).variables
    module = settings.classifier.create(2).module
    maps, auxiliary = module.apply(variables, images, train=False, method="extract_maps")
    assert maps.ndim == 4 and auxiliary == ()
    logits = module.apply(variables, maps, train=False, method="classify_maps")
    outputs = module.apply(variables, images, train=False)
    np.testing.assert_array_equal(logits, outputs.logits)
    assert logits.dtype == jnp.float32 and outputs.auxiliary == ()


@every_family
def test_a_run_that_was_stopped_ends_as_one_that_was_not(name, tmp_path, monkeypatch):
    settings = make_settings(name)
    dataset = make_dataset(size=settings.classifier.image_size, num_train=48)
    whole = train_classifier(settings, dataset=dataset, workdir=tmp_path / "whole", num_devices=1)
    with monkeypatch.context() as patch:
        patch.setattr("jaxgan.training.loop.catch_stop_signals", stop_at_the_second)
        with pytest.raises(Stopped, match="after epoch 1 of 4"):
            train_classifier(settings, dataset=dataset, workdir=tmp_path / "cut", num_devices=1)
    again = train_classifier(settings, dataset=dataset, workdir=tmp_path / "cut", num_devices=1)
    states = [restore(settings, trained.folder) for trained in (whole, again)]
    assert compute_difference(*states) == 0.0
    assert again.metrics == whole.metrics and again.report == whole.report
    assert [path.name for path in whole.figures] == ["accuracy.png", "confusion_matrix.png"]
    assert whole.report is not None and whole.report["last"]["val"]["count"] == 9
    assert whole.metrics[-1]["epoch"] == 4


@contextlib.contextmanager
def stop_at_the_second():
    """A signal comes during the second dispatch, of four steps each."""
    signals = iter([0, 15])
    yield lambda: next(signals)


def restore(settings, folder):
    shapes = jax.eval_shape(lambda: create_classifier_state(jax.random.key(0), **bind(settings)))
    with Checkpoints(folder / "checkpoints", best_metric="val_accuracy") as checkpoints:
        return checkpoints.restore(checkpoints.newest_step, shapes)


# What GMD has not, and others will ------------------------------------------------------------


def test_batch_statistics_and_dropout_are_of_the_training_alone():
    bound = bind(make_settings("toy"))
    state, batch = create_classifier_state(jax.random.key(0), **bound), make_batch()
    module, images = bound["classifier"].module, scale_to_unit(batch.images)
    apply = functools.partial(module.apply, state.variables, images)
    np.testing.assert_array_equal(apply(train=False).logits, apply(train=False).logits)
    logits = []
    for seed in (0, 0, 1):
        rngs = {"dropout": jax.random.key(seed)}
        outputs, updates = apply(train=True, rngs=rngs, mutable=["batch_stats"])
        logits.append(outputs.logits)
    np.testing.assert_array_equal(logits[0], logits[1])
    assert float(jnp.abs(logits[0] - logits[2]).max()) > 0.01
    step = jax.jit(functools.partial(train_step, **bound))
    one, other = (step(state, batch, jax.random.key(seed))[0] for seed in (0, 1))
    assert compute_difference(one.batch_stats, updates["batch_stats"]) < 1e-6
    assert compute_difference(one.batch_stats, state.batch_stats) > 1e-3
    assert compute_difference(one.batch_stats, other.batch_stats) == 0.0
    assert compute_difference(one.params, other.params) > 1e-5  # by what was dropped alone


def test_the_loss_counts_the_auxiliary_heads_by_their_weight():
    settings = make_settings("toy", classifier={"rate": 0.0})
    bound = {"classifier": settings.classifier.create(2), "optimizer": optax.sgd(1.0)}
    state, batch = create_classifier_state(jax.random.key(0), **bound), make_batch()
    outputs, _ = bound["classifier"].module.apply(
        state.variables, scale_to_unit(batch.images), train=True, mutable=["batch_stats"]
    )
    losses = [
        float(softmax_cross_entropy(logits=logits, labels=batch.labels).mean())
        for logits in (outputs.logits, *outputs.auxiliary)
    ]
    assert len(losses) == 2
    step = jax.jit(functools.partial(train_step, **bound))
    new_state, metrics = step(state, batch, jax.random.key(0))
    assert float(metrics["loss"]) == pytest.approx(losses[0] + 0.3 * losses[1], rel=1e-5)
    # The gradient of the early head is that of its own loss, less by the weight.
    head, moved = state.params["early"]["bias"], new_state.params["early"]["bias"]
    chances = jax.nn.softmax(outputs.auxiliary[0])
    expected = 0.3 * (chances - jax.nn.one_hot(batch.labels, 2)).mean(axis=0)
    np.testing.assert_allclose(head - moved, expected, atol=1e-6)


def test_an_image_counts_by_the_weight_of_its_class():
    settings = make_settings("toy", classifier={"rate": 0.0})
    bound = {"classifier": settings.classifier.create(2), "optimizer": optax.sgd(1.0)}
    state, batch = create_classifier_state(jax.random.key(0), **bound), make_batch(6)
    outputs, _ = bound["classifier"].module.apply(
        state.variables, scale_to_unit(batch.images), train=True, mutable=["batch_stats"]
    )
    weights = np.array([0.5, 3.0])
    losses = []
    for logits in (outputs.logits, *outputs.auxiliary):
        each = softmax_cross_entropy(logits=logits, labels=batch.labels)
        losses.append(float((weights[batch.labels] * each).mean()))
    step = functools.partial(train_step, **bound, class_weights=(0.5, 3.0))
    _, metrics = jax.jit(step)(state, batch, jax.random.key(0))
    assert float(metrics["loss"]) == pytest.approx(losses[0] + 0.3 * losses[1], rel=1e-5)


def test_classes_that_are_never_a_target_may_have_outputs():
    classifier = make_settings("gmd").classifier.create(2)
    variables = create_classifier_state(
        jax.random.key(0), classifier=classifier, optimizer=optax.sgd(1.0)
    ).variables
    assert create_predict(classifier, 4)(variables, make_image_set(2, size=24).images).shape[1] == 3


# By the launchers, which know nothing of it ----------------------------------------------------

ROOT = Path(__file__).resolve().parents[1]
KNOWN = (
    f"import sys; sys.path.append({str(ROOT)!r}); from tests.toy_classifier import ToySettings; "
    "from jaxgan.classifiers import families; families.ClassifierSettings |= ToySettings"
)


def launch(launcher, place, **changes):
    """Run a launcher on its quick config, with the toy for a classifier."""
    name = {"train_classifier": "gmd", "study": "study"}[launcher]
    toy = {"family": "toy", **VALUES["toy"]}
    (place / f"{name}.py").write_text(
        "import runpy\n\nfrom ml_collections import ConfigDict\n\n\ndef get_config():\n"
        f"    config = runpy.run_path({str(ROOT / 'configs' / name) + '.py'!r})['quick']()\n"
        f"    config.update({changes!r})\n"
        f"    config.classifier = ConfigDict({toy!r})\n    return config\n"
    )
    if not (place / "data").exists():
        write_split_folder(place / "data", num_train=32, num_val=8)
    names = {"config": f"{name}.py", "data_dir": "data", "cache_dir": "cache", "workdir": name}
    flags = [f"--{flag}={place / value}" for flag, value in names.items()]
    result = forks.run(launcher, flags, before=KNOWN)
    assert result.returncode == 0, result.stderr
    return result.stdout, place / name


def test_a_newcomer_is_trained_and_goes_on_by_the_launcher(tmp_path):
    said, workdir = launch("train_classifier", tmp_path, num_epochs=2)
    assert "Training TOY on 32 real and 0 generated images: 2 epochs" in said
    record = json.loads((workdir / "real" / "config.json").read_text())
    assert record["settings"]["classifier"] == {"family": "toy", **VALUES["toy"]}
    said, workdir = launch("train_classifier", tmp_path, num_epochs=3)
    assert "Going on after epoch 2 of 3" in said and "balanced accuracy" in said
    assert json.loads((workdir / "real" / "report.json").read_text())["epochs"] == 3


def test_a_newcomer_is_studied_by_the_launcher(tmp_path):
    arms = ("real", "classic", "duplicates")
    small = {"num_folds": 2, "num_seeds": 1, "num_updates": 8, "audit": False}
    said, workdir = launch("study", tmp_path, arms=arms, amount_arms=("duplicates",), **small)
    assert "A study of 3 arms x 2 folds x 1 seeds on 40 images" in said
    assert len(list((workdir / "jobs").glob("classifier-*.npz"))) == 6
    report = json.loads((workdir / "report.json").read_text())
    assert report["failures"] == [] and list(report["arms"]) == [*arms]


def test_the_page_on_a_new_family_shows_the_toy_as_it_is():
    page = (ROOT / "docs" / "add-a-classifier.md").read_text()
    assert f"```python\n{(ROOT / 'tests' / 'toy_classifier.py').read_text()}```" in page
