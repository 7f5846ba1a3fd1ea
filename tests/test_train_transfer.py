"""Runs that begin with weights: they resume to the bit, and refuse another file."""

import dataclasses
import json
from dataclasses import dataclass
from typing import Literal

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from jaxgan.classifiers import families, kept_maps
from jaxgan.classifiers.step import create_classifier_state
from jaxgan.core.errors import UserError
from jaxgan.core.settings import read_settings, to_dict
from jaxgan.experiments.train_classifier import TrainClassifierSettings, train_classifier
from jaxgan.networks.schedules import ScheduleSettings
from jaxgan.study.classifiers import ClassifierLab
from tests.helpers import make_dataset, make_gmd_settings, make_image_set, make_study_settings
from tests.toy_classifier import ToySettings
from tests.weight_samples import pack_npz


@dataclass(frozen=True, kw_only=True)
class StagedSettings(ToySettings):
    """The toy with stages and without the loss of its early head."""

    family: Literal["staged"] = "staged"  # type: ignore[assignment]

    def create(self, num_classes):
        toy = super().create(num_classes)
        stages = (("conv",), ("norm",))
        return dataclasses.replace(toy, stages=stages, auxiliary_weight=0.0)


@pytest.fixture(autouse=True)
def staged_is_known(monkeypatch):
    known = families.ClassifierSettings | StagedSettings
    monkeypatch.setattr(families, "ClassifierSettings", known)


def make_settings(weights, num_epochs=2, frozen="features", **changes):
    classifier = {"family": "staged", "image_size": 24, "channels": 1, "rate": 0.5}
    transfer = {"weights": str(weights), "frozen": frozen, "backbone_rate": 0.5}
    values = to_dict(make_gmd_settings(num_epochs=num_epochs, optimizer="adam"))
    values |= {"classifier": classifier, "transfer": transfer}
    return read_settings(TrainClassifierSettings, values | changes)


def write_weights(path, seed=0):
    classifier = make_settings("any").classifier.create(2)
    settings = make_settings("any")
    state = create_classifier_state(
        jax.random.key(0), classifier=classifier, optimizer=settings.optimizer.create()
    )
    rng = np.random.default_rng(seed)
    flat = flatten_dict({"params": state.params, "batch_stats": state.batch_stats}, sep="/")
    path.write_bytes(
        pack_npz({n: rng.uniform(0.1, 0.5, a.shape).astype("f4") for n, a in flat.items()})
    )
    return path


def train(settings, workdir, dataset=None):
    dataset = dataset or make_dataset(size=24)
    return train_classifier(settings, dataset=dataset, workdir=workdir, num_devices=1)


@pytest.mark.slow
def test_a_run_goes_on_with_its_weights_and_with_no_others(tmp_path):
    weights = write_weights(tmp_path / "a.npz")
    whole = train(make_settings(weights, 2), tmp_path / "whole")
    train(make_settings(weights, 1), tmp_path / "parts")
    moved = weights.rename(tmp_path / "b.npz")
    parts = train(make_settings(moved, 2), tmp_path / "parts")
    assert whole.metrics == parts.metrics and whole.report == parts.report
    record = json.loads((parts.folder / "config.json").read_text())
    assert record["weights"]["file"] == "b.npz" and len(record["weights"]["sha256"]) == 64
    assert record["weights"]["drawn"] == record["weights"]["left_out"] == []
    other = write_weights(tmp_path / "c.npz", seed=1)
    with pytest.raises(UserError, match=r"weights\.sha256 was '"):
        train(make_settings(other, 3), tmp_path / "parts")
    with pytest.raises(UserError, match="weights"):
        train(make_settings("", 3, frozen="none"), tmp_path / "parts")


def test_kept_maps_change_nothing_but_the_time(tmp_path, monkeypatch):
    weights = write_weights(tmp_path / "a.npz")
    kept = train(make_settings(weights), tmp_path / "kept")
    monkeypatch.setattr(kept_maps, "MAX_BYTES", 0)
    images = train(make_settings(weights), tmp_path / "images")
    for one, other in zip(kept.metrics, images.metrics, strict=True):
        assert one == pytest.approx(other, abs=1e-4)
    assert kept.metrics[0]["loss"] != kept.metrics[-1]["loss"]


@pytest.mark.parametrize("is_classic", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_study_s_classifiers_learn_the_same_from_maps(is_classic, tmp_path, monkeypatch):
    """With a rate that changes; with classic augmentation they learn from images."""
    run = make_settings(write_weights(tmp_path / "a.npz"))
    schedule = ScheduleSettings(name="step", every_epochs=1)
    optimizer = dataclasses.replace(run.optimizer, schedule=schedule)
    settings = make_study_settings(
        classifier=run.classifier, transfer=run.transfer, optimizer=optimizer
    )
    images = make_image_set(16, 24)
    results = []
    for most in (kept_maps.MAX_BYTES, 0):
        monkeypatch.setattr(kept_maps, "MAX_BYTES", most)
        lab = ClassifierLab(settings, num_classes=2, capacity=16, devices=jax.devices()[:1])
        assert (lab._kept is None) == (most == 0)
        results.append(
            lab.create_job(
                name="c", train=images, test=images, record={}, is_classic=is_classic, seed=0
            ).compute(tmp_path / "partial")
        )
    kept, usual = results
    np.testing.assert_allclose(kept["probabilities"], usual["probabilities"], atol=1e-4)
    np.testing.assert_allclose(kept["curve_loss"], usual["curve_loss"], atol=1e-4)
    assert np.ptp(kept["probabilities"]) > 1e-3
