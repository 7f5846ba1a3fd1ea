import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import RidgeClassifier
from sklearn.metrics import balanced_accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from jaxgan.core.errors import UserError
from jaxgan.data.phantom import (
    FILM,
    FINDINGS,
    TABLE_1,
    PhantomFilm,
    create_exposure,
    draw_film,
    draw_finding,
    plan_films,
    plan_splits,
)
from jaxgan.data.phantom_anatomy import Posture, create_anatomy, draw_thorax


def _draw(films, *, size=64, **settings):
    images = [
        draw_film(seed=0, patient=f.patient, film=f.film, finding=f.finding, size=size, **settings)
        for f in films
    ]
    return np.stack(images), np.array([FINDINGS.index(f.finding) for f in films])


def _reduce(images, factor):
    num, size, _ = images.shape
    small = size // factor
    return images.reshape(num, small, factor, small, factor).mean((2, 4))


@pytest.fixture(scope="module")
def probe_sets():
    counts = {split: dict.fromkeys(FINDINGS, 30) for split in ("train", "test")}
    plan = plan_splits(counts=counts, seed=3)
    return _draw(plan["train"]), _draw(plan["test"])


def _measure_linear_probe(train, test):
    """Balanced accuracy of a strongly regularised linear classifier, features [num, features]."""
    probe = make_pipeline(StandardScaler(), RidgeClassifier(alpha=300.0))
    probe.fit(train[0].reshape(len(train[0]), -1), train[1])
    return balanced_accuracy_score(test[1], probe.predict(test[0].reshape(len(test[0]), -1)))


# The plan


def test_plan_meets_table_1_exactly():
    assert {split: dict(counts) for split, counts in TABLE_1.items()} == {
        "train": {"covid": 155, "normal": 168, "pneumonia": 104},
        "val": {"covid": 33, "normal": 33, "pneumonia": 22},
    }
    for split, films in plan_splits(seed=0).items():
        found = {finding: sum(f.finding == finding for f in films) for finding in FINDINGS}
        assert found == dict(TABLE_1[split])
        assert len(set(films)) == len(films)


def test_plan_gives_each_patient_one_split_one_finding_and_one_to_four_films():
    plan = plan_splits(seed=0)
    patients = {split: {f.patient for f in films} for split, films in plan.items()}
    assert not patients["train"] & patients["val"]
    films = plan["train"] + plan["val"]
    findings: dict[int, set[str]] = {
        patient: set() for patient in patients["train"] | patients["val"]
    }
    numbers: dict[int, list[int]] = {patient: [] for patient in findings}
    for f in films:
        findings[f.patient].add(f.finding)
        numbers[f.patient].append(f.film)
    assert all(len(found) == 1 for found in findings.values())
    assert all(found == list(range(len(found))) for found in numbers.values())
    assert {len(found) for found in numbers.values()} == {1, 2, 3, 4}


def test_plan_starts_where_told_and_names_patients():
    films = plan_films(counts={"covid": 5}, first_patient=123, seed=0)
    assert films[0] == PhantomFilm("covid", 123, 0)
    assert films[0].patient_id == "phantom-000123"
    assert films == plan_films(counts={"covid": 5}, first_patient=123, seed=0)


# One film


def test_film_is_the_same_in_any_order_and_any_process():
    code = (
        "import sys; from jaxgan.data.phantom import draw_film\n"
        "for patient in range(12):\n"
        "  film = draw_film(seed=7, patient=patient, film=1, finding='covid')\n"
        "  sys.stdout.buffer.write(film.tobytes())"
    )
    one_thread = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    elsewhere = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, env=one_thread
    )
    films = [
        draw_film(seed=7, patient=patient, film=1, finding="covid")
        for patient in reversed(range(12))
    ]
    assert b"".join(film.tobytes() for film in reversed(films)) == elsewhere.stdout
    assert films[0].shape == (256, 256) and films[0].dtype == np.uint8


@pytest.mark.parametrize("change", [{"seed": 8}, {"patient": 5}, {"film": 0}])
def test_seed_patient_and_film_each_make_another_picture(change):
    settings: dict[str, Any] = {"seed": 7, "patient": 4, "film": 1, "finding": "normal", "size": 64}
    first, second = draw_film(**settings), draw_film(**(settings | change))
    assert np.abs(first.astype(float) - second).mean() > 3.0


@pytest.mark.parametrize("finding", FINDINGS)
def test_sizes_show_the_same_picture(finding):
    for patient in range(3):
        settings: dict[str, Any] = {"seed": 0, "patient": patient, "film": 0, "finding": finding}
        large = draw_film(**settings, size=256).astype(float)
        small = draw_film(**settings, size=64)
        middle = draw_film(**settings, size=128)
        assert np.corrcoef(_reduce(large[None], 4).ravel(), small.ravel())[0, 1] > 0.98
        assert np.abs(_reduce(middle[None].astype(float), 2)[0] - small).mean() < 1.0


def test_films_of_one_patient_resemble_each_other():
    films = [PhantomFilm("normal", patient, film) for patient in range(20) for film in range(2)]
    images = _draw(films)[0].reshape(len(films), -1)
    likeness = np.corrcoef(images)
    patients = np.array([f.patient for f in films])
    same = patients[:, None] == patients
    others = likeness[~same].mean()
    assert likeness[same & ~np.eye(len(films), dtype=bool)].mean() > others + 0.02
    assert others > 0.5  # and all are chests


def test_lungs_are_dark_between_bright_mediastinum_and_abdomen():
    images = _draw([PhantomFilm("normal", patient, 0) for patient in range(20)])[0]
    mean = images.mean(axis=0)
    right_lung, left_lung = mean[20:32, 16:22].mean(), mean[16:26, 42:47].mean()
    assert mean[20:36, 30:35].mean() > max(right_lung, left_lung) + 50
    assert mean[54:60, 20:44].mean() > max(right_lung, left_lung) + 50
    assert mean[30:38, 37:43].mean() > mean[30:38, 21:27].mean() + 20  # the heart lies left


# Findings


@pytest.mark.parametrize("finding", ["covid", "pneumonia"])
def test_finding_lies_in_the_lungs_and_grows_as_subtlety_falls(finding):
    thorax = _draw_reference_thorax()
    in_lungs = thorax.air > 0
    totals = []
    for subtlety in (0.0, 0.5, 1.0):
        added = draw_finding(np.random.default_rng(1), thorax, finding, subtlety)
        assert added.min() >= 0 and added[~in_lungs].max() == 0
        totals.append(added.sum())
    assert totals[0] > 1.5 * totals[1] > 10 * totals[2] > 0


@pytest.mark.parametrize("finding", ["covid", "pneumonia"])
def test_finding_shows_on_the_film_and_leaves_the_rest_alone(finding):
    settings: dict[str, Any] = {"seed": 0, "film": 0, "size": 64}
    changes = []
    for patient in range(6):
        healthy = draw_film(patient=patient, finding="normal", **settings).astype(float)
        changes.append(
            [
                np.abs(
                    draw_film(patient=patient, finding=finding, subtlety=s, **settings) - healthy
                )
                for s in (0.0, 0.5, 1.0)
            ]
        )
    obvious, default, subtle = np.mean(changes, axis=(0, 2, 3))
    assert obvious > 1.4 * default > 5 * subtle
    where = np.mean(changes, axis=(0, 1))
    assert where[18:44].mean() > 4 * where[-6:].mean()
    assert where[:, 8:56].mean() > 3 * np.delete(where, np.s_[4:60], axis=1).mean()


def test_ground_glass_is_bilateral_peripheral_and_low_and_consolidation_is_not():
    thorax = _draw_reference_thorax()
    size = len(thorax.lateral)
    place = (np.arange(size) + 0.5) / size - 0.5
    one_sided, outward, low = {}, {}, {}
    for finding in ("covid", "pneumonia"):
        added = np.stack(
            [draw_finding(np.random.default_rng(i), thorax, finding, 0.5) for i in range(30)]
        )
        sides = np.stack([added[..., : size // 2].sum((1, 2)), added[..., size // 2 :].sum((1, 2))])
        one_sided[finding] = np.mean(np.abs(sides[0] - sides[1]) / sides.sum(axis=0))
        outward[finding] = np.average(np.abs(place), weights=added.sum((0, 1)))
        low[finding] = np.average(place, weights=added.sum((0, 2)))
    assert one_sided["covid"] < 0.45 < 0.7 < one_sided["pneumonia"]
    assert outward["covid"] > outward["pneumonia"] + 0.03
    assert low["covid"] > low["pneumonia"] + 0.01


# What a classifier can learn, and from what


def test_finding_can_be_learned_but_not_read_off(probe_sets):
    train, test = ((_reduce(images, 2), labels) for images, labels in probe_sets)
    assert 0.40 < _measure_linear_probe(train, test) < 0.75


def test_frame_and_intensity_statistics_do_not_give_the_finding_away(probe_sets):
    framed, measured = [], []
    for images, labels in probe_sets:
        framed.append((np.delete(images.reshape(len(images), -1), _inner_pixels(), axis=1), labels))
        measured.append((_compute_statistics(images), labels))
    assert _measure_linear_probe(*framed) < 0.45
    assert _measure_linear_probe(*measured) < 0.48


def _inner_pixels():
    inner = np.zeros((64, 64), bool)
    inner[6:-6, 6:-6] = True
    return np.flatnonzero(inner)


def _compute_statistics(images):
    percentiles = np.percentile(images, [1, 10, 25, 50, 75, 90, 99], axis=(1, 2)).T
    return np.column_stack([images.mean((1, 2)), images.std((1, 2)), percentiles])


def _draw_reference_thorax():
    posture = Posture(inspiration=0.0, yaw=0.0, shrug=0.0, crowding=0.1)
    return draw_thorax(create_anatomy(np.random.default_rng(0)), posture)


def test_exposure_does_not_know_the_finding():
    """The film's own stream must not move when the finding takes random numbers."""
    healthy = draw_film(seed=0, patient=0, film=0, finding="normal", subtlety=1.0)
    ill = draw_film(seed=0, patient=0, film=0, finding="covid", subtlety=1.0)
    abdomen = np.s_[FILM - 20 :, :]
    assert np.abs(healthy[abdomen].astype(int) - ill[abdomen]).max() <= 1
    anatomy = create_anatomy(np.random.default_rng(0))
    exposures = [create_exposure(np.random.default_rng(i), anatomy) for i in range(200)]
    assert np.std([e.gamma for e in exposures]) > 0.15


# Mistakes


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"finding": "flu"}, "'flu'.*covid, normal, pneumonia"),
        ({"subtlety": 1.5}, "subtlety is 1.5.*0 to 1"),
        ({"subtlety": float("nan")}, "subtlety is nan.*0 to 1"),
        ({"size": 8}, "size is 8.*16 to 256"),
        ({"size": 512}, "size is 512.*16 to 256"),
        ({"patient": -1}, "patient is -1"),
    ],
)
def test_mistakes_are_named(change, message):
    settings: dict[str, Any] = {"seed": 0, "patient": 0, "film": 0, "finding": "normal", "size": 64}
    with pytest.raises(UserError, match=message):
        draw_film(**(settings | change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"counts": {"flu": 1}}, "'flu'"),
        ({"counts": {"covid": -1}}, "the count of covid is -1"),
        ({"first_patient": -1}, "first_patient is -1"),
    ],
)
def test_mistakes_in_a_plan_are_named(change, message):
    settings: dict[str, Any] = {"counts": {"covid": 1}, "first_patient": 0, "seed": 0}
    with pytest.raises(UserError, match=message):
        plan_films(**(settings | change))
