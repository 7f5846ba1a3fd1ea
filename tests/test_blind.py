"""Sheets of real and generated images in random order: alike, but for the sheet of answers."""

import json

import numpy as np
import pytest
from PIL import Image

from jaxgan.data.images import read_image
from jaxgan.evaluation.blind import choose_of_patients, derive_seed, draw_blind
from jaxgan.evaluation.real_images import NamedImages
from jaxgan.reports import blind


def make_kind(base, num=16, side=20):
    """Flat images: the gray tells the kind and the number."""
    grays = np.arange(base, base + num, dtype=np.uint8)
    return np.broadcast_to(grays[:, None, None, None], (num, side, side, 1)).copy()


REAL, GENERATED = make_kind(40), make_kind(160)


def test_a_sheet_has_each_image_once_and_as_many_of_both():
    images, is_generated = blind.shuffle_blind(REAL, GENERATED, seed=1)
    grays = images[:, 0, 0, 0]
    assert is_generated.sum() == 16 == (~is_generated).sum()
    assert sorted(grays[is_generated]) == list(range(160, 176))
    assert sorted(grays[~is_generated]) == list(range(40, 56))
    fewer, kinds = blind.shuffle_blind(REAL[:3], GENERATED, seed=1)
    assert len(fewer) == 6 and kinds.sum() == 3


def test_the_order_is_random_and_that_of_the_seed():
    orders = [blind.shuffle_blind(REAL, GENERATED, seed=seed)[1] for seed in range(200)]
    shares = np.mean(orders, axis=0)  # of sheets with a generated image at each place
    assert abs(shares - 0.5).max() < 5 * 0.5 / 200**0.5
    again = blind.shuffle_blind(REAL, GENERATED, seed=7)[1]
    np.testing.assert_array_equal(again, orders[7])


@pytest.mark.parametrize("num", [16, 3])
def test_each_image_is_there_at_twice_its_size_pixel_by_pixel(tmp_path, num):
    rng = np.random.default_rng(0)
    real, generated = rng.integers(0, 256, (2, num, 24, 24, 1), np.uint8)
    blind.plot_blind(real, generated, tmp_path / "blind.png", seed=3)
    images, is_generated = blind.shuffle_blind(real, generated, seed=3)
    sheets = [
        np.asarray(Image.open(tmp_path / name).convert("RGB"))
        for name in ("blind.png", "blind_answers.png")
    ]
    assert sheets[0].shape == sheets[1].shape
    columns, frames = min(8, 2 * num), ((0, 114, 178), (213, 94, 0))
    cell = max(48 + 16, 92), 48 + 34
    for number, image in enumerate(images):
        row, column = divmod(number, columns)
        top, left = 44 + row * cell[1] + 26, column * cell[0] + 8
        large = np.kron(image[..., 0], np.ones((2, 2), np.uint8))[..., None]
        for sheet in sheets:
            assert (sheet[top : top + 48, left : left + 48] == large).all()
        margins = [sheet[top + 24, left - 3] for sheet in sheets]
        assert tuple(margins[0]) == (255, 255, 255)  # no mark of the kind
        assert tuple(margins[1]) == frames[int(is_generated[number])]
    answers = json.loads((tmp_path / "blind.json").read_text())
    assert answers["num_images"] == 2 * num
    expected = [("real", "generated")[int(kind)] for kind in is_generated]
    assert [answers["answers"][str(i + 1)] for i in range(2 * num)] == expected


def test_a_sheet_does_not_show_the_kind(tmp_path):
    """Real and generated images exchanged: the same sheet but for the places of the pixels."""
    white = np.full((4, 24, 24, 1), 255, np.uint8)
    blind.plot_blind(white, white, tmp_path / "one.png", seed=1)
    blind.plot_blind(white, white, tmp_path / "two.png", seed=2)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    assert (tmp_path / "one.json").read_text() != (tmp_path / "two.json").read_text()


def test_a_real_jpeg_and_a_generated_png_are_drawn_alike(tmp_path):
    pixels = np.full((24, 24), 90, np.uint8)
    for name in ("real.jpg", "generated.png"):
        Image.fromarray(pixels).save(tmp_path / name)
    arrays = [
        np.asarray(read_image(tmp_path / name, 1))[None, ..., None]
        for name in ("real.jpg", "generated.png")
    ]
    both = [a.repeat(2, axis=0) for a in arrays]
    blind.plot_blind(*both, tmp_path / "a.png", seed=0)
    blind.plot_blind(*both[::-1], tmp_path / "b.png", seed=0)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@pytest.mark.parametrize("other", [GENERATED[:0], GENERATED[:, :10], GENERATED.astype(np.float32)])
def test_what_can_not_be_compared_is_refused(other):
    with pytest.raises(ValueError, match="expected uint8 images of one shape"):
        blind.shuffle_blind(REAL, other, seed=0)


def test_a_patient_is_taken_again_only_when_each_has_been():
    patients = ("a",) * 10 + ("b", "c", "d")
    for seed in range(20):
        chosen = choose_of_patients(patients, 4, np.random.default_rng(seed))
        assert sorted(patients[i] for i in chosen) == ["a", "b", "c", "d"]
        more = choose_of_patients(patients, 6, np.random.default_rng(seed))
        assert len(set(more.tolist())) == 6
        assert [patients[i] for i in more].count("a") == 3
    firsts = {int(choose_of_patients(patients, 1, np.random.default_rng(s))[0]) for s in range(40)}
    assert len(firsts) > 5


def test_other_pixels_have_another_order():
    assert derive_seed(0, REAL) == derive_seed(0, REAL.copy())
    assert len({derive_seed(0, REAL), derive_seed(1, REAL), derive_seed(0, GENERATED)}) == 3


def test_an_evaluation_draws_held_out_images_of_different_patients(tmp_path):
    patients = tuple(f"p{i // 2}" for i in range(40))
    held_out = NamedImages("val", make_kind(10, 40), patients)
    said = draw_blind(NamedImages("g", make_kind(100, 100)), held_out, tmp_path / "figures")
    assert "16 real held-out and 16 generated" in said
    assert str(tmp_path / "figures" / "blind_answers.png") in said
    answers = json.loads((tmp_path / "figures" / "blind.json").read_text())["answers"]
    sheet = np.asarray(Image.open(tmp_path / "figures" / "blind.png").convert("L"))
    shown = [int(sheet[44 + 26 + 74 * (i // 8) + 20, 92 * (i % 8) + 8 + 20]) for i in range(32)]
    real = [gray for i, gray in enumerate(shown) if answers[str(i + 1)] == "real"]
    assert len(set(real)) == 16 and max(real) < 50
    assert len({patients[gray - 10] for gray in real}) == 16
    assert len({gray for gray in shown if gray >= 100}) == 16


def test_too_few_images_give_a_sentence_and_few_an_equal_number(tmp_path):
    none = NamedImages("val", REAL[:1])
    said = draw_blind(NamedImages("g", GENERATED), none, tmp_path / "figures")
    assert said.endswith("found 16 and 1.") and not (tmp_path / "figures").exists()
    said = draw_blind(NamedImages("g", GENERATED), NamedImages("v", REAL[:5]), tmp_path)
    assert "5 real held-out and 5 generated" in said
