"""A whole GMD run, small: its report, its guards, resuming."""

import json

import jax
import numpy as np
import pytest

from jaxgan import train_gmd as module
from jaxgan.checkpoint import Checkpoints
from jaxgan.classifier import create_classifier_state
from jaxgan.data.sets import Dataset
from jaxgan.errors import UserError
from jaxgan.run_folder import read_metrics
from jaxgan.train_dcgan import train_dcgan
from jaxgan.train_gmd import create_model, create_optimizer, load_synthetic, train_gmd
from tests.helpers import (
    compute_difference,
    make_dataset,
    make_dcgan_settings,
    make_gmd_settings,
    replace,
)

SETTINGS = make_gmd_settings()
DATASET = make_dataset(size=24)


def train(workdir, settings=SETTINGS, dataset=DATASET, **kwargs):
    train_gmd(settings, dataset=dataset, workdir=workdir, num_devices=1, **kwargs)
    return workdir


def read_report(run):
    return json.loads((run / "report.json").read_text())


def restore(run):
    template = create_classifier_state(
        jax.random.key(0),
        model=create_model(SETTINGS, 2),
        optimizer=create_optimizer(SETTINGS),
        image_shape=(24, 24, 1),
    )
    with Checkpoints(run / "checkpoints", best_metric="val_accuracy") as checkpoints:
        return checkpoints.resume(template)[1]


@pytest.fixture(scope="module")
def synthetic_dir(tmp_path_factory):
    """DCGAN runs of both classes on the same data, as the fingerprint says."""
    workdir = tmp_path_factory.mktemp("dcgan")
    settings = make_dcgan_settings(num_epochs=1, selection={"rule": "none", "num_accept": 4})
    for name in DATASET.class_names:
        train_dcgan(
            settings, dataset=make_dataset(32), class_name=name, workdir=workdir, num_devices=1
        )
    return workdir


@pytest.fixture(scope="module")
def both_arms(tmp_path_factory, synthetic_dir):
    workdir = tmp_path_factory.mktemp("gmd")
    train(workdir)
    return train(workdir, synthetic_dir=synthetic_dir)


def test_the_report_counts_every_real_image_once(both_arms):
    report = read_report(both_arms / "real")
    assert report["arm"] == "real"
    for moment in ("last", "best"):
        assert report[moment]["train"]["count"] == 22
        assert report[moment]["val"]["count"] == 9
        low, high = report[moment]["val"]["accuracy"]["interval"]
        assert 0 <= low <= report[moment]["val"]["accuracy"]["value"] <= high <= 1
    assert report["synthetic_images"] == {"left": 0, "right": 0}
    assert report["best"]["epoch"] in (1, 2)
    assert "optimistic" in report["best"]["note"]


def test_the_augmented_arm_trains_on_more_and_is_judged_on_the_same(both_arms):
    real, augmented = (read_report(both_arms / arm) for arm in ("real", "augmented"))
    assert augmented["synthetic_images"] == {"left": 4, "right": 4}
    assert augmented["last"]["val"]["count"] == real["last"]["val"]["count"] == 9
    assert augmented["last"]["train"]["count"] == 22
    steps = [read_metrics(both_arms / arm)[-1]["step"] for arm in ("real", "augmented")]
    assert steps == [6, 8]


def test_what_a_run_leaves(both_arms):
    for arm in ("real", "augmented"):
        for name in ("config.json", "metrics.jsonl", "report.json"):
            assert (both_arms / arm / name).is_file()
        for name in ("accuracy.png", "confusion_matrix.png"):
            assert (both_arms / arm / "figures" / name).is_file()


def test_the_arms_are_printed_side_by_side(both_arms, capsys, synthetic_dir):
    train(both_arms, synthetic_dir=synthetic_dir)
    out = capsys.readouterr().out
    assert "is finished" in out
    assert "real" in out
    assert "augmented" in out
    assert "no verdict" in out


def test_validation_is_never_touched_by_generated_images(synthetic_dir):
    sets = load_synthetic(synthetic_dir, DATASET, SETTINGS)
    for label, name in enumerate(DATASET.class_names):
        images = sets[name]
        assert images.images.shape == (4, 24, 24, 1)
        assert (images.labels == label).all()
        assert set(images.patients) == {"synthetic"}


def test_generators_of_other_data_are_refused(synthetic_dir):
    other = Dataset("other", DATASET.class_names, DATASET.splits, fingerprint="e" * 64)
    with pytest.raises(UserError, match="generated from other data or another split"):
        load_synthetic(synthetic_dir, other, SETTINGS)


def test_missing_generators_are_told_with_the_command_that_makes_them(tmp_path):
    with pytest.raises(UserError, match=r"train_dcgan.py --class=all --workdir="):
        load_synthetic(tmp_path, DATASET, SETTINGS)


def test_runs_that_kept_nothing_are_told(tmp_path):
    settings = make_dcgan_settings(num_epochs=1, selection={"threshold": 2.0, "max_tries": 8})
    for name in DATASET.class_names:
        train_dcgan(
            settings, dataset=make_dataset(32), class_name=name, workdir=tmp_path, num_devices=1
        )
    with pytest.raises(UserError, match="have kept no image at all"):
        load_synthetic(tmp_path, DATASET, SETTINGS)


def test_a_longer_run_continues_bit_for_bit(both_arms, tmp_path):
    train(tmp_path, replace(SETTINGS, num_epochs=1))
    train(tmp_path)
    whole = both_arms / "real"
    assert compute_difference(restore(tmp_path / "real"), restore(whole)) == 0.0
    for name in ("metrics.jsonl", "report.json", "figures/accuracy.png"):
        assert (tmp_path / "real" / name).read_bytes() == (whole / name).read_bytes()


def test_too_few_outputs_have_their_sentence(tmp_path):
    with pytest.raises(UserError, match="num_outputs is 1 and the data have 2 classes"):
        train(tmp_path, replace(SETTINGS, num_outputs=1))


def test_the_best_epoch_is_the_best_of_all_that_were_validated(tmp_path, monkeypatch):
    """Epoch 2 of 4 is made the best, between two checkpoints by epochs."""
    accuracies, states = {1: 0.2, 2: 0.9, 3: 0.4, 4: 0.3}, {}

    def validate(evaluator, images, moment):
        states[moment.epoch] = jax.tree.map(np.array, moment.state)
        return {"val_accuracy": accuracies[moment.epoch], "val_loss": 1.0}

    monkeypatch.setattr(module, "_validate", validate)
    train(tmp_path, replace(SETTINGS, num_epochs=4, checkpoint_every_epochs=3))
    assert read_report(tmp_path / "real")["best"]["epoch"] == 2
    with Checkpoints(tmp_path / "real" / "checkpoints", best_metric="val_accuracy") as checkpoints:
        best = checkpoints.restore(checkpoints.best_step, states[2])
    assert compute_difference(best, states[2]) == 0.0
    assert compute_difference(best, states[4]) > 0.0


def test_a_test_split_is_reported_too(tmp_path):
    splits = {**DATASET.splits, "test": make_dataset(24, num_val=7).val}
    dataset = Dataset("made", DATASET.class_names, splits, DATASET.fingerprint)
    train(tmp_path, replace(SETTINGS, num_epochs=1), dataset)
    report = read_report(tmp_path / "real")
    assert report["last"]["test"]["count"] == 7
    assert np.isfinite(report["last"]["test"]["accuracy"]["value"])


def test_one_class_is_nothing_to_classify(tmp_path):
    alone = replace(DATASET, class_names=("left",))
    with pytest.raises(
        UserError, match=r"made has one class alone \(left\), and a classifier tells"
    ):
        train(tmp_path, dataset=alone)
    assert not list(tmp_path.iterdir())
