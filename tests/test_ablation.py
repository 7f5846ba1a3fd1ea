"""Variants x seeds: what is trained, what is shared, what is written."""

import json

import numpy as np
import pytest

from configs import ablate
from configs import dcgan as dcgan_config
from jaxgan.core.errors import IncompleteError, UserError
from jaxgan.core.settings import read_settings, to_dict
from jaxgan.evaluation import encoder, imagenet
from jaxgan.evaluation.features import create_pixel_features
from jaxgan.experiments import ablation as module
from jaxgan.experiments.ablation import AblationSettings, repeat_channels, run_ablation
from jaxgan.sampling.settings import TrainGanSettings
from jaxgan.training.jobs import check_complete
from jaxgan.training.record import flatten
from tests.helpers import make_dataset, make_dcgan_settings, replace

VARIANTS = {"all": {}, "all - best": {"select_checkpoint": "newest"}, "broken": {"batch_size": 7}}
DATASET = make_dataset(num_train=48, num_val=40)


def make_settings(**changes):
    values = {
        "train": make_dcgan_settings(num_epochs=1),
        "variants": VARIANTS,
        "class_name": "left",
        "num_seeds": 1,
        "num_images": 24,
    }
    return AblationSettings(**{**values, **changes})


def test_trainings_of_before_keep_their_names():
    """Names that commit 032031b gave them, and others where something differs from what was."""

    def name(**changes):
        changed = make_settings(train=make_dcgan_settings(num_epochs=1, **changes))
        variant = changed.create_variant("all", seed=0)
        return module._create_training(changed, variant, DATASET, "", num_devices=1).key

    assert name() == "3b13098a3edc98495c36"
    data = to_dict(make_dcgan_settings().data)
    assert name(data=data) == name()
    others = [{"data": data | {"fit": "pad"}}, {"data": data | {"window": "40,400"}}]
    assert len({name(), *(name(**other) for other in others)}) == 3
    # Its average moves otherwise than it did.
    assert name(num_critic_steps=2) != "ed77c1af46972ff85127"


@pytest.fixture(autouse=True)
def _train_briefly(monkeypatch):
    monkeypatch.setattr(encoder, "ENCODER_STEPS", 20)
    monkeypatch.setattr(module, "is_installed", lambda: False)  # weights that take seconds


def test_a_table_with_a_row_a_variant_and_a_failed_one_named(tmp_path, monkeypatch, capsys):
    options = {"dataset": DATASET, "workdir": tmp_path, "num_devices": 2}
    result = run_ablation(make_settings(), **options).report
    assert result == json.loads((tmp_path / "ablation.json").read_text())
    assert list(result["rows"]) == ["all", "all - best"]
    for row in result["rows"].values():
        for name in module.COLUMNS.keys() - {module.OUTSIDE}:
            assert {"value", "interval", "floor", "n", "floor_n"} <= row[name].keys()
        assert row["kernel_distance"]["value"] > row["kernel_distance"]["floor"]
    own, other = result["references"].values()
    assert own["kernel_distance"]["value"] < other["kernel_distance"]["value"]
    assert result["images_seen"] == 24
    assert result["failures"][0]["name"] == "broken, seed 0"
    with pytest.raises(IncompleteError, match="broken, seed 0: A batch of 7"):
        check_complete(result["failures"])
    table = (tmp_path / "ablation.md").read_text()
    assert "| all - best |" in table
    assert "Failed: broken, seed 0:" in table
    assert (tmp_path / "ablation.png").is_file()
    # Variants that differ in what is drawn from share their training, and nothing else is left.
    jobs = [path.name for path in (tmp_path / "jobs").iterdir()]
    assert sum(name.startswith("training-") for name in jobs) == 1
    assert all(name.endswith(".npz") for name in jobs)

    def refuse(*args, **kwargs):
        raise AssertionError("trained again")

    monkeypatch.setattr(module, "train_gan", refuse)
    again = run_ablation(make_settings(variants={"all": {}}), **options).report
    assert again["rows"]["all"] == result["rows"]["all"]
    assert not again["failures"]


@pytest.mark.parametrize(("num", "named"), [(11, False), (12, True)])
def test_what_is_too_little_to_measure_is_no_reference(num, named, monkeypatch):
    evaluator = module.create_evaluator(DATASET, "left", None)
    right = np.flatnonzero(DATASET.train.labels == 1)[:num]
    few = replace(DATASET, splits={"val": DATASET.val.take(right[:0])})
    monkeypatch.setattr(module, "take_unseen", lambda _: DATASET.train.take(right))
    assert ("real right (another class)" in evaluator.measure_references(few, "left")) is named


def test_what_fails_before_a_training_costs_none(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("trained first")

    def fail(*args):
        raise ValueError("no references")

    monkeypatch.setattr(module, "train_gan", refuse)
    monkeypatch.setattr(module.Evaluator, "measure_references", fail)
    with pytest.raises(ValueError, match="no references"):
        run_ablation(make_settings(), dataset=DATASET, workdir=tmp_path)


def test_films_of_a_patient_are_judged_together(monkeypatch):
    seen = []
    monkeypatch.setattr(module, "measure_space", lambda *a: seen.append(a[-1].patients) or {})
    evaluator = module.create_evaluator(DATASET, "left", None)
    with pytest.raises(KeyError):
        evaluator.measure(DATASET.train.images[:20])
    held_out = DATASET.val.of_class(0).patients
    assert seen[0][: len(held_out)] == held_out
    assert set(seen[0][len(held_out) :]) <= set(DATASET.train.of_class(0).patients)


def test_gray_images_are_repeated_for_three_channels():
    repeated = repeat_channels(DATASET, 3)
    assert repeated.train.images.shape[-1] == 3
    np.testing.assert_array_equal(module.as_gray(repeated.val.images), DATASET.val.images)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"variants": {"x": {"nonsense": 1}}}, "Variant 'x': config.nonsense is not known"),
        ({"variants": {"x": {"num_epochs": 9}}}, "the same number of images seen"),
        ({"variants": {}}, "config.variants is empty"),
        ({"num_seeds": 0}, "config.num_seeds is 0"),
    ],
)
def test_a_wrong_field_is_named(changes, sentence):
    with pytest.raises(UserError, match=sentence):
        make_settings(**changes)


@pytest.mark.parametrize("variant", ["quick", "small", "recommended"])
def test_each_ingredient_is_added_alone_and_left_out(variant):
    settings = read_settings(AblationSettings, ablate.get_config(variant).to_dict())
    full = settings.create_variant("all", seed=0)
    paper = settings.create_variant("paper", seed=0)
    full, paper = flatten_all(full), flatten_all(paper)
    for name, changes in ablate.INGREDIENTS.items():
        alone = flatten_all(settings.create_variant(f"paper + {name}", seed=0))
        without = flatten_all(settings.create_variant(f"all - {name}", seed=0))
        assert find_differing(full, without) == find_differing(paper, alone) == {*flatten(changes)}
    assert find_differing(full, paper) == {
        f for c in ablate.INGREDIENTS.values() for f in flatten(c)
    }


def flatten_all(settings):
    return flatten(to_dict(settings))


def find_differing(one, other):
    return {name for name in one | other if one.get(name) != other.get(name)}


def test_what_is_tried_on_top_changes_its_own_fields_alone():
    settings = read_settings(AblationSettings, ablate.get_config("quick").to_dict())
    full = flatten_all(settings.create_variant("all", seed=0))
    for name, fields in ablate.ADDITIONS.items():
        changed = flatten_all(settings.create_variant(f"all + {name}", seed=0))
        assert find_differing(full, changed) == {f"gan.{field}" for field in fields}


def test_another_family_takes_the_place_of_the_whole_group():
    mlp = {"family": "mlp", "image_size": 32}
    assert module._merge({"gan": {"family": "dcgan", "width": 3}}, {"gan": mlp}) == {"gan": mlp}
    nested = module._merge({"gan": {"family": "dcgan", "width": 3}}, {"gan": {"width": 4}})
    assert nested == {"gan": {"family": "dcgan", "width": 4}}


def test_strengths_of_augmentation_are_all_that_differs():
    settings = read_settings(AblationSettings, ablate.get_config("strength").to_dict())
    names = ("full", "adaptive", "none")
    full, adaptive, none = (settings.create_variant(name, seed=0).gan for name in names)
    assert full.diffaugment and full.augment_target == 0 and not none.diffaugment
    assert replace(adaptive, augment_target=0.0) == full == replace(none, diffaugment=True)


def test_the_headline_is_the_paper_against_the_recipe():
    settings = read_settings(AblationSettings, ablate.get_config("headline").to_dict())
    for name in ("paper", "recommended"):
        printed = read_settings(TrainGanSettings, dcgan_config.get_config(name).to_dict())
        ours = settings.create_variant(name, seed=printed.seed)
        shared = {field: getattr(ours, field) for field in ablate.EQUAL}
        assert ours == replace(printed, **shared)
    assert settings.num_seeds >= 3


def test_the_outside_ruler_is_a_column_where_it_is_installed(monkeypatch):
    spaces = []

    def fit(images):
        spaces.append(images)
        return create_pixel_features(4)

    without = module.create_evaluator(DATASET, "left", None)
    monkeypatch.setattr(module, "is_installed", lambda: True)
    monkeypatch.setattr(module, "fit_imagenet_features", fit)
    evaluator = module.create_evaluator(DATASET, "left", None)
    np.testing.assert_array_equal(spaces[0], evaluator.real.encoder_set[0])
    assert evaluator.record == {**without.record, "outside": imagenet.VERSION}
    scores = evaluator.measure(DATASET.val.of_class(1).images)
    assert scores[module.OUTSIDE]["features"] == "pixels 4x4"
    row = module._summarise([scores | {"collapsed": False, "epoch": 1, "seed": 0}])
    result = {"rows": {"a": row}, "references": {"real": scores}, "failures": [], "class": "left"}
    result |= {"data": {"name": ""}, "images_seen": 1, "num_epochs": 1, "features": ""}
    head, _, line, reference, *_ = module.format_ablation(result).split("\n")
    place = head.split(" | ").index("in the outside ruler")
    shown = f"{scores[module.OUTSIDE]['value']:.3g}"
    assert line.split(" | ")[place] == reference.split(" | ")[place] == shown
