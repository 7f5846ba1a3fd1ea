import hashlib
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxgan.core.errors import UserError
from jaxgan.data import split
from jaxgan.data.split import find_shared_patients, hold_out, split_by_patient
from tests.helpers import make_image_set, replace

FRACTIONS = {"train": 0.8, "val": 0.2}


def create_patients(seed=0, num_patients=90, num_classes=3):
    """Patients of one class each, with 1 to 4 images."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 5, num_patients)
    classes = np.arange(num_patients) % num_classes
    labels = np.repeat(classes, sizes)
    patients = np.repeat([f"p{n}" for n in range(num_patients)], sizes)
    return labels, list(patients)


def test_a_patient_is_in_one_split_and_every_image_in_one():
    labels, patients = create_patients()
    splits = split_by_patient(labels, patients, FRACTIONS, seed=0)
    assert sorted(np.concatenate(list(splits.values()))) == list(range(len(labels)))
    ids = {name: {patients[i] for i in indices} for name, indices in splits.items()}
    assert not ids["train"] & ids["val"]


def test_each_class_is_divided_as_asked():
    labels, patients = create_patients()
    for seed in range(5):
        val = split_by_patient(labels, patients, FRACTIONS, seed)["val"]
        share = np.bincount(labels[val]) / np.bincount(labels)
        np.testing.assert_allclose(share, 0.2, atol=0.03)


def test_large_families_do_not_swamp_a_small_split():
    labels = np.array([0] * 54 + [1] * 54)
    patients = (["big0"] * 50 + list("abcd")) + (["big1"] * 50 + list("efgh"))
    splits = split_by_patient(labels, patients, FRACTIONS, seed=3)
    assert np.bincount(labels[splits["val"]]).max() <= 4


def test_a_deal_that_is_good_enough_is_taken(monkeypatch):
    """Single images of 400 patients come out within a hundredth at once."""
    deals, deal = [], split._deal
    monkeypatch.setattr(split, "_deal", lambda *args: deals.append(1) or deal(*args))
    split_by_patient(np.arange(400) % 2, [f"p{n}" for n in range(400)], FRACTIONS, seed=0)
    assert len(deals) == 1
    labels, patients = create_patients(num_patients=9)
    split_by_patient(labels, patients, FRACTIONS, seed=0)
    assert len(deals) == 1 + split.NUM_ATTEMPTS


def test_three_splits():
    labels, patients = create_patients(num_patients=300)
    fractions = {"train": 0.7, "val": 0.1, "test": 0.2}
    splits = split_by_patient(labels, patients, fractions, seed=0)
    shares = {name: len(indices) / len(labels) for name, indices in splits.items()}
    assert shares == pytest.approx(fractions, abs=0.02)


def test_the_seed_matters_and_the_order_of_the_images_does_not():
    labels, patients = create_patients()
    order = np.random.default_rng(5).permutation(len(labels))

    def val_patients(labels, patients, seed):
        indices = split_by_patient(labels, patients, FRACTIONS, seed)["val"]
        return {patients[i] for i in indices}

    first = val_patients(labels, patients, seed=0)
    assert first == val_patients(labels[order], [patients[i] for i in order], seed=0)
    assert first != val_patients(labels, patients, seed=1)


def test_the_split_is_the_same_on_every_machine():
    labels, patients = create_patients(num_patients=12)
    val = split_by_patient(labels, patients, FRACTIONS, seed=0)["val"]
    assert sorted({patients[i] for i in val}) == ["p3", "p7", "p8"]


def test_splits_stay_what_they_were():
    """A split defines who validates: another version of jaxgan must not deal the patients anew."""
    digest, num_refused = hashlib.sha256(), 0
    for seed in range(150):
        rng = np.random.default_rng(seed)
        num = int(rng.integers(4, 40))
        labels = rng.integers(0, rng.integers(1, 4), num)
        patients = [f"p{n}" for n in rng.integers(0, rng.integers(3, 14), num)]
        fractions = (FRACTIONS, {"train": 0.6, "val": 0.2, "test": 0.2})[seed % 2]
        try:
            splits = split_by_patient(labels, patients, fractions, seed)
        except UserError:
            num_refused += 1
            continue
        digest.update(json.dumps([splits[name].tolist() for name in fractions]).encode())
    assert num_refused == 23
    assert digest.hexdigest()[:16] == "b85084b563c7b901"


def test_one_class_alone_is_split_too():
    """So is a class of its own, into what a GAN learns and what is held out."""
    splits = split_by_patient(np.zeros(9, int), [f"p{n // 3}" for n in range(9)], FRACTIONS, seed=0)
    assert {name: len(indices) for name, indices in splits.items()} == {"train": 6, "val": 3}


def test_two_patients_a_class_go_one_to_each_split():
    labels = np.array([0] * 10 + [1] * 10)
    patients = ["a"] * 5 + ["b"] * 5 + ["c"] * 9 + ["d"]
    splits = split_by_patient(labels, patients, FRACTIONS, seed=0)
    for indices in splits.values():
        assert set(labels[indices]) == {0, 1}


def test_too_few_patients_name_the_class():
    labels = np.array([0] * 10 + [1] * 10)
    patients = [f"p{n}" for n in range(10)] + ["one"] * 10
    with pytest.raises(UserError, match=r"class 'haze' has images of 1 patient.*at least 2"):
        split_by_patient(labels, patients, FRACTIONS, seed=0, class_names=["clear", "haze"])


def test_impossible_split_is_an_error():
    labels = np.array([0, 1, 1, 2, 2, 0])
    patients = ["a", "a", "b", "b", "c", "c"]  # each class in two of three linked patients
    with pytest.raises(UserError, match="no split into train and val found"):
        split_by_patient(labels, patients, FRACTIONS, seed=0)


@pytest.mark.parametrize("fractions", [{"train": 0.5, "val": 0.4}, {"train": 1.0, "val": 0.0}, {}])
def test_fractions_have_to_sum_to_one(fractions):
    labels, patients = create_patients()
    with pytest.raises(UserError, match="sum to 1"):
        split_by_patient(labels, patients, fractions, seed=0)


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 9)), min_size=1, max_size=40))
def test_any_input_is_split_wholly_or_refused(images):
    labels = np.array([label for label, _ in images])
    patients = [f"p{patient}" for _, patient in images]
    try:
        splits = split_by_patient(labels, patients, FRACTIONS, seed=0)
    except UserError:
        return
    assert sorted(np.concatenate(list(splits.values()))) == list(range(len(labels)))
    for indices in splits.values():
        assert set(labels[indices]) == set(labels)
    assert not find_shared_patients({n: [patients[i] for i in s] for n, s in splits.items()})


def test_find_shared_patients():
    splits = {"train": ["a", "b", "b"], "val": ["c", "b"], "test": ["d", "a", "b"]}
    assert find_shared_patients(splits) == {"a": ["train", "test"], "b": ["train", "val", "test"]}


def test_a_class_is_divided_by_patient_for_its_gan():
    images = make_image_set(40)
    images = replace(images, patients=tuple(f"p{i // 2}" for i in range(40)))
    learned, held_out = hold_out(images, 0.2, seed=0)
    assert (len(learned), len(held_out)) == (32, 8)
    assert set(learned.patients).isdisjoint(held_out.patients)
    assert sorted(learned.files + held_out.files) == sorted(images.files)
