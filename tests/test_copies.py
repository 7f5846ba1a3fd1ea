"""Copies of an image are found whatever was done to it; images that are only alike are none."""

import io

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from jaxgan.data import copies
from jaxgan.data.copies import (
    choose_searched,
    describe_search,
    find_copies_among,
    find_copies_between,
    join_groups,
)
from jaxgan.data.phantom import draw_film


def draw(num, first=0, size=64):
    films = [
        draw_film(finding="normal", patient=first + i, film=0, seed=0, size=size)
        for i in range(num)
    ]
    return np.stack(films)[..., None]


@pytest.fixture(scope="module")
def films():
    return draw(12)


def reencode(image):
    """Resize, brighten and compress, as a second publication of a film would."""
    picture = Image.fromarray(image[..., 0]).resize((90, 90)).resize((64, 64))
    buffer = io.BytesIO()
    picture.point(lambda v: min(255, int(1.08 * v + 4))).save(buffer, "JPEG", quality=60)
    return np.asarray(Image.open(io.BytesIO(buffer.getvalue())).convert("L"))[..., None]


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
    assert found.correlations.min() >= copies.MIN_CORRELATION


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


def test_stacks_of_any_length_are_compared_block_by_block(films, monkeypatch):
    others = np.stack([reencode(films[10]), reencode(films[3])])
    whole = find_copies_between(films, others)
    assert whole.pairs.tolist() == [[3, 1], [10, 0]]
    monkeypatch.setattr(copies, "_BLOCK", 4)
    parts = find_copies_between(films, others)
    np.testing.assert_array_equal(parts.pairs, whole.pairs)
    np.testing.assert_allclose(parts.correlations, whole.correlations, rtol=1e-5)
    for pair in ((films[:0], others), (films, others[:0])):
        assert find_copies_between(*pair).pairs.shape == (0, 2)


def test_among_one_set_each_pair_is_told_once(films):
    images = np.concatenate([films[:4], films[1:2], reencode(films[2])[None]])
    found = find_copies_among(images)
    assert found.pairs.tolist() == [[1, 4], [2, 5]]
    assert found.describe_search() is None
    kept = found.take(found.pairs[:, 0] == 2)
    assert kept.pairs.tolist() == [[2, 5]] and kept.num_images == 6


def test_of_too_many_images_so_many_are_searched_and_it_is_said(films, monkeypatch):
    monkeypatch.setattr(copies, "MAX_IMAGES", 8)
    monkeypatch.setattr(copies.choose_searched, "__defaults__", (8,))
    images = np.concatenate([films, films])
    found = find_copies_among(images)
    chosen = set(choose_searched(24).tolist())
    assert len(chosen) == 8
    assert found.pairs.tolist() == [[i, i + 12] for i in range(12) if {i, i + 12} <= chosen]
    assert found.describe_search() == describe_search(8, 24)
    assert "8 of the 24 images, drawn at random" in found.describe_search()
    between = find_copies_between(images, films[:3])
    assert (between.num_searched, between.num_images) == (11, 27)


def test_the_search_is_the_same_every_time_and_whole_where_it_can_be():
    assert choose_searched(5, 5).tolist() == [0, 1, 2, 3, 4]
    chosen = choose_searched(1000, 10)
    np.testing.assert_array_equal(chosen, choose_searched(1000, 10))
    assert len(set(chosen.tolist())) == 10 and (np.diff(chosen) > 0).all() and chosen.max() > 500
    assert describe_search(5, 5) is None
    assert "3 of the 5 training images" in describe_search(3, 5, what="training images")


def test_groups_are_joined_through_others_and_called_after_the_lowest():
    codes = np.array([4, 3, 2, 1, 0, 0])
    pairs = np.array([[0, 1], [1, 3]])
    assert join_groups(codes, pairs).tolist() == [1, 1, 2, 1, 0, 0]
    assert join_groups(codes, pairs[:0]).tolist() == codes.tolist()
    assert join_groups(codes[:0], pairs[:0]).tolist() == []
