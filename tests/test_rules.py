"""What each rule does to the images of one run."""

import json

import numpy as np
import pytest

from jaxgan.core.errors import UserError
from jaxgan.evaluation import encoder, quality, real_images
from jaxgan.evaluation import rules as module
from jaxgan.evaluation.features import create_pixel_features
from jaxgan.sampling.runs import draw_from_run, restore_run
from jaxgan.sampling.sampler import Samples
from jaxgan.sampling.selection import hold_out_for_calibration
from tests.helpers import make_dataset, make_dcgan_settings, replace, write_run


@pytest.fixture(autouse=True)
def _train_briefly(monkeypatch):
    monkeypatch.setattr(encoder, "ENCODER_STEPS", 20)
    monkeypatch.setattr(module, "is_installed", lambda: False)  # weights that take seconds


def test_every_rule_has_its_row(tmp_path, capsys):
    dataset = make_dataset(num_train=48, num_val=44)  # a file name, so a patient, is in both
    settings = make_dcgan_settings(num_epochs=1, selection={"threshold": 0.0})
    write_run(tmp_path, settings=settings, dataset=dataset)
    result = module.compare_rules([tmp_path], "left", dataset, out=tmp_path / "out").metrics
    assert result == json.loads((tmp_path / "out" / "selection.json").read_text())
    rules = result["rules"]
    names = {"none", "paper_text 0", "paper_text 0.76", "paper_code", "calibrated", "top_k"}
    assert rules.keys() == {*names, "k_means", "farthest_point", "truncation 0.7"}
    many = ("none", "calibrated", "top_k", "k_means", "farthest_point", "truncation 0.7")
    assert {rules[rule]["num_kept"] for rule in many} == {24}
    for rule in ("paper_text 0", *many):
        for name in ("kernel_distance", "recall", "memorisation"):
            assert {"value", "interval", "floor", "n"} <= rules[rule][name].keys()
            assert rules[rule][name]["n"] >= 20
    assert rules["paper_text 0"]["kept_fraction"]["value"] == 1.0
    for rule in ("top_k", "k_means", "farthest_point"):
        assert rules[rule]["kept_fraction"]["value"] == pytest.approx(0.5)
    assert rules["truncation 0.7"]["kept_fraction"]["value"] == 1.0
    distances = {rules[rule]["kernel_distance"]["value"] for rule in many}
    assert len(distances) == len(many)  # other images each
    assert "Does the paper's 0.76 rule help?" in capsys.readouterr().out


def test_the_outside_ruler_is_a_column_where_it_is_installed(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(module, "is_installed", lambda: True)
    monkeypatch.setattr(module, "fit_imagenet_features", lambda images: create_pixel_features(4))
    dataset = make_dataset(num_train=48, num_val=44)
    write_run(tmp_path, settings=make_dcgan_settings(num_epochs=1), dataset=dataset)
    rules = module.compare_rules([tmp_path], "left", dataset, out=tmp_path / "out").metrics["rules"]
    assert rules["none"]["outside_kernel_distance"]["features"] == "pixels 4x4"
    assert all("outside_kernel_distance" in found for found in rules.values())
    assert "in the outside ruler" in capsys.readouterr().out
    averaged = module._average_runs([rules, rules])["none"]["outside_kernel_distance"]
    assert averaged["values"] == 2 * [rules["none"]["outside_kernel_distance"]["value"]]


def test_several_runs_are_repetitions_or_refused_before_any_work(tmp_path, monkeypatch):
    dataset = make_dataset(num_train=48, num_val=44)

    def write(name, dataset=dataset, **changes):
        settings = make_dcgan_settings(**changes)
        return write_run(tmp_path / name, settings=settings, dataset=dataset).parent

    monkeypatch.setattr(module, "create_encoder_features", lambda *args, **kwargs: 1 / 0)
    good = write("a")
    for other, words in (
        (good, "One --workdir was given twice"),
        (write("wide", generator_width=8), "generator_width was 4 and is 8"),
        (write("short", num_epochs=2), "num_epochs was 2|num_epochs was 3 and is 2"),
        (write("other", dataset=replace(dataset, fingerprint="0" * 64)), "other data"),
    ):
        with pytest.raises(UserError, match=words):
            module.compare_rules([good, other], "left", dataset, out=tmp_path / "out")
    again = write("b", seed=1, checkpoint_every_epochs=2)  # what changes no result may differ
    with pytest.raises(ZeroDivisionError):
        module.compare_rules([good, again], "left", dataset, out=tmp_path / "out")


def test_copies_are_searched_among_as_many_images_as_evaluate_does_or_it_is_said(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(module, "MAX_COMPARED", 22)
    dataset = make_dataset(num_train=80, num_val=44)
    settings = make_dcgan_settings(num_epochs=1, selection={"rule": "none"})
    write_run(tmp_path, settings=settings, dataset=dataset)

    def compare(out):
        result = module.compare_rules(
            [tmp_path], "left", dataset, out=tmp_path / out, num=30
        ).metrics
        note = [note for note in result["notes"] if "Searched for copies" in note]
        return result["rules"]["none"]["memorisation"]["num_train"], note

    assert compare("all") == (40, [])
    monkeypatch.setattr(real_images, "MAX_SEARCHED", 25)
    searched, (note,) = compare("some")
    assert searched == 25 and "25 of the 40 training images, drawn at random" in note


def test_a_score_that_is_no_probability_has_no_paper_rule_to_answer_for(tmp_path, capsys):
    dataset = make_dataset(num_train=48, num_val=40)
    settings = make_dcgan_settings(num_epochs=1, objective="hinge", selection={"rule": "top_k"})
    write_run(tmp_path, settings=settings, dataset=dataset)
    result = module.compare_rules([tmp_path], "left", dataset, out=tmp_path / "out").metrics
    ranked, spread = {"calibrated", "top_k"}, {"k_means", "farthest_point"}
    assert result["rules"].keys() == {"none", *ranked, *spread, "truncation 0.7"}
    assert "can not be applied" in result["answer"]
    assert result["answer"] in capsys.readouterr().out


@pytest.mark.parametrize(
    ("own", "rows", "words"),
    [
        (1.0, ["truncation 0.7"], "as those of none."),
        (0.7, ["truncation 1"], "drawn with the run's own, 0.7."),
        (0.5, ["truncation 0.7", "truncation 1"], "drawn with the run's own, 0.5."),
    ],
)
def test_the_rows_of_truncation_are_others_than_the_run_s_own(own, rows, words, tmp_path):
    dataset = make_dataset(num_train=48)
    selection = {"rule": "top_k", "truncation": own}
    run = restore_run(
        write_run(tmp_path, settings=make_dcgan_settings(selection=selection), dataset=dataset)
    )
    train = dataset.train.of_class(0)
    kept, drawn = module._apply_rules(run, train, dataset.val.of_class(0), num=8, seed=3)
    assert [name for name in kept if name.startswith("truncation")] == rows
    np.testing.assert_array_equal(kept["none"], draw_from_run(tmp_path / "left", num=8, seed=3))
    for name in rows:
        cut = run.truncate(float(name.split()[1])).sampler
        np.testing.assert_array_equal(kept[name], cut.draw(run.networks, 3, 8))
        assert drawn[name] == 8 and (kept[name] != kept["none"]).any()
    assert module._describe_truncation(run)[0].endswith(words)
    bound = run._replace(gan=replace(run.gan, draw_truncated=None))
    assert "does not apply" in module._describe_truncation(bound)[0]
    others = module._apply_rules(bound, train, dataset.val.of_class(0), num=8, seed=3)[0]
    assert others.keys() == kept.keys() - {*rows}


def test_diverse_rules_choose_in_features_of_training_images_alone(tmp_path, monkeypatch):
    """Held-out images judge what was chosen."""
    dataset, fitted = make_dataset(num_train=80, num_val=44), []
    settings = make_dcgan_settings(selection={"rule": "calibrated"})
    run = restore_run(write_run(tmp_path, settings=settings, dataset=dataset))
    fit = quality.fit_pyramid_features

    def note(images):
        fitted.extend(image.tobytes() for image in images)
        return fit(images)

    monkeypatch.setattr(quality, "fit_pyramid_features", note)
    train = dataset.train.of_class(0)
    module._apply_rules(run, train, dataset.val.of_class(0), num=8, seed=0)
    learned, held = hold_out_for_calibration("calibrated", train, 0)
    assert sorted(fitted) == sorted(image.tobytes() for image in learned.images)
    assert len(held) == 4


def test_several_runs_are_averaged_with_an_interval_over_them():
    def make_run(distance, kept):
        measured = {"value": distance, "interval": [0.0, 9.0], "floor": 1.0, "n": 20}
        shared = dict.fromkeys((*module._SHOWN, "kept_fraction"), measured)
        shared["memorisation"] = {**measured, "floor_n": 9}
        few = dict.fromkeys((*module._SHOWN, "memorisation"))
        return {
            "none": {"num_kept": 24, **shared},
            "paper_text 0.76": {
                **shared,
                "num_kept": kept,
                "kernel_distance": {**measured, "value": distance - 1.0},
            },
            "paper_code": {"num_kept": 2, "kept_fraction": measured, **few},
        }

    rules = module._average_runs([make_run(3.0, 24), make_run(4.0, 30), make_run(5.0, 24)])
    assert rules["none"]["kernel_distance"]["value"] == 4.0
    assert rules["none"]["kernel_distance"]["values"] == [3.0, 4.0, 5.0]
    assert rules["none"]["memorisation"]["floor_n"] == 9
    assert rules["none"]["recall"]["floor_n"] == rules["none"]["recall"]["n"] == 20
    low, high = rules["none"]["kernel_distance"]["interval"]
    assert (low, high) == pytest.approx((4 - 4.3027 / 3**0.5, 4 + 4.3027 / 3**0.5), abs=1e-4)
    assert rules["paper_text 0.76"]["num_kept"] == 78
    assert rules["paper_code"]["recall"] is None
    # Their intervals overlap by far; run by run the rule is nearer by as much every time.
    assert "images are nearer" in module._answer(rules)


def test_a_run_that_was_to_calibrate_does_so_with_what_its_gan_has_not_seen(tmp_path, monkeypatch):
    dataset = make_dataset(num_train=80, num_val=40)
    settings = make_dcgan_settings(num_epochs=1, selection={"rule": "calibrated"})
    write_run(tmp_path, settings=settings, dataset=dataset)
    seen = []
    choose = module.choose_by_rank

    def note(rule, logits, held_logits, num):
        seen.append(len(held_logits))
        return choose(rule, logits, held_logits, num)

    monkeypatch.setattr(module, "choose_by_rank", note)
    module.compare_rules([tmp_path], "left", dataset, out=tmp_path / "out")
    assert seen == [4, 4]


def test_the_listing_keeps_the_first_of_a_batch_that_d_loses():
    images = np.random.default_rng(0).integers(50, 100, (8, 4, 4, 1), dtype=np.uint8)
    scores = np.array([0.1, 0.1, 0.1, 0.1, 0.2, 0.9, 0.9, 0.9])
    kept = module._apply_listing(Samples(images, scores, np.arange(8)), 4, 0.76)
    assert len(kept) == 1
    assert (kept.min(), kept.max()) == (0, 255)
    assert np.corrcoef(kept[0].ravel(), images[4].ravel())[0, 1] > 0.99


def make_kept(num):
    """What a run has of which the paper's rule keeps too few images."""
    share = {"value": num / 90, "interval": [0.0, 0.1], "floor": None, "n": 90}
    unmeasured = dict.fromkeys((*module._SHOWN, "memorisation"))
    rule = {**unmeasured, "num_kept": num, "kept_fraction": share}
    return {"none": rule, "paper_text 0.76": rule}


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ((1.0, [0.9, 1.1]), (0.5, [0.4, 0.6]), "nearer"),
        ((1.0, [0.9, 1.1]), (2.0, [1.9, 2.1]), "further"),
        ((1.0, [0.9, 1.1]), (1.1, [1.0, 1.2]), "no difference"),
        ((1.0, [0.9, 1.1]), None, "too few to measure"),
    ],
)
def test_the_answer_is_one_of_four(before, after, words):
    rules = {
        name: {
            "num_kept": 3,
            "kept_fraction": {"value": 1 / 30, "n": 90},
            "kernel_distance": found and {"value": found[0], "interval": found[1]},
        }
        for name, found in (("none", before), ("paper_text 0.76", after))
    }
    assert words in module._answer(rules)
    if after is None:
        assert "It keeps 3 of 90 images" in module._answer(rules)
        twice = module._average_runs([make_kept(1), make_kept(3)])
        assert "It keeps 4 of 180 images" in module._answer(twice)
