"""The jobs of a whole study, in this process: what is done again, what is left out and said."""

import json
import re
import runpy
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from jaxgan.core.errors import UserError
from jaxgan.core.settings import read_settings
from jaxgan.data.sets import Dataset, ImageSet
from jaxgan.sampling.sampler import Sampler
from jaxgan.sampling.selection import MIN_HELD_OUT
from jaxgan.study import arms, fidelity, run, work
from jaxgan.study.generators import (
    GeneratorLab,
    GeneratorSettings,
    describe_drawing,
    hold_out_enough,
    join_results,
)
from jaxgan.study.page import write_study
from jaxgan.study.settings import MOST_FOLDS, MOST_SEEDS, StudySettings
from jaxgan.training.jobs import Failure
from jaxgan.training.many import Trainer
from jaxgan.training.record import FORMAT
from jaxgan.training.run_folder import read_record, write_record
from tests.helpers import make_image_set, make_study_settings, replace

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
ARMS = ("real", "gan", "gan_paper_code", "gan_calibrated")


def make_settings(**changes):
    values = {
        "arms": ARMS,
        "amounts": (0.5,),
        "amount_arms": ("gan", "gan_calibrated"),
        "gan_epochs": 2,
        "gan_batch_size": 4,
        "targets": {"LEFT": 40, "right": 7},
        "threshold": 0.01,
    }
    return make_study_settings(**{**values, **changes})


def make_data(num_right=14, size=32):
    """Classes of 20 images and of `num_right`, each of a patient of its own."""
    images = make_image_set(40, size)
    chosen = [i for i in range(40) if i % 2 == 0 or i < 2 * num_right]
    return Dataset("made", ("left", "right"), {"train": images.take(np.array(chosen))}, "f" * 64)


def run_study(folder, settings, num_right=14):
    return run.run_jobs(
        settings,
        dataset=make_data(num_right, size=24),
        gan_dataset=make_data(num_right),
        workdir=folder,
        num_devices=1,
    )


def list_jobs(folder, kind):
    return {path.name: path.stat().st_mtime_ns for path in (folder / "jobs").glob(f"{kind}-*.npz")}


@pytest.fixture(scope="module")
def small_study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    return folder, run_study(folder, make_settings())


@pytest.fixture
def untrained(monkeypatch):
    """Trainings that leave what they began with, without the time that compiling one takes."""
    monkeypatch.setattr(Trainer, "train", lambda self, state, images, **options: state)


# What is done again -----------------------------------------------------------------------------


def test_more_amounts_and_arms_train_nothing_again(small_study):
    folder, before = small_study
    found = {kind: list_jobs(folder, kind) for kind in ("generator", "classifier")}
    assert [len(jobs) for jobs in found.values()] == [4, 8] and not before.failures
    more = make_settings(arms=(*ARMS, "gan_paper_counts"), amounts=(0.5, 2.0))
    after = run_study(folder, more)
    assert not after.failures
    assert list_jobs(folder, "generator") == found["generator"]
    again = list_jobs(folder, "classifier")
    assert {name: again[name] for name in found["classifier"]} == found["classifier"]
    assert len(again) - len(found["classifier"]) == 2 * 3  # gan@2, gan_calibrated@2, the counts
    assert [added[0] for added in after.added["gan_paper_counts"].values()] == [40, 40]
    assert after.generators[0, 0, 0]["images"].shape[0] == 100  # 2.5 for each of these 40
    for place, made in before.generators.items():
        for name in ("images", "scores", "logits"):  # as if no more had been asked for
            more_of_it = after.generators[place][name][: len(made[name])]
            np.testing.assert_array_equal(made[name], more_of_it)


def test_an_arm_s_result_is_the_same_bits_beside_arms_that_want_more(small_study, tmp_path):
    """So that jobs which are kept are those that would be done."""
    _, before = small_study
    anew = run_study(tmp_path / "anew", make_settings(amounts=(0.5, 2.0)))
    assert before.classifiers and all(before.classifiers.values())
    for arm, by_place in before.classifiers.items():
        for place, result in by_place.items():
            np.testing.assert_array_equal(
                result["probabilities"], anew.classifiers[arm][place]["probabilities"]
            )


def make_lab(settings):
    return GeneratorLab(settings, capacity=12, devices=jax.devices()[:1])


def make_key(settings):
    return make_lab(settings).create_job(make_image_set(12), name="g", seed=1).key


def test_a_generator_is_trained_again_for_what_alters_it_alone():
    settings = make_settings()
    same = replace(settings, targets={"left": 9}, pool=8.0, num_updates=9, batch_size=3)
    assert make_key(same) == make_key(replace(same, fold_seed=9)) == make_key(settings)
    others = [
        {"threshold": 0.7},  # of the images that the listing keeps
        {"gan_epochs": 9},
        {"gan_batch_size": 6},
        {"holdout": 0.3},
        {"gan": replace(settings.gan, learning_rate=1e-3)},
    ]
    keys = {make_key(replace(settings, **other)) for other in others}
    assert len({*keys, make_key(settings)}) == len(others) + 1


def test_generators_of_before_keep_their_names():
    """The name that the version before there were families gave this one."""
    assert make_key(make_settings()) == "880e356b1b6afc332c08"


def test_truncation_alters_what_is_drawn_and_no_training(tmp_path, untrained):
    settings = make_settings()
    cut = replace(settings, truncation=0.5)
    assert make_key(cut) == make_key(settings)
    partial = tmp_path / "partial"
    job = make_lab(settings).create_job(make_image_set(12), name="g", seed=5)
    trained = {**job.compute(partial), "record": np.array("r")}
    drawings = [
        make_lab(s).create_drawing(trained, name="d", seed=5, num=3) for s in (settings, cut)
    ]
    records = [drawing.record for drawing in drawings]
    assert records == [
        {"generator": "r", "num": 3},
        {"generator": "r", "num": 3, "truncation": 0.5},
    ]
    usual, halved = (drawing.compute(partial)["images"] for drawing in drawings)
    assert (usual != halved).any()
    bounded = make_lab(replace(settings, truncation=1.0))._sampler.vary(truncation=0.5)
    networks = make_lab(settings)._restore(trained)
    np.testing.assert_array_equal(bounded.draw(networks, 5 * 10_000_000, 3), halved)
    with pytest.raises(UserError, match=r"config.truncation is 0, expected a number"):
        replace(settings, truncation=0)


def test_what_was_done_with_whole_latents_is_not_taken_for_what_cut_ones_give():
    """A classifier, and the measurement of a generator; other jobs keep their names."""
    made = {"record": np.array("r"), "images": np.zeros((4, 32, 32, 1), np.uint8)}
    for truncation, noted in ((1.0, {}), (0.5, {"truncation": 0.5})):
        settings = make_settings(truncation=truncation)
        plan = SimpleNamespace(settings=settings)
        arm = work._describe_arm(plan, arms.ARMS["gan"], 0, {0: made})
        usual = {"source": "unfiltered", "amount": 0.0, "real": True, "generators": ["r"]}
        assert arm == {**usual, "threshold": settings.threshold, **noted}
        real = work._describe_arm(plan, arms.ARMS["duplicates"], 0, {})
        assert "truncation" not in real
        drawing = describe_drawing(settings)
        options = {"name": "q", "drawing": drawing}
        record = fidelity.create_job("pyramid", made, make_image_set(6), 0, **options).record
        assert {n: v for n, v in record.items() if n not in ("real", "version")} == {
            **{"generator": "r", "num": 4},
            **noted,
        }


def test_what_is_kept_of_a_gan_says_how_to_draw_from_it(tmp_path, untrained):
    lab = make_lab(make_settings())
    job = lab.create_job(make_image_set(12), name="g", seed=5)
    trained = {**job.compute(tmp_path / "partial"), "record": np.array("")}
    drawn = lab.create_drawing(trained, name="d", seed=5, num=3).compute(tmp_path / "partial")
    found = join_results(trained, drawn)
    assert "discriminator" in trained and "discriminator" not in found
    noted = read_settings(GeneratorSettings, json.loads(str(found["settings"])))
    settings = make_settings()
    assert noted == GeneratorSettings(settings.gan, 2, 4, 5)


# More than one GAN a fold -----------------------------------------------------------------------


def test_a_study_of_two_gan_seeds_comes_to_its_verdict(small_study, tmp_path):
    settings = make_settings(arms=("real", "duplicates", "gan"), num_seeds=2, num_gan_seeds=2)
    results = run_study(tmp_path, settings)
    assert not results.failures
    report = write_study(results, tmp_path, command="")
    assert report["verdict"] == report["verdict_of_complete_arms"] == "no_evidence"
    assert [arm["arm"] for arm in report["judged"]] == ["gan@0.5"]
    assert {arm["state"] for arm in report["arms"].values()} == {"complete"}
    assert len(results.generators) == 8


def test_every_gan_draws_latents_of_its_own(untrained, tmp_path):
    """Whatever the seed: those of a study are numbers of four digits and more."""
    lab = make_lab(make_settings(holdout=0.2))
    job = lab.create_job(make_image_set(12), name="g", seed=0)
    trained = {**job.compute(tmp_path), "record": np.array("")}
    drawn = [
        lab.create_drawing(trained, name="d", seed=seed, num=3).compute(tmp_path)["images"]
        for seed in (0, 1, 214, 215, 1000, 1000 * (MOST_SEEDS - 1) + MOST_FOLDS)
    ]
    assert len({images.tobytes() for images in drawn}) == len(drawn)


# What is left out -------------------------------------------------------------------------------


def test_a_class_too_small_to_calibrate_costs_that_arm_alone(tmp_path, untrained):
    settings = make_settings(arms=("real", "gan", "gan_calibrated"))
    results = run_study(tmp_path, settings, num_right=8)  # 4 to learn from in each fold
    assert {(f.kind, f.name) for f in results.failures} == {
        ("classifier", f"gan_calibrated@0.5, fold {fold}, seed 0") for fold in (1, 2)
    }
    assert all(
        f.reason.startswith("class right: 1 held-out image(s) are too few")
        for f in results.failures
    )
    assert {arm: len(done) for arm, done in results.classifiers.items()} == {
        "real": 2,
        "gan@0.5": 2,
    }
    assert results.get_probabilities("gan_calibrated@0.5") is None
    assert all(failure.by_rule for failure in results.failures)


def test_a_class_holds_out_enough_to_calibrate_where_it_can(small_study):
    results = small_study[1]
    learned = {label: int(m["num_learned"]) for (_, _, label), m in results.generators.items()}
    assert learned == {0: 7, 1: 4}
    assert {len(m["held_logits"]) for m in results.generators.values()} == {MIN_HELD_OUT}


def hold_out_of(patients, share=0.1):
    images = make_image_set(len(patients))
    images = ImageSet(images.images, images.labels, images.files, tuple(patients))
    learned, held = hold_out_enough(images, share, seed=0)
    assert not set(learned.patients) & set(held.patients)
    assert len(learned) + len(held) == len(images)
    return len(held)


@pytest.mark.parametrize(
    ("patients", "num_held"),
    [
        ([f"p{i}" for i in range(40)], 4),  # a tenth, as asked
        ([f"p{i}" for i in range(22)], 3),
        ([f"p{i}" for i in range(6)], 3),
        ([f"p{i}" for i in range(5)], 1),  # too few whatever is done: no more than asked
        ([f"p{i // 2}" for i in range(22)], 4),  # whole patients
        (["a"] * 10 + ["b"] * 2, 2),  # never more than the GAN keeps
        (["a"] * 9, 0),
    ],
)
def test_enough_is_held_out_by_patient_as_far_as_there_are_any(patients, num_held):
    assert hold_out_of(patients) == num_held


def test_a_generator_that_fails_is_named_with_all_that_needs_it(
    tmp_path, untrained, monkeypatch, capsys
):
    settings = make_settings(arms=("real", "gan"))
    train = GeneratorLab._train

    def fail_once(self, images, seed, partial):
        if seed == 1 and images.labels[0] == 1:
            raise ValueError("no luck")
        return train(self, images, seed, partial)

    monkeypatch.setattr(GeneratorLab, "_train", fail_once)
    results = run_study(tmp_path, settings)
    assert results.failures == [
        Failure("generator", "generator of right, fold 2, seed 0", "no luck"),
        Failure("images", "images of right, fold 2, seed 0", "its generator failed"),
        Failure("classifier", "gan@0.5, fold 2, seed 0", "no generator of right"),
    ]
    assert results.get_probabilities("real") is not None
    assert list(results.classifiers["gan@0.5"]) == [(0, 0)]  # what was done is not dropped
    assert not any(failure.by_rule for failure in results.failures)
    last = capsys.readouterr().out.splitlines()[-1]  # what it drew is measured, if it drew
    assert re.match(r"\[(\d+)/\1\] quality .* of left, fold 2", last)


def test_a_gan_that_diverged_in_its_last_step_has_no_images(tmp_path, untrained, monkeypatch):
    """Its losses are of the step before: nothing else tells."""
    lab = make_lab(make_settings(holdout=0.2))
    job = lab.create_job(make_image_set(12), name="g", seed=0)
    nothing = np.full(1, np.nan)
    monkeypatch.setattr(Sampler, "score", lambda self, networks, images: nothing)
    with pytest.raises(UserError, match="the GAN has diverged"):
        job.compute(tmp_path / "partial")


# What is said -----------------------------------------------------------------------------------


def test_a_class_that_the_paper_s_table_lacks_is_in_the_notices(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(run, "do_jobs", lambda *args: None)
    results = run_study(tmp_path / "with", make_settings(arms=("real", "gan_paper_counts")))
    assert results.notices == []
    others = make_settings(arms=("real", "gan_paper_counts"), targets={"LEFT": 40, "cat": 3})
    (notice,) = run_study(tmp_path / "others", others).notices
    assert "for the classes LEFT, cat, but the classes here are left, right." in notice
    assert notice in capsys.readouterr().out
    assert run_study(tmp_path / "without", make_settings()).notices == []


def test_settings_of_a_gan_that_no_arm_has_refuse_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(work._Work, "train_classifier", lambda *args: None)
    monkeypatch.setattr(work._Work, "train_generators", lambda *args: None)
    odd = {"gan": replace(make_settings().gan, channels=3), "gan_batch_size": 7}
    settings = make_settings(arms=("real", "classic"), amount_arms=(), **odd)
    options = {"dataset": make_data(size=24), "gan_dataset": make_data(size=24)}
    run.run_jobs(settings, workdir=tmp_path / "without", num_devices=2, **options)
    with pytest.raises(UserError, match=r"expected gan\.channels"):
        make_settings(**odd)
    odd = make_settings(gan_batch_size=7)
    with pytest.raises(UserError, match="A batch of 7 can not be divided into 2 equal parts"):
        run.run_jobs(odd, workdir=tmp_path / "with", num_devices=2, **options)


def test_a_classifier_that_can_not_be_is_refused_before_any_gan_is_trained(tmp_path, monkeypatch):
    monkeypatch.setattr(work._Work, "train_generators", lambda *args: pytest.fail("trained first"))
    settings = make_settings()
    one = replace(settings, classifier=replace(settings.classifier, num_outputs=1))
    with pytest.raises(UserError, match="num_outputs is 1 and the data have 2 classes"):
        run_study(tmp_path, one)


@pytest.mark.parametrize("variant", ["paper", "small", "quick", "tiny"])
def test_the_settings_of_every_variant_say_what_a_study_does(variant):
    config = runpy.run_path(str(CONFIGS / "study.py"))["get_config"](variant)
    settings = read_settings(StudySettings, config.to_dict())
    assert run.describe_study(settings, make_data())["kind"] == "study"


def test_one_class_is_nothing_to_study(tmp_path):
    alone = replace(make_data(), class_names=("left",))
    with pytest.raises(UserError, match=r"only one class \(left\), but a study measures"):
        run.describe_study(make_settings(), alone)


@pytest.mark.parametrize("content", [None, "", "[1]", '{"kind": 3}'])
def test_a_study_whose_config_was_deleted_or_edited_goes_on(tmp_path, content, capsys):
    """Its jobs are known by what they hold."""
    record = run.describe_study(make_settings(), make_data())
    run._note_study(tmp_path, record)
    assert capsys.readouterr().out == ""
    assert json.loads((tmp_path / "config.json").read_text())["format"] == FORMAT
    (tmp_path / "config.json").unlink()
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="holds no study"):
        run._check_holds_study(tmp_path)
    (tmp_path / "jobs").mkdir()
    for kind in ("training", "scores", "study"):  # of ablations and of coverage
        (tmp_path / "jobs" / f"{kind}-1.npz").write_bytes(b"")
    with pytest.raises(UserError, match="holds no study"):
        run._check_holds_study(tmp_path)
    (tmp_path / "jobs" / "classifier-1.npz").write_bytes(b"")
    run._check_holds_study(tmp_path)
    run._note_study(tmp_path, record)
    assert "No job is lost." in capsys.readouterr().out
    assert read_record(tmp_path)["kind"] == "study"
    write_record(tmp_path, {"kind": "gmd"})
    with pytest.raises(UserError, match="holds a gmd run, not a study"):
        run._check_holds_study(tmp_path)


@pytest.mark.parametrize("arms", [["real"], ["real", "gan"]])
def test_changed_images_are_said_whatever_else_is_asked_now(arms, tmp_path, capsys):
    record = {"kind": "study", "data": {"name": "made", "fingerprint": "a"}, "arms": ["real"]}
    run._note_study(tmp_path, record)
    notes = {"command": "python launch/study.py"}
    run._note_study(tmp_path, record | {"arms": ["real", "duplicates"]}, notes)
    assert json.loads((tmp_path / "config.json").read_text())["notes"] == notes
    assert "changed" not in capsys.readouterr().out
    data = {"name": "made", "fingerprint": "b"}
    run._note_study(tmp_path, record | {"data": data, "arms": arms})
    assert "The images have changed since" in capsys.readouterr().out
