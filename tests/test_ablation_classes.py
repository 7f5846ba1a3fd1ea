"""Every class in turn, and a classifier that learns from all classes' generated images."""

import json

import numpy as np
import pytest

from jaxgan.core.errors import UserError
from jaxgan.evaluation import encoder
from jaxgan.experiments import ablation_classes as module
from jaxgan.experiments.ablation import Ablation
from jaxgan.experiments.ablation_classes import run_all_classes
from jaxgan.training.jobs import JobRunner
from tests.helpers import make_dataset
from tests.test_ablation import make_settings

DATASET = make_dataset(num_train=96, num_val=40)


@pytest.fixture
def ablated(monkeypatch):
    """Ablations whose images are known: what was asked for, by class."""
    monkeypatch.setattr(encoder, "CLASSIFIER_STEPS", 60)
    asked = {}

    def run(settings, *, dataset, workdir, **options):
        asked[settings.class_name] = workdir
        label = dataset.class_names.index(settings.class_name)
        real = dataset.train.of_class(label).images
        wrong = dataset.train.of_class(1 - label).images
        images = {("real ones", 3): real, ("real ones", 4): real[::-1], ("exchanged", 3): wrong}
        if label == 0:
            images["exchanged", 4] = wrong
        return Ablation({"failures": [{"name": "of a class"}]}, images)

    monkeypatch.setattr(module, "run_ablation", run)
    return asked


def make_seeded_settings(**changes):
    settings = make_settings(variants={"real ones": {}, "exchanged": {}}, num_seeds=2, **changes)
    return module.replace(settings, train=module.replace(settings.train, seed=3))


def test_gan_train_of_every_variant_that_all_classes_have(tmp_path, ablated, monkeypatch):
    result = run_all_classes(make_seeded_settings(), dataset=DATASET, workdir=tmp_path)
    assert ablated == {"left": tmp_path / "left", "right": tmp_path / "right"}
    assert result == json.loads((tmp_path / "gan_train.json").read_text())
    assert result["not_measured"] == ["exchanged, seed 4"]
    good, bad = result["rows"]["real ones"], result["rows"]["exchanged"]
    assert good["gan_train"]["value"] > 0.9 and len(good["gan_train"]["values"]) == 2
    assert bad["gan_train"]["value"] < 0.1 and bad["gan_train"]["interval"] is None
    np.testing.assert_allclose(
        bad["gap"]["value"], bad["real"]["value"] - bad["gan_train"]["value"]
    )
    table = (tmp_path / "gan_train.md").read_text()
    assert "| real ones |" in table and "Not measured: exchanged, seed 4." in table

    def refuse(*args, **kwargs):
        raise AssertionError("learned again")

    monkeypatch.setattr(module, "measure_classes", refuse)
    assert run_all_classes(make_seeded_settings(), dataset=DATASET, workdir=tmp_path) == result


def test_a_job_that_fails_is_named_and_stops_no_other(tmp_path, ablated, monkeypatch):
    monkeypatch.setattr(JobRunner, "run", lambda self, job: None)
    result = run_all_classes(make_seeded_settings(), dataset=DATASET, workdir=tmp_path)
    assert result["failures"] == [{"name": "of a class"}] * 2  # and the jobs' own, if any
    assert sorted(result["not_measured"]) == [
        "exchanged, seed 3", "exchanged, seed 4", "real ones, seed 3", "real ones, seed 4",
    ]  # fmt: skip


def test_one_class_alone_is_a_mistake(tmp_path):
    alone = module.replace(DATASET, class_names=("left",))
    with pytest.raises(UserError, match="needs two classes or more"):
        run_all_classes(make_seeded_settings(), dataset=alone, workdir=tmp_path)
