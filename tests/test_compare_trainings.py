"""docs/compare_trainings.py: what it reads, and the looks of a small training."""

import argparse
import importlib.util
from pathlib import Path

import pytest

from jaxgan.core.errors import UserError
from jaxgan.evaluation.features import create_pixel_features
from tests.helpers import make_dataset, make_dcgan_settings

FILE = Path(__file__).resolve().parents[1] / "docs" / "compare_trainings.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("compare_trainings", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_training_is_a_config_and_changes_of_fields(script):
    text = "dcgan:quick num_epochs=7 gan.objective=hinge gan.ema_decay=0.5"
    settings = script.read_training(text, seed=3)
    assert (settings.num_epochs, settings.seed) == (7, 3)
    assert (settings.gan.objective, settings.gan.ema_decay) == ("hinge", 0.5)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("dcgan:quick num_epochs", "has 'num_epochs', expected FIELD=VALUE"),
        ("dcgan:quick gan.size=3", "config.gan.size is not known"),
        ("dcgn:quick", "config 'dcgn'"),
    ],
)
def test_what_can_not_be_read_is_told(script, text, sentence):
    with pytest.raises(UserError, match=sentence):
        script.read_training(text, seed=0)


def test_every_look_has_its_time_and_its_measures(script, monkeypatch):
    monkeypatch.setattr(script, "NUM_DRAWN", 40)
    monkeypatch.setattr(script, "NUM_OUTSIDE", 20)
    monkeypatch.setattr(script, "fit_imagenet_features", lambda images: create_pixel_features())
    options = argparse.Namespace(class_name="left", looks=2)
    settings = make_dcgan_settings(num_epochs=4)
    lines = script.train(settings, make_dataset(num_val=40), options)
    assert [line["epoch"] for line in lines] == [2, 4]
    assert lines[1]["images"] == 2 * lines[0]["images"]
    assert 0.0 < lines[0]["seconds"] < lines[1]["seconds"]
    distances = {"pyramid", "pyramid_1024", "outside_train", "outside", "outside_again", "recall"}
    assert lines[0].keys() == {"epoch", "images", "seconds", *distances}
    assert lines[0]["outside"] != lines[0]["outside_again"]


def test_too_few_held_out_images_are_told_before_the_training(script):
    with pytest.raises(UserError, match="held-out images of class left: found 5 images"):
        script.create_measure(make_dataset(), "left")
