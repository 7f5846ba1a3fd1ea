"""Every variant of every config, to its end: all that it asks for, in small.

Networks, images and lengths are made small; whatever else a variant says is kept, so that no
default can be broken unseen. Variants are those that the files themselves name.
"""

import re

import numpy as np
import pytest

from configs import ablate, gmd, study
from jaxgan.core.settings import read_settings
from jaxgan.data.sets import Dataset, ImageSet
from jaxgan.evaluation import encoder
from jaxgan.experiments.ablation import AblationSettings, run_ablation
from jaxgan.experiments.train_classifier import TrainClassifierSettings, train_classifier
from jaxgan.experiments.train_gan import train_gan
from jaxgan.sampling.settings import TrainGanSettings
from jaxgan.study.run import run_study
from jaxgan.study.settings import StudySettings
from tests.helpers import load_family_configs

CLASSES = ("normal", "other")  # one of the paper's Table 2, one that it has not


def list_variants(config):
    """The variants that a config file has, as its own error message tells them."""
    with pytest.raises(ValueError, match="has no variant '\\?'") as raised:
        config.get_config("?")
    return re.search("expected one of (.*?)[.]", str(raised.value))[1].split(", ")


def make_data(size, channels, num=28, num_val=0):
    """Pictures of large squares that are copies of one another in no size."""
    rng = np.random.default_rng(0)
    squares = rng.integers(0, 256, (num + num_val, 8, 8, 1), dtype=np.uint8)
    images = squares.repeat(size // 8, axis=1).repeat(size // 8, axis=2).repeat(channels, axis=3)
    files = tuple(f"{i}.png" for i in range(len(images)))
    whole = ImageSet(images, np.arange(len(images), dtype=np.int32) % 2, files, files)
    splits = {"train": whole.take(np.arange(num))}
    if num_val:
        splits["val"] = whole.take(np.arange(num, num + num_val))
    return Dataset("made", CLASSES, splits, fingerprint="f" * 64)


def make_small_gan(gan):
    gan.image_size = 32
    gan.generator_width = gan.discriminator_width = 4
    if gan.family == "projected":
        gan.eye_weights, gan.eye_size, gan.projection_width = "random", 64, 4


def make_small_classifier(classifier):
    classifier.image_size, classifier.width = 24, 8


def run_variant(variant, folder, **changes):
    """Run a variant of configs/study.py in small; return its settings and its report."""
    config = study.get_config(variant)
    make_small_gan(config.gan)
    make_small_classifier(config.classifier)
    config.update({"num_updates": 1, "gan_epochs": 1, **changes})
    settings = read_settings(StudySettings, config.to_dict())
    found = run_study(
        settings,
        dataset=make_data(24, settings.classifier.channels),
        gan_dataset=make_data(32, settings.gan.channels),
        workdir=folder,
        num_devices=1,
    )
    assert found.page.is_file() and found.figures
    return settings, found.report


def check_study(settings, report):
    """Every arm has its result, or its rule kept nothing; nothing has failed."""
    assert report["verdict"] in ("helps", "no_evidence", "hurts"), report["sentence"]
    assert [failure for failure in report["failures"] if not failure["by_rule"]] == []
    assert list(report["arms"]) == [arm.name for arm in settings.create_arms()]
    states = {arm.name: report["arms"][arm.name]["state"] for arm in settings.create_arms()}
    for arm in settings.create_arms():
        by_rule = arm.source.rule.compares
        assert states[arm.name] == "complete" or by_rule, states
    assert len(report["audit"]["classifier"]) == (4 if settings.audit else 1)


def test_the_default_study_comes_to_its_verdict(tmp_path):
    """All arms, amounts, seeds and GAN seeds of `paper`, in two folds."""
    settings, report = run_variant("paper", tmp_path, num_folds=2)
    check_study(settings, report)
    assert settings.num_gan_seeds == 3 and len(settings.create_arms()) == 16


@pytest.mark.slow
@pytest.mark.parametrize("variant", list_variants(study))
def test_every_study_comes_to_its_verdict(variant, tmp_path):
    check_study(*run_variant(variant, tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "variant"), [(f, v) for f in load_family_configs() for v in list_variants(f)]
)
def test_every_gan_trains_to_its_end(family, variant, tmp_path):
    config = family.get_config(variant)
    make_small_gan(config.gan)
    config.num_epochs = 1
    settings = read_settings(TrainGanSettings, config.to_dict())
    data = make_data(32, settings.gan.channels)
    train_gan(settings, dataset=data, class_name="normal", workdir=tmp_path, num_devices=1)
    assert (tmp_path / "normal" / "figures" / "samples.png").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("variant", list_variants(gmd))
def test_every_classifier_trains_to_its_end(variant, tmp_path):
    config = gmd.get_config(variant)
    make_small_classifier(config.classifier)
    config.num_epochs = 1
    settings = read_settings(TrainClassifierSettings, config.to_dict())
    data = make_data(24, settings.classifier.channels, num_val=8)
    train_classifier(settings, dataset=data, workdir=tmp_path, num_devices=1)
    assert (tmp_path / "real" / "report.json").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("variant", list_variants(ablate))
def test_every_ablation_comes_to_its_table(variant, tmp_path, monkeypatch):
    monkeypatch.setattr(encoder, "ENCODER_STEPS", 20)
    config = ablate.get_config(variant)
    make_small_gan(config.train.gan)
    config.train.num_epochs, config.num_seeds, config.num_images = 1, 1, 24
    for changes in config.variants.values():
        gan = changes.get("gan", {})
        gan.update({name: 4 for name in gan if name.endswith("_width")})
    settings = read_settings(AblationSettings, config.to_dict())
    settings = AblationSettings(**{**vars(settings), "class_name": "normal"})
    data = make_data(32, 1, num=60, num_val=48)
    report = run_ablation(settings, dataset=data, workdir=tmp_path, num_devices=1).report
    assert report["failures"] == [] and list(report["rows"]) == [*config.variants]
