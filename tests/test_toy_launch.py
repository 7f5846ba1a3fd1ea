"""The launchers with a family of GANs that the library has never heard of."""

import json
from pathlib import Path

import pytest

from tests import forks
from tests.helpers import write_split_folder
from tests.test_launch import make_command

# The one line that a newcomer adds to jaxgan/gans/families.py.
ADDED = (
    f"import sys; sys.path.append({str(Path(__file__).resolve().parents[1])!r})\n"
    "from jaxgan.gans import families\n"
    "from tests.toy_gan import ToySettings\n"
    "families.GanSettings = families.GanSettings | ToySettings\n"
)
# How well the networks of an evaluation learn is the business of test_encoder.
BRIEFLY = (
    "from jaxgan.evaluation import encoder\n"
    "encoder.ENCODER_STEPS, encoder.CLASSIFIER_STEPS = 20, 60\n"
)
CONFIG = Path(__file__).with_name("toy_config.py")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    path = tmp_path_factory.mktemp("toy")
    write_split_folder(path / "data", num_train=64, num_val=48)
    return path


def launch(name, place, *flags, code=0):
    command = make_command(name, place, *flags)[2:]
    result = forks.run(name, command, before=ADDED + BRIEFLY)
    assert result.returncode == code, (result.stdout[-2000:], result.stderr[-2000:])
    return result.stdout


@pytest.fixture(scope="module")
def runs(place):
    for name in ("left", "right"):
        flags = (f"--data_dir={place / 'data'}", f"--class={name}", f"--workdir={place / 'runs'}")
        said = launch("train_gan", place, f"--config={CONFIG}", *flags)
        assert "Kept 32 images" in said
    return place / "runs"


def test_it_is_trained_and_its_run_is_finished(place, runs):
    flags = (f"--data_dir={place / 'data'}", "--class=left", f"--workdir={runs}")
    assert "is finished: 4 epochs" in launch("train_gan", place, f"--config={CONFIG}", *flags)
    more = launch("train_gan", place, f"--config={CONFIG}", *flags, "--config.num_epochs=5")
    assert "Going on after epoch 4 of 5" in more
    record = json.loads((runs / "left" / "config.json").read_text())
    assert record["settings"]["gan"]["family"] == "toy"


def test_its_images_are_drawn(place, runs):
    flags = ("--class=left", f"--workdir={runs}", f"--out={place / 'images'}", "--num=5")
    assert "Wrote 5 images" in launch("sample", place, *flags)
    flags = (*flags[:2], f"--out={place / 'other'}", "--accept=paper_text")
    result = forks.run("sample", make_command("sample", place, *flags)[2:], before=ADDED)
    assert result.returncode == 2
    assert "needs a score of D that is a probability" in result.stderr


def test_rules_that_need_a_probability_are_refused(place):
    flags = (f"--data_dir={place / 'data'}", "--class=left", f"--workdir={place / 'refused'}")
    command = make_command("train_gan", place, f"--config={CONFIG}", *flags, "--accept=paper_code")
    result = forks.run("train_gan", command[2:], before=ADDED)
    assert result.returncode == 2
    assert "higher means more real" in result.stderr


def test_it_is_evaluated_and_its_rules_are_compared(place, runs):
    flags = (f"--data_dir={place / 'data'}", "--class=left", f"--workdir={runs}")
    assert "kernel" in launch("evaluate", place, *flags, f"--out={place / 'evaluation'}")
    said = launch("evaluate", place, *flags, f"--out={place / 'rules'}", "--selection")
    assert "top_k" in said


def test_a_classifier_learns_from_its_images(place, runs):
    flags = (f"--data_dir={place / 'data'}", f"--synthetic_dir={runs}", "--config.num_epochs=1")
    tiny = ("--config=configs/gmd.py:quick", "--config.classifier.image_size=24")
    tiny = (*tiny, "--config.classifier.width=8")
    flags = (*flags, f"--workdir={place / 'classifier'}", "--augment")
    assert "64 real and 64 generated images" in launch("train_classifier", place, *tiny, *flags)


def test_it_is_ablated(place):
    flags = (f"--data_dir={place / 'data'}", f"--workdir={place / 'ablation'}")
    said = launch("ablate", place, f"--config={CONFIG}:ablate", "--class=left", *flags)
    assert "| slow |" in said
    assert "Failed" not in said


def test_it_is_studied(place):
    flags = (f"--data_dir={place / 'data'}", f"--workdir={place / 'study'}")
    said = launch("study", place, f"--config={CONFIG}:study", *flags)
    assert "Failed" not in said
    report = json.loads((place / "study" / "report.json").read_text())
    states = {name: arm["state"] for name, arm in report["arms"].items()}
    assert states == dict.fromkeys(("real", "duplicates", "gan", "gan_calibrated"), "complete")
