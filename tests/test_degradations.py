"""Degradations against what they are by definition."""

import numpy as np
import pytest

from jaxgan.evaluation import degradations
from jaxgan.evaluation.degradations import (
    DEGRADATIONS,
    add_checkerboard,
    add_noise,
    blur,
    choose_duplicates,
    choose_mixture,
    lower_contrast,
)

GRAY = np.full((3, 64, 64, 1), 100, np.uint8)
IMAGES = np.random.default_rng(0).integers(50, 200, (3, 64, 64, 1), dtype=np.uint8)


def test_a_blurred_edge_is_the_normal_distribution():
    """A Gaussian of 2 pixels (8 of 256) makes a step's middle as steep as 1 / (2 sqrt(2 pi))."""
    step = np.zeros((1, 64, 64, 1), np.uint8)
    step[:, :, 32:] = 200
    row = blur(step, 8.0)[0, 30, :, 0].astype(float)
    assert row[32] - row[31] == pytest.approx(200 / (2 * np.sqrt(2 * np.pi)), abs=1.5)
    assert row[32] + row[31] == 200
    assert row[0] == 0 and row[63] == 200
    np.testing.assert_array_equal(blur(GRAY, 8.0), GRAY)


def test_a_blur_is_the_same_film_at_every_size():
    step = np.zeros((1, 128, 128, 1), np.uint8)
    step[:, :, 64:] = 200
    row = blur(step, 8.0)[0, 30, :, 0].astype(float)  # 4 pixels of 128
    assert row[64] - row[63] == pytest.approx(200 / (4 * np.sqrt(2 * np.pi)), abs=1.5)


def test_noise_has_its_spread_and_is_the_same_at_every_strength():
    weak, strong = (add_noise(GRAY, spread).astype(float) - 100 for spread in (5.0, 20.0))
    assert weak.std() == pytest.approx(5.0, rel=0.02)
    assert strong.std() == pytest.approx(20.0, rel=0.02)
    assert np.corrcoef(weak.ravel(), strong.ravel())[0, 1] > 0.99
    assert abs(np.corrcoef(weak[0].ravel(), weak[1].ravel())[0, 1]) < 0.05
    colour = add_noise(np.repeat(GRAY, 3, axis=-1), 5.0)
    assert (colour == colour[..., :1]).all()


def test_contrast_is_a_share_of_the_spread():
    low = lower_contrast(IMAGES, 0.5).astype(float)
    np.testing.assert_allclose(low.mean((1, 2, 3)), IMAGES.mean((1, 2, 3)), atol=0.1)
    np.testing.assert_allclose(low.std((1, 2, 3)), IMAGES.std((1, 2, 3)) / 2, rtol=0.01)


def test_a_checkerboard_has_two_values():
    board = add_checkerboard(GRAY, 4.0)[0, :, :, 0]
    assert board[:2, :2].tolist() == [[96, 104], [104, 96]]
    assert (board == 96).sum() == (board == 104).sum() == 64 * 64 / 2


def test_duplicates_are_copies_of_those_that_stay():
    chosen = choose_duplicates(20, 0.8)
    names, counts = np.unique(chosen, return_counts=True)
    assert len(chosen) == 20 and len(names) == 4 and set(counts) == {5}
    assert sorted(choose_duplicates(20, 0.0)) == list(range(20))
    assert len(set(choose_duplicates(20, 1.0))) == 1
    assert set(choose_duplicates(20, 0.8)) < set(choose_duplicates(20, 0.5))


def test_a_mixture_replaces_more_and_more():
    sets = [set(choose_mixture(20, 30, share)) for share in (0.0, 0.25, 0.5, 1.0)]
    assert [sum(i >= 20 for i in s) for s in sets] == [0, 5, 10, 20]
    others = [{i for i in s if i >= 20} for s in sets]
    assert others[1] < others[2] < others[3]
    assert len(choose_mixture(20, 5, 1.0)) == 20  # five others, repeated


@pytest.mark.parametrize("degradation", DEGRADATIONS, ids=lambda d: d.name)
def test_every_degradation_has_five_rising_strengths(degradation):
    strengths = degradation.strengths
    assert len(strengths) == 5 and list(strengths) == sorted(set(strengths))
    if degradation.apply is not None:
        made = [degradation.apply(IMAGES, s) for s in strengths]
        changes = [np.abs(m - IMAGES.astype(float)).mean() for m in made]
        assert changes == sorted(changes) and changes[0] > 0
        assert all(m.dtype == np.uint8 and m.shape == IMAGES.shape for m in made)
        np.testing.assert_array_equal(degradation.apply(IMAGES, 0.0), IMAGES)


def test_values_stay_bytes():
    assert degradations.to_bytes(np.array([-3.0, 0.4, 254.6, 300.0])).tolist() == [0, 0, 255, 255]
