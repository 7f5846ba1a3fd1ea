"""Images that a user gives as arrays."""

import numpy as np
import pytest
from PIL import Image

import jaxgan
from jaxgan.api.evaluation import create_sets
from jaxgan.core.errors import UserError
from jaxgan.data.arrays import check_images, match_form

RNG = np.random.default_rng(0)
FILMS = RNG.integers(0, 256, (48, 24, 24), np.uint8)


@pytest.mark.parametrize(
    ("images", "sentence"),
    [
        (FILMS / 255, r"float64 \[48, 24, 24\] with values from 0 to 1.*Give \(255 \* images\)"),
        (FILMS / 127.5 - 1, r"from -1 to 1: expected uint8 .*Give \(127.5 \* \(images \+ 1\)\)"),
        (FILMS * 16.0, r"to 4080: expected uint8 .*Choose the range to show"),
        (FILMS.astype(np.int64), r"Give images.astype\('uint8'\)"),
        (FILMS.astype(np.uint16) * 9, r"uint16 .*Choose the range to show"),
        (FILMS[0], r"uint8 \[24, 24\] .*For one image, give image\[None\]"),
        (FILMS[0][..., None], r"For one image, give image\[None\]"),
        (FILMS[:0], "expected one image or more"),
        (FILMS[..., None].repeat(2, axis=-1), r"\[48, 24, 24, 2\].*Move or remove"),
        (np.full((2, 3, 4), np.nan), "Some values are not finite"),
        (np.full((2, 4, 4), "a"), "Give the gray values"),
        ([FILMS[0], FILMS[0, :9]], "do not all have the same shape.*load_folder"),
    ],
)
def test_other_arrays_are_refused_with_what_to_do(images, sentence):
    with pytest.raises(UserError, match=sentence):
        check_images(images)


def test_the_advice_of_a_refusal_works():
    np.testing.assert_array_equal((255 * (FILMS / 255)).round().astype("uint8"), FILMS)
    scaled = FILMS / 127.5 - 1
    np.testing.assert_array_equal((127.5 * (scaled + 1)).round().astype("uint8"), FILMS)


def test_colour_becomes_gray_as_pillow_has_it():
    colour = RNG.integers(0, 256, (1, 24, 24, 3), np.uint8)
    found = match_form(colour, 24, 1)
    expected = np.asarray(Image.fromarray(colour[0]).convert("L"))
    assert np.abs(found[0, ..., 0].astype(int) - expected).max() <= 1


def test_arrays_are_split_by_patient():
    labels, patients = [n % 2 for n in range(48)], [f"p{n // 4}" for n in range(48)]
    data = jaxgan.load_arrays(FILMS, labels, patients)
    train, val = data.at(24).train, data.at(24).val
    assert data.class_names == ("0", "1")
    assert not set(train.patients) & set(val.patients)
    assert len(train) + len(val) == 48
    for images in (train, val):
        for image, file, label, patient in zip(
            images.images, images.files, images.labels, images.patients, strict=True
        ):
            number = int(file.removeprefix("image "))
            np.testing.assert_array_equal(image[..., 0], FILMS[number])
            assert (label, patient) == (number % 2, f"p{number // 4}")
    assert data.notices == ("20% of the images are for validation, split by patient (seed 0).",)


def test_copies_stay_on_one_side_and_the_notices_say_so():
    copied = np.concatenate([FILMS[:24], FILMS[:24, :, ::-1]])  # mirrored
    data = jaxgan.load_arrays(copied, ["a", "b"] * 24).at(24)
    number = [{int(f.split()[1]) % 24 for f in s.files} for s in (data.train, data.val)]
    assert not number[0] & number[1]
    assert "no patients are given" in data.notices[0]
    assert any("24 image(s) are copies of others" in notice for notice in data.notices)


def test_the_fingerprint_depends_on_pixels_classes_and_split():
    labels = ["a", "b"] * 24
    few = FILMS[:24]
    kinds = [
        jaxgan.load_arrays(few, labels[:24]),
        jaxgan.load_arrays(few, ["c", "b"] * 12),
        jaxgan.load_arrays(few, labels[:24], split_seed=1),
        jaxgan.load_arrays(few ^ 1, labels[:24]),
    ]
    assert len({data.shown.fingerprint for data in kinds}) == 4
    assert kinds[0].at(16).fingerprint == kinds[0].shown.fingerprint


@pytest.mark.parametrize(
    ("labels", "patients", "sentence"),
    [
        (["a"] * 9, None, r"Found labels \[9\] for 48 images"),
        (["a", "b"] * 24, ["p"], r"Found patients \[1\] for 48 images"),
        ([["a"], ["a", "b"]] * 24, None, "The labels do not all have the same shape"),
        (["a", None] * 24, None, "24 of the 48 labels are missing, such as that of image 1"),
        (["a", float("nan")] * 24, None, "24 of the 48 labels are missing"),
        (["a", "b"] * 24, [float("nan"), *range(47)], "1 of the 48 patients are missing"),
        (["..", "b"] * 24, None, "can not name the folder"),
        (["a", "b"] * 24, ["p", "q"] * 24, "patients"),
    ],
)
def test_labels_and_patients_that_do_not_fit_have_their_sentence(labels, patients, sentence):
    with pytest.raises(UserError, match=sentence):
        jaxgan.load_arrays(FILMS, labels, patients)


# What is compared ------------------------------------------------------------------------------


def test_arrays_are_compared_as_the_images_of_folders_are():
    sets = create_sets(FILMS[:20], FILMS[20:], None)
    assert len(sets.generated) == 20
    assert not sets.real.has_held_out
    assert sets.real.encoder_set[0].shape == (28, 24, 24, 1)
    other = create_sets(FILMS[:20], FILMS[20:48], FILMS[:20] ^ 255)
    assert other.real.has_held_out
    assert other.comparison != sets.comparison


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ((FILMS / 255, FILMS, None), "Found generated images of float64"),
        ((FILMS[:9], FILMS, None), "the generated images: found 9 images, expected at least 20"),
        ((FILMS, FILMS[:, :20], None), "real images are 20 x 24 pixels: expected squares"),
        ((FILMS, FILMS[:, :20, :20], None), r"real images have 20 x 20 .*Images.at\(24, 1\)"),
        ((FILMS, FILMS, FILMS[:30]), "30 of the 30 held-out images are copies of real images"),
    ],
)
def test_arrays_that_can_not_be_compared_have_their_sentence(given, sentence):
    with pytest.raises(UserError, match=sentence):
        jaxgan.evaluate(*given)


def test_a_file_of_inception_weights_is_read_first(tmp_path):
    """Before anything is trained or measured."""
    with pytest.raises(UserError, match=r"The file of weights .*nowhere\.pth is not there"):
        jaxgan.evaluate(FILMS[:20], FILMS[20:], inception=tmp_path / "nowhere.pth", out=tmp_path)
    assert list(tmp_path.iterdir()) == []
