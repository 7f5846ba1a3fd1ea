"""A study with any classifier: its config, and what the page says of network and weights."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
from flax.traverse_util import flatten_dict

import jaxgan
from configs import classifier as classifiers
from configs import study
from jaxgan.classifiers.weights import create_shapes
from jaxgan.core.errors import UserError
from jaxgan.core.settings import read_settings
from jaxgan.study.network import describe_network, describe_sizes
from jaxgan.study.settings import StudySettings

WEIGHTS = {"file": "mine.npz", "sha256": "0123456789abcdef" * 4}


def describe(settings, weights=None):
    return describe_network(SimpleNamespace(settings=settings, weights=weights))


@pytest.mark.parametrize("name", classifiers.list_variants())
def test_a_study_takes_every_classifier_in_the_colors_of_its_gan(name):
    run = classifiers.get_config(name)
    for base in ("small", "paper"):
        config = study.get_config(f"{base}+{name}")
        settings = read_settings(StudySettings, config.to_dict())
        assert settings.classifier.channels == settings.gan.channels
        for field in ("optimizer", "transfer", "batch_size", "eval_batch_size"):
            assert config[field] == run[field]
        run.classifier.channels = settings.gan.channels
        assert config.classifier == run.classifier
    assert config.num_updates == study.get_config("paper").num_updates


def test_fields_of_the_other_classifier_can_be_changed_as_usual():
    changes = {"classifier.image_size": 48, "transfer.frozen": "early"}
    settings = jaxgan.load_study_settings("study:small+recommended", changes)
    assert (settings.classifier.image_size, settings.transfer.frozen) == (48, "early")
    assert settings.transfer.weights == "imagenet" and settings.classifier.title.endswith("Lite0")


@pytest.mark.parametrize("name", ["smal", "smal+resnet18", "small+resnet", "small+"])
def test_an_unknown_name_is_told_with_both_lists(name):
    with pytest.raises(UserError, match=re.escape(f"has no variant {name!r}")) as raised:
        jaxgan.load_study_settings(f"study:{name}")
    assert "paper, small, quick, tiny" in str(raised.value)
    assert "recommended, resnet18, " in str(raised.value)


@pytest.mark.parametrize(
    ("name", "changes", "sentence"),
    [
        ("quick", {}, "GMD of width 32 at 32 pixels, trained from random weights."),
        (
            "small+recommended",
            {},
            "EfficientNet-Lite0 at 128 pixels, ImageNet weights, frozen features.",
        ),
        (
            "small+resnet50_small",
            {"transfer.weights": "DIR/mine.npz", "transfer.frozen": "early"},
            "ResNet-50 of width 0.25 at 64 pixels, mine.npz weights, frozen features except the "
            "last stage.",
        ),
    ],
)
def test_one_sentence_names_network_and_weights(name, changes, sentence):
    settings = jaxgan.load_study_settings(f"study:{name}", changes)
    found = describe(settings, WEIGHTS if settings.transfer.weights else None)
    assert found["sentence"] == f"Classifier: {sentence}"
    assert found["sha256"] == (WEIGHTS["sha256"] if settings.transfer.weights else None)
    json.dumps(found, allow_nan=False)


def test_a_classifier_of_larger_images_than_the_gan_s_is_a_sentence_with_its_arms():
    changes = {"arms": ("real", "gan", "synthetic_only")}
    settings = jaxgan.load_study_settings("study:small+recommended", changes)
    found = describe_sizes(settings)
    assert "at 128 pixels" in found and "from 64 pixels" in found and "gan, synthetic_only" in found
    for other in ({"classifier.image_size": 64}, {"arms": ("real", "classic")}):
        settings = jaxgan.load_study_settings("study:small+recommended", {**changes, **other})
        assert describe_sizes(settings) is None


@pytest.mark.slow
def test_a_study_with_weights_of_a_file_comes_to_its_page(tmp_path):
    path = tmp_path / "mine.npz"
    changes = {
        **{"arms": ("real", "duplicates", "classic"), "num_folds": 2, "num_seeds": 2},
        **{"num_updates": 12, "classifier.image_size": 32, "classifier.width": 0.125},
        **{"transfer.weights": str(path), "transfer.frozen": "features"},
    }
    settings = jaxgan.load_study_settings("study:quick+efficientnet_lite0_small", changes)
    shapes = flatten_dict(create_shapes(settings.classifier.create(3)), sep="/")
    rng = np.random.default_rng(0)
    arrays = {n: rng.uniform(0.02, 0.1, leaf.shape).astype("f4") for n, leaf in shapes.items()}
    np.savez(path, **arrays)
    films = jaxgan.load_phantom(cache_dir=tmp_path / "cache")
    found = jaxgan.run_study(settings, films, workdir=tmp_path / "study", num_devices=1)
    assert not found.report["failures"]
    named = found.report["classifier"]
    assert named["weights"] == "mine.npz" and named["frozen"] == "features"
    job = next((tmp_path / "study" / "jobs").glob("classifier-*.npz"))
    record = json.loads(str(np.load(job, allow_pickle=False)["record"]))
    assert record["settings"]["weights"] == named["sha256"]
    for file in ("report.html", "summary.md"):
        text = (tmp_path / "study" / file).read_text()
        assert named["sentence"] in text and named["sha256"][:12] in text
