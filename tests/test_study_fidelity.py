"""What a study says of its generators: sentences from planted numbers, and a small study's jobs."""

import json

import pytest

from jaxgan.data.sets import Dataset
from jaxgan.evaluation import fidelity as measuring
from jaxgan.evaluation import imagenet
from jaxgan.study import fidelity, run
from jaxgan.study.page import write_study
from tests.helpers import make_image_set, make_study_settings

NUM, SIDE = 48, 32
NAMES = ("left", "right")


def make_measured(ratio, strength=None, relation="as"):
    place = {"relation": relation, "strength": strength, "interval": None}
    score = {"value": 2.0 * ratio, "floor": 2.0}
    return {"score": score, "blur": strength and place, "reason": None}


def test_generators_that_cannot_be_measured_are_said_to_be_unknown():
    few = {"score": None, "blur": None, "sentence": None, "reason": "the generated images are 3"}
    found = fidelity.summarise({"pyramid": {(0, 0, 0): few}}, NAMES, side=SIDE)
    assert found["sentence"].startswith("The quality of the generated images is not known: the gen")
    assert [row["generators"] for row in found["classes"]] == [0, 0]


def test_a_class_has_the_mean_of_its_folds_and_their_range():
    places = {(fold, 0, label): (fold, label) for fold in range(2) for label in range(2)}
    texture = {p: make_measured(1.0 + fold + 10 * label) for p, (fold, label) in places.items()}
    outside = {p: make_measured(3.0, 1.0 + fold + label) for p, (fold, label) in places.items()}
    found = fidelity.summarise({"pyramid": texture, "outside": outside}, NAMES, side=64)
    left, right = found["classes"]
    assert left["pyramid"] == {"mean": 1.5, "min": 1.0, "max": 2.0}
    assert right["pyramid"] == {"mean": 11.5, "min": 11.0, "max": 12.0}
    assert right["blur"] == {"mean": 2.5, "min": 2.0, "max": 3.0, "relation": "as"}
    assert found["sentence"] == (
        "The generated images were as far from real ones as real images blurred by 2.0 pixels (of "
        "64); by generator 1.0 to 3.0. In texture (pyramid): 6.5 times the floor."
    )
    alone = fidelity.summarise({"pyramid": texture}, NAMES, side=64)
    assert alone["classes"][0]["outside"] is None
    assert "by texture alone (pyramid): 6.5 times the floor. Install jaxgan[im" in alone["sentence"]


@pytest.mark.parametrize(
    ("relations", "words"),
    [
        (("less", "less"), "no farther from real ones than chance allows, which hides a blur of"),
        (("less", "as"), "blurred by at most 1.5 pixels"),
        (("more", "as"), "blurred by more than 1.5 pixels"),
        (("more", "less"), "blurred by about 1.5 pixels"),
    ],
)
def test_limits_are_told_as_limits(relations, words):
    outside = {
        (fold, 0, 0): make_measured(3.0, 1.0 + fold, relation)
        for fold, relation in enumerate(relations)
    }
    found = fidelity.summarise({"pyramid": outside, "outside": outside}, NAMES, side=64)
    assert words in found["sentence"]


def test_no_blur_that_the_ruler_sees_leaves_the_floors():
    found = {(0, 0, 0): make_measured(3.0)}
    told = fidelity.summarise({"pyramid": found, "outside": found}, NAMES, side=64)["sentence"]
    assert "3.0 times the floor from real ones in the outside ruler" in told
    assert fidelity.summarise({}, NAMES, side=64) is None


# The jobs of a study ----------------------------------------------------------------------------


def run_small(folder, **changes):
    data = [
        Dataset("made", NAMES, {"train": make_image_set(96, size)}, "f" * 64) for size in (24, SIDE)
    ]
    settings = make_study_settings(gan_epochs=1, gan_batch_size=8, pool=1.0, **changes)
    return run.run_jobs(
        settings, dataset=data[0], gan_dataset=data[1], workdir=folder, num_devices=1
    )


def list_kinds(folder):
    return sorted(path.name.partition("-")[0] for path in folder.glob("jobs/*.npz"))


def test_a_study_measures_each_generator_once_and_says_so(tmp_path, monkeypatch):
    """A study that was finished before gains only what it lacks: here, the second ruler."""
    monkeypatch.setattr(imagenet, "is_installed", lambda: False)
    results = run_small(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("jobs/*.npz")}
    assert list_kinds(tmp_path).count("pyramid") == 4 and "outside" not in list_kinds(tmp_path)
    alone = write_study(results, tmp_path, command="c")
    assert "by texture alone (pyramid)" in alone["fidelity"]["sentence"]

    real = dict.fromkeys(("value", "floor"), 1.0) | {"interval": [0.5, 1.5], "n": 9}
    place = {"relation": "as", "strength": 1.5, "interval": None}
    blurred = {"degradations": {"blur": place}, "sentence": "as far as blurred ones"}
    monkeypatch.setattr(imagenet, "is_installed", lambda: True)
    monkeypatch.setattr(imagenet, "fit_imagenet_features", lambda images: None)
    space = {"kernel_distance": real}
    monkeypatch.setattr(measuring, "measure_kernel_distance", lambda *args: space)
    monkeypatch.setattr(measuring.equivalent, "measure_equivalent", lambda *a, **o: blurred)
    results = run_small(tmp_path)
    after = {path: path.stat().st_mtime_ns for path in tmp_path.glob("jobs/*.npz")}
    assert {path: after[path] for path in before} == before
    assert {p.name.partition("-")[0] for p in after.keys() - before.keys()} == {"outside"}
    write_study(results, tmp_path, command="c")
    sentence = "as far from real ones as real images blurred by 1.5 pixels (of 32)"
    report = json.loads((tmp_path / "report.json").read_text())
    assert sentence in report["fidelity"]["sentence"]
    assert len(report["fidelity"]["by_generator"]["outside"]) == 4
    page, summary = ((tmp_path / n).read_text() for n in ("report.html", "summary.md"))
    assert page.index("data-verdict") < page.index(sentence) < page.index("<nav")
    assert page.count("1.5 (1.5 to 1.5)") == summary.count("1.5 (1.5 to 1.5)") == 2
    assert "| left | 2 | " in summary and "blurred by 1.5 pixels" in summary


def test_test_images_have_no_part_in_it(tmp_path, monkeypatch):
    seen = []

    def note(ruler, generated, train, label):
        seen.append((generated, train))
        return {"score": None, "blur": None, "reason": "made"}

    monkeypatch.setattr(imagenet, "is_installed", lambda: False)
    monkeypatch.setattr(fidelity, "measure", note)
    results = run_small(tmp_path)
    for fold, (_, train) in zip((0, 0, 1, 1), seen, strict=True):
        assert train.files == results.gan_folds.get_train(fold).files
        assert not set(train.patients) & set(results.gan_folds.get_test(fold).patients)


def test_a_study_without_generated_images_measures_none(tmp_path):
    results = run_small(tmp_path, arms=("real", "duplicates"), amount_arms=("duplicates",))
    assert not results.fidelity
    report = write_study(results, tmp_path, command="c")
    assert report["fidelity"] is None
    assert "How good they are" not in (tmp_path / "report.html").read_text()
