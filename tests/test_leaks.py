"""Hand-made leaks are caught, each with a sentence, and films of two patients are no copies."""

import io

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from jaxgan import leaks
from jaxgan.data.images import write_png
from jaxgan.data.phantom import draw_film
from jaxgan.data.sets import ImageSet
from jaxgan.errors import UserError
from jaxgan.leaks import (
    check_sides,
    describe_copies,
    describe_splits,
    find_copies,
    find_copies_between,
    group_patients,
)
from jaxgan.study.sources import check_folder


def draw(num, first=0, size=64):
    films = [
        draw_film(finding="normal", patient=first + i, film=0, seed=0, size=size)
        for i in range(num)
    ]
    return np.stack(films)[..., None]


def make_set(images, names):
    return ImageSet(images, np.zeros(len(images), np.int32), tuple(names), tuple(names))


@pytest.fixture(scope="module")
def films():
    return draw(12)


def reencode(image):
    """Resize, brighten and compress, as a second publication of a film would."""
    picture = Image.fromarray(image[..., 0]).resize((90, 90)).resize((64, 64))
    buffer = io.BytesIO()
    picture.point(lambda v: min(255, int(1.08 * v + 4))).save(buffer, "JPEG", quality=60)
    return np.asarray(Image.open(io.BytesIO(buffer.getvalue())).convert("L"))[..., None]


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


def mirror(image):
    return image[:, ::-1]


def frame(image):
    """Put a black border round a film, as publishers do, and return it in the same size."""
    framed = np.pad(image[..., 0], ((12, 12), (28, 28)))
    return np.asarray(Image.fromarray(framed).resize(image.shape[1::-1]))[..., None]


def turn_and_frame(image):
    return frame(mirror(image))


@pytest.mark.parametrize("change", [mirror, frame, turn_and_frame])
def test_a_mirrored_or_framed_copy_is_found_and_nothing_else(change):
    """Of 128 pixels; a border takes too much of films of 64."""
    films = draw(12, size=128)
    found = find_copies_between(films, np.stack([change(film) for film in films]))
    assert found.pairs.tolist() == [[i, i] for i in range(len(films))]
    assert found.correlations.min() >= leaks.MIN_CORRELATION


def blend(coarse, fine, *, blur, contrast):
    """Return images uint8 [1, 64, 64, 1] of a coarse picture and details, each of its own seed."""
    far, near = (np.random.default_rng(seed).normal(size=(64, 64)) for seed in (coarse, fine))
    far, near = gaussian_filter(far, blur[0]), gaussian_filter(near, blur[1])
    values = 128 + 40 * far / far.std() + contrast * near / near.std()
    return np.clip(values, 0, 255).astype(np.uint8)[None, ..., None]


def test_alike_from_afar_is_no_copy():
    """The hashes are near; the details decide."""
    image, other = (blend(0, fine, blur=(4, 0.7), contrast=9) for fine in (1, 2))
    assert len(find_copies_between(image, image)) == 1
    assert len(find_copies_between(image, other)) == 0


def test_alike_in_details_alone_is_no_copy():
    """The details correlate; the hashes decide."""
    image, other = (blend(coarse, 1, blur=(6, 1), contrast=12) for coarse in (0, 11))
    assert len(find_copies_between(image, image // 2 + other // 2)) == 0


def test_what_has_no_content_is_a_copy_of_nothing(films):
    blank = np.full_like(films[:2], 7)
    assert len(find_copies_between(films, blank)) == 0
    marked = blank.copy()  # the same mark in two places; trimmed to it, they would be alike
    mark = np.random.default_rng(0).integers(0, 255, (12, 12, 1))
    marked[0, 4:16, 4:16], marked[1, 44:56, 40:52] = mark, mark
    assert len(find_copies_between(marked[:1], marked[1:])) == 0


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
    assert said.endswith("1 of the pairs bear two different classes.")
    few = images.take(np.arange(3))
    assert describe_copies(few, find_copies(few)) is None


def test_stacks_of_any_length_are_compared_block_by_block(films, monkeypatch):
    others = np.stack([reencode(films[10]), reencode(films[3])])
    whole = find_copies_between(films, others)
    assert whole.pairs.tolist() == [[3, 1], [10, 0]]
    monkeypatch.setattr(leaks, "_BLOCK", 4)
    parts = find_copies_between(films, others)
    np.testing.assert_array_equal(parts.pairs, whole.pairs)
    np.testing.assert_allclose(parts.correlations, whole.correlations, rtol=1e-5)
    for pair in ((films[:0], others), (films, others[:0])):
        assert find_copies_between(*pair).pairs.shape == (0, 2)


def test_patients_who_share_an_image_are_dealt_as_one(films):
    images = make_set(np.concatenate([films[:3], reencode(films[0])[None]]), ["a", "b", "c", "d"])
    groups = group_patients(images.patients, find_copies(images))
    assert groups[0] == groups[3] and len(set(groups)) == 3


def test_a_generated_image_in_the_data_folder(films, tmp_path):
    folder = tmp_path / "val" / "normal"
    folder.mkdir(parents=True)
    write_png(films[0], folder / "real.png")
    check_folder(tmp_path)
    write_png(films[1], folder / "made.png", generated=True)
    with pytest.raises(UserError, match=r"generated by jaxgan.*val/normal/made.png"):
        check_folder(tmp_path)
