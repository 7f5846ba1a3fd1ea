"""Hand-made leaks are caught, each with a sentence, and films of two patients are no copies."""

import numpy as np
import pytest

from jaxgan.core.errors import UserError
from jaxgan.data.leaks import (
    check_sides,
    describe_copies,
    describe_splits,
    find_copies,
    group_patients,
)
from jaxgan.data.sets import ImageSet
from tests.test_copies import draw, reencode


@pytest.fixture(scope="module")
def films():
    return draw(12)


def make_set(images, names):
    return ImageSet(images, np.zeros(len(images), np.int32), tuple(names), tuple(names))


def test_different_patients_are_no_copies(films):
    names = [f"p{i}" for i in range(len(films))]
    assert len(find_copies(make_set(films, names))) == 0
    check_sides(make_set(films[:6], names[:6]), make_set(films[6:], names[6:]), where="fold 1")


def test_the_same_patient_on_both_sides(films):
    train = make_set(films[:6], ["anna", "b", "c", "d", "e", "f"])
    test = make_set(films[6:8], ["anna", "g"])
    with pytest.raises(UserError, match=r"1 patient\(s\) are in training and test.*anna"):
        check_sides(train, test, where="fold 1")


def test_a_reencoded_test_image_under_another_name(films):
    train = make_set(np.concatenate([films[:5], reencode(films[7])[None]]), [*"abcde", "copy"])
    test = make_set(films[6:9], ["g", "original", "i"])
    with pytest.raises(UserError, match=r"1 test image\(s\) are copies.*original of copy"):
        check_sides(train, test, where="fold 1")
    assert "copies" in describe_splits({"train": train, "val": test})[0]


def test_every_leak_between_splits_has_a_sentence_with_their_names(films):
    train = make_set(films[:6], ["anna", *"bcdef"])
    val = make_set(np.concatenate([films[6:8], reencode(films[2])[None]]), ["anna", "g", "copy"])
    test = make_set(np.stack([films[9], films[7], reencode(films[7])]), ["h", "i", "j"])
    shared, copied, between = describe_splits({"train": train, "val": val, "test": test})
    assert "In train and val as given 1 patient(s) are in train and val (such as anna)" in shared
    assert "1 val image(s) are copies of train images (such as copy of c)" in copied
    assert "In val and test as given 2 test image(s) are copies of val images" in between


def test_copies_among_all_images_are_counted_and_those_of_two_classes_told(films):
    images = make_set(np.concatenate([films[:3], reencode(films[0])[None]]), [*"abcd"])
    said = describe_copies(images, find_copies(images))
    assert said.startswith("1 pair(s) of images") and "(such as a and d)" in said
    assert "two different classes" not in said
    images.labels[3] = 1
    said = describe_copies(images, find_copies(images))
    assert said.endswith("1 of the pairs have two different classes.")
    few = images.take(np.arange(3))
    assert describe_copies(few, find_copies(few)) is None


def test_patients_who_share_an_image_are_dealt_as_one(films):
    images = make_set(np.concatenate([films[:3], reencode(films[0])[None]]), ["a", "b", "c", "d"])
    groups = group_patients(images.patients, find_copies(images))
    assert groups[0] == groups[3] and len(set(groups)) == 3
