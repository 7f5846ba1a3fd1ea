"""The parts of a study: arms, folds, jobs, selection, the audit, training with one program."""

import contextlib
import itertools
import re

import jax
import jax.numpy as jnp
import jinja2
import numpy as np
import pytest

from jaxgan.core.errors import UserError
from jaxgan.data.sets import Dataset, ImageSet
from jaxgan.networks.optimizers import OptimizerSettings
from jaxgan.networks.schedules import ScheduleSettings
from jaxgan.study import classifiers as classifiers_module
from jaxgan.study import page
from jaxgan.study.added import PAPER_CODE, PAPER_TEXT, UNFILTERED, Request, duplicate
from jaxgan.study.arms import ARMS, create_arms, describe_missing_targets, find_controls
from jaxgan.study.audit import Audit, mask_images, run_probes
from jaxgan.study.classifiers import ClassifierLab
from jaxgan.study.folds import create_folds
from jaxgan.study.generators import GeneratorLab
from jaxgan.study.memory import compute_nearness, summarise
from jaxgan.training.jobs import Job, JobRunner
from jaxgan.training.loop import LoopStage, Stopped
from jaxgan.training.many import Curves, Trainer
from tests.helpers import make_dataset, make_image_set, make_study_settings, replace


def make_arm(kind, amount):
    return replace(ARMS[kind], amount=amount)


def test_amounts_are_an_axis_of_some_arms():
    arms = create_arms(
        ("real", "duplicates", "gan", "gan_calibrated"), (0.5, 1.0), ("duplicates", "gan")
    )
    assert [arm.name for arm in arms] == [
        "real", "duplicates@0.5", "duplicates", "gan@0.5", "gan", "gan_calibrated",
    ]  # fmt: skip
    assert find_controls(make_arm("gan", 0.5), arms) == ["real", "duplicates@0.5"]
    assert find_controls(make_arm("gan_calibrated", 1.0), arms) == ["real", "duplicates"]
    assert find_controls(make_arm("classic+gan", 1.0), arms)[0] == "classic"
    assert find_controls(make_arm("real", 0.0), arms) == []


def test_one_arm_adds_the_numbers_of_the_paper_s_table_whatever_the_amounts():
    (counted,) = create_arms(("gan_paper_counts",), (0.5,), ())
    table = {"covid": 192, "normal": 61}
    assert counted.name == "gan_paper_counts" and counted.source == PAPER_TEXT
    assert counted.count_added(("Normal", "COVID"), (100, 90), table) == [61, 192]
    assert make_arm("gan", 0.5).count_added(("covid", "normal"), (101, 90), table) == [50, 45]


def test_a_class_that_is_called_as_one_of_the_paper_s_gets_what_any_class_gets():
    (counted,) = create_arms(("gan_paper_counts",), (0.5,), ())
    table = {"covid": 192, "normal": 61}
    for names in (("normal", "tumour"), ("covid", "normal", "tumour"), ("normal",)):
        assert counted.count_added(names, [100] * len(names), table) == [100] * len(names)


def test_a_class_without_a_number_of_the_paper_s_is_told():
    arms = create_arms(("real", "gan", "gan_paper_counts"), (1.0,), ())
    table = {"covid": 192, "normal": 61}
    (notice,) = describe_missing_targets(arms, ("COVID-19", "Normal", "cat"), table)
    assert notice.startswith("gan_paper_counts: ") and "covid, normal, but the" in notice
    assert "the classes here are COVID-19, Normal, cat." in notice
    (notice,) = describe_missing_targets(arms, [f"c{n:03d}" for n in range(200)], {})
    assert "the classes (none), but" in notice and "c009 and 190 more." in notice
    assert describe_missing_targets(arms, ("Covid", "NORMAL"), table) == []
    assert describe_missing_targets(arms[:2], ("cat",), table) == []


def test_a_training_set_never_lacks_what_its_arm_promises():
    train = make_image_set(6)
    empty, some = train.take(np.zeros(0, int)), train.take(np.arange(2))
    names = ("left", "right")
    with pytest.raises(UserError, match="kept no image"):
        make_arm("gan", 1.0).join(train, [empty, empty], names)
    with pytest.raises(UserError, match="no generated image of class right"):
        make_arm("synthetic_only", 1.0).join(train, [some, empty], names)
    assert len(make_arm("gan", 1.0).join(train, [some, empty], names)) == 8


def test_duplicates_repeat_each_image_as_often_as_another():
    images = duplicate(make_image_set(4), 6, seed=0)
    counts = np.unique(images.files, return_counts=True)[1]
    assert len(images) == 6 and set(counts) == {1, 2}


def test_every_image_is_tested_once_and_no_patient_on_both_sides():
    images = make_image_set(40)
    patients = tuple(f"p{i // 4}{i % 2}" for i in range(40))
    images = ImageSet(images.images, images.labels, images.files, patients)
    folds = create_folds(Dataset("made", ("left", "right"), {"train": images}, "f"), 3, seed=0)
    assert sum(len(folds.get_test(f)) for f in range(3)) == 40
    for fold in range(3):
        train, test = folds.get_train(fold), folds.get_test(fold)
        assert not set(train.patients) & set(test.patients)
        assert set(test.labels) == {0, 1}


def test_a_job_is_done_once_and_again_when_anything_that_defines_it_changes(tmp_path):
    done = []

    def compute(partial):
        done.append(1)
        return {"x": np.arange(3)}

    def run(record):
        runner = JobRunner(tmp_path, {"toy": 1})
        return runner.run(Job("toy", "a toy", record, compute))

    assert list(run({"seed": 0})["x"]) == [0, 1, 2]
    run({"seed": 0})
    assert len(done) == 1
    run({"seed": 1})
    assert len(done) == 2
    for file in tmp_path.glob("*.npz"):
        file.write_bytes(b"half")  # a broken disk
    run({"seed": 0})
    assert len(done) == 3


def test_a_signal_is_no_failure_and_stops_the_jobs(tmp_path):
    def stop(partial):
        raise Stopped(1, 2, 15)

    runner = JobRunner(tmp_path, {"kind": 1})
    with pytest.raises(Stopped):
        runner.run(Job("kind", "name", {}, stop))
    assert not runner.failures


def test_a_failed_job_is_named_and_does_not_stop_the_others(tmp_path, capsys):
    def fail(partial):
        raise ValueError("no luck\nat all")

    runner = JobRunner(tmp_path, {"toy": 2})
    assert runner.run(Job("toy", "bad", {"a": 1}, fail)) is None
    assert runner.run(Job("toy", "good", {"a": 2}, lambda partial: {"x": np.ones(1)})) is not None
    assert [(f.name, f.reason) for f in runner.failures] == [("bad", "no luck")]
    assert "[1/2] bad: FAILED, no luck" in capsys.readouterr().out
    assert len(list(tmp_path.glob("*"))) == 1


class Stop(Exception):  # noqa: N818 (a test ends a training with it)
    pass


class StoppingCurves(Curves):
    """Curves that stop the run after so many dispatches."""

    def __init__(self, left):
        super().__init__()
        self._left = left

    def note(self, begin, end, rows):
        if not self._left:
            raise Stop
        self._left -= 1
        super().note(begin, end, rows)


def make_trainer(traces, capacity=16):
    def step(state, batch, key):
        traces.append(1)
        noise = jax.random.normal(key)
        return state + batch.images.mean() + noise, {"loss": state.sum()}

    trainer = Trainer(capacity=capacity, batch_size=4, max_steps=3, devices=jax.devices()[:1])
    dispatcher = trainer.create_dispatcher(lambda axis_name: step)

    def train(images, *borders, begin=lambda state: state, **options):
        """Train from one border to the next, each time as a stage of its own."""
        stages = [
            LoopStage(first, last, dispatcher, begin)
            for first, last in itertools.pairwise((0, *borders))
        ]
        return trainer.train(jnp.zeros(()), images, stages=stages, **options)

    return train


def test_sets_of_any_size_share_one_program():
    traces = []
    train = make_trainer(traces)
    for num, seed in ((6, 0), (16, 1)):
        train(make_image_set(num), 7, seed=seed, notes=Curves())
    assert len(traces) <= 2  # shapes first, then the program; never again for another set


@pytest.mark.parametrize(("kind", "size"), [("generator", 32), ("classifier", 24)])
def test_a_lab_compiles_nothing_for_its_second_training(kind, size, tmp_path, caplog):
    """To draw the first parameters takes XLA longer than a short training."""
    devices = jax.devices()[:1]

    def create_job(seed):
        images = make_image_set(12 + 2 * seed, size, seed=seed)
        if kind == "generator":
            return generator_lab.create_job(images, name="g", seed=seed)
        return classifier_lab.create_job(
            name="c", train=images, test=images, record={}, is_classic=False, seed=seed
        )

    settings = make_study_settings(holdout=0.2)
    generator_lab = GeneratorLab(settings, capacity=16, devices=devices)
    classifier_lab = ClassifierLab(settings, num_classes=2, capacity=16, devices=devices)
    compilations = []
    for seed in (0, 1):
        caplog.clear()
        with jax.log_compiles(True):
            result = create_job(seed).compute(tmp_path / "partial")
            if kind == "generator":
                trained = {**result, "record": np.array(str(seed))}
                drawing = generator_lab.create_drawing(trained, name="d", seed=seed, num=9 + seed)
                drawing.compute(tmp_path / "partial")
        compilations.append(caplog.text.count("Finished XLA compilation"))
    assert compilations[0] > 0 == compilations[1]


def test_a_training_goes_on_where_it_was_cut_with_the_same_bits(tmp_path):
    images, train = make_image_set(10), make_trainer([])
    options = {"seed": 3, "partial": tmp_path / "p", "save_every_seconds": 1e-9}
    whole_notes = Curves()
    whole = train(images, 20, seed=3, notes=whole_notes)
    with pytest.raises(Stop):
        train(images, 20, notes=StoppingCurves(5), **options)
    notes = Curves()
    assert train(images, 20, notes=notes, **options) == whole
    for name, curve in whole_notes.to_arrays().items():
        np.testing.assert_array_equal(curve, notes.to_arrays()[name])


def test_a_training_that_was_cut_by_another_version_begins_anew(tmp_path, capsys):
    """Whose state had other fields: of it nothing can be taken."""
    images, trained = make_image_set(10), []
    for fields, notes in (("a", StoppingCurves(2)), ("ab", Curves())):
        trainer = Trainer(capacity=10, batch_size=4, max_steps=3, devices=jax.devices()[:1])
        dispatcher = trainer.create_dispatcher(lambda axis_name: count_steps)
        options = {"seed": 3, "partial": tmp_path / "p", "save_every_seconds": 1e-9}
        stages = [LoopStage(0, 12, dispatcher)]
        with contextlib.suppress(Stop):
            state = dict.fromkeys(fields, jnp.zeros(()))
            trained.append(trainer.train(state, images, stages=stages, notes=notes, **options))
    assert trained == [{"a": 12.0, "b": 12.0}]
    assert "by another version of jaxgan: this job begins again" in capsys.readouterr().out


def count_steps(state, batch, key):
    return {name: value + 1 for name, value in state.items()}, {"loss": state["a"]}


@pytest.mark.parametrize("num_dispatches", [1, 2, 3, 4])
def test_a_training_of_two_stages_goes_on_where_it_was_cut(tmp_path, num_dispatches):
    """Also where that is exactly between the stages, after 6 steps: then the second begins."""
    images, train, begun = make_image_set(10), make_trainer([]), []

    def begin(state):
        begun.append(state)
        return state + 100.0

    stages = (images, 6, 15)
    whole = train(*stages, begin=begin, seed=3, notes=Curves())
    assert len(begun) == 2 and whole > 150.0
    options = {"begin": begin, "seed": 3, "partial": tmp_path / "p", "save_every_seconds": 1e-9}
    with pytest.raises(Stop):
        train(*stages, notes=StoppingCurves(num_dispatches), **options)
    assert train(*stages, notes=Curves(), **options) == whole


def test_each_rule_selects_from_what_was_made():
    images = np.arange(6, dtype=np.uint8).reshape(6, 1, 1, 1)
    generated = {
        "images": images,
        "scores": np.array([0.1, 0.9, 0.2, 0.8, 0.7, 0.0]),
        "code_images": images[5:],
    }

    def keep(num_candidates):
        request = Request(
            class_name="left",
            label=0,
            real=make_image_set(1),
            num=2,
            num_candidates=num_candidates,
            image_size=1,
            threshold=0.75,
            seed=0,
            gan_seed=0,
            generated=generated,
        )
        sources = (UNFILTERED, PAPER_TEXT, PAPER_CODE)
        return {s.name: s.take(request).images.ravel().tolist() for s in sources}

    assert keep(6) == {"unfiltered": [0, 1], "paper_text": [1, 3], "paper_code": [5]}
    assert keep(3) == {"unfiltered": [0, 1], "paper_text": [1], "paper_code": [5]}


def test_masks_show_what_they_say():
    images = np.full((1, 32, 32, 1), 9, np.uint8)
    frame, hole = (
        mask_images(images, "frame")[0, ..., 0],
        mask_images(images, "centre_black")[0, ..., 0],
    )
    assert frame[2].all() and not frame[3:29, 3:29].any()
    assert hole[5].all() and not hole[6:26, 6:26].any()


def test_the_intensities_alone_are_the_histogram_without_a_place():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    shuffled = rng.permuted(images.reshape(2, 64, 3), axis=1).reshape(images.shape)
    seen = mask_images(images, "intensities")
    np.testing.assert_array_equal(mask_images(shuffled, "intensities"), seen)
    for channel in range(3):
        counts, expected = (np.bincount(x[1, ..., channel].ravel()) for x in (seen, images))
        np.testing.assert_array_equal(counts, expected)


def test_a_frame_that_tells_the_class_comes_before_the_verdict():
    images = make_image_set(60)
    pixels = np.random.default_rng(0).integers(0, 40, images.images.shape, dtype=np.uint8)
    pixels[images.labels == 1, :2] = 200  # the class is in the outer frame and nowhere else
    leaky = ImageSet(pixels, images.labels, images.files, images.patients)
    folds = np.arange(60) // 2 % 3
    audit = run_probes(leaky, folds, {}, ["x"] * 30 + ["y"] * 30)
    assert audit.probe["frame"] > 0.95
    assert audit.describe().startswith("Beware of a shortcut")
    assert audit.sources["within"]["x"]["balanced_accuracy"] > 0.95
    honest = Audit(0.5, {"whole": 0.9, "frame": 0.55}, {}, {})
    assert honest.describe() is None


def test_a_generator_that_copies_test_images_is_found_out():
    data = make_dataset(num_train=40, num_val=20)
    honest = compute_nearness(make_image_set(30, seed=7).images, data.train, data.val, seed=0)
    assert not summarise([honest])["suspicious"]
    copying = compute_nearness(data.val.images, data.train, data.val, seed=0)
    assert summarise([copying])["suspicious"]
    assert copying.test_shares.mean() > 0.95


def test_what_comes_from_files_is_escaped_in_pages_and_cards():
    """A class may be called anything that a folder can be called."""
    environment = page.create_environment()
    texts = {
        name: environment.loader.get_source(environment, name)[0]
        for name in ("report.html.j2", "card.md.j2", "summary.md.j2")
    }
    assert not any("safe" in re.findall(r"\|\s*(\w+)", text) for text in texts.values())
    assert "{{ class_name | plain }}" in texts["card.md.j2"]
    assert "{{ report.data.name | plain }}" in texts["summary.md.j2"]
    environment.loader = jinja2.DictLoader({"a.html.j2": "{{ x }}", "a.md.j2": "{{ x | plain }}"})
    name = "<img src=x onerror=alert(1)>|`"
    shown = environment.get_template("a.html.j2").render(x=name)
    assert shown == "&lt;img src=x onerror=alert(1)&gt;|`"
    shown = environment.get_template("a.md.j2").render(x=name)
    assert shown == r"\<img src=x onerror=alert(1)\>\|\`"


def test_an_epoch_of_a_study_s_rates_is_the_same_for_every_arm():
    """By the real images: 5 updates of 8 are 2.5 epochs of 16 images."""
    pace = classifiers_module._create_pace(make_study_settings(num_updates=5), 16)
    assert (pace.epoch_ends, pace.num_steps) == ((2, 4, 6), 5)
    optimizer = OptimizerSettings(
        name="sgd",
        learning_rate=0.1,
        momentum=0.0,
        schedule=ScheduleSettings(name="cosine", warmup_epochs=3),
    )
    with pytest.raises(UserError, match="warmup_epochs is 3, expected fewer than the run has, 3"):
        classifiers_module._create_pace(make_study_settings(num_updates=5, optimizer=optimizer), 16)


def test_a_job_s_record_notes_a_schedule_only_where_the_rate_changes():
    lab = {"num_classes": 2, "capacity": 16, "devices": jax.devices()[:1], "epoch_images": 12}
    given = {"name": "c", "train": make_image_set(4, 24), "test": make_image_set(2, 24)}
    given |= {"record": {}, "is_classic": False, "seed": 0}
    records = []
    for name in ("constant", "step"):
        schedule = ScheduleSettings(name=name)
        optimizer = replace(make_study_settings().optimizer, schedule=schedule)
        settings = make_study_settings(optimizer=optimizer)
        records.append(ClassifierLab(settings, **lab).create_job(**given).record)
    usual, varied = records
    assert varied.pop("epoch_images") == 12
    assert varied["settings"].pop("schedule")["name"] == "step"
    assert varied == usual
