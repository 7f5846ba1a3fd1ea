"""Masks lie where the film shows the part, and move with the patient."""

import functools

import numpy as np
import pytest

from jaxgan.data.phantom import draw_film
from jaxgan.data.phantom_masks import draw_masks


@functools.cache
def draw(patient, finding, film=0, size=256):
    chosen = {"seed": 3, "patient": patient, "film": film, "finding": finding, "size": size}
    return draw_film(**chosen, subtlety=0.0).astype(np.float64), draw_masks(**chosen)


@pytest.mark.parametrize("patient", [0, 1, 2])
def test_lungs_are_dark_the_heart_is_bright_and_no_pixel_is_both(patient):
    film, masks = draw(patient, "normal")
    assert film[masks.lungs].mean() < film[~masks.lungs].mean()
    assert film[masks.heart].mean() > film[masks.lungs].mean() + 40
    assert not (masks.lungs & masks.heart).any()
    assert 0.15 < masks.lungs.mean() < 0.4 and 0.05 < masks.heart.mean() < 0.13


@pytest.mark.parametrize("finding", ["covid", "pneumonia"])
def test_a_lesion_is_where_the_film_differs_from_a_healthy_one(finding):
    """Films of a patient with and without a finding have the same anatomy, pose and grain."""
    film, masks = draw(1, finding)
    healthy, normal = draw(1, "normal")
    added = np.abs(film - healthy)
    assert masks.lesion.any() and not normal.lesion.any()
    np.testing.assert_array_equal(masks.lungs, normal.lungs)
    assert added[masks.lesion].mean() > 5 * added[~masks.lesion].mean()
    assert (masks.lesion & ~masks.lungs).sum() < 0.05 * masks.lesion.sum()


def test_masks_move_with_the_pose_and_shrink_with_the_film():
    masks = draw(1, "pneumonia")[1]
    other = draw(1, "pneumonia", film=1)[1]
    assert (masks.lungs != other.lungs).mean() > 0.01
    small = draw(1, "pneumonia", size=32)[1]
    shares = masks.lungs.reshape(32, 8, 32, 8).mean(axis=(1, 3))
    assert (small.lungs != (shares > 0.5)).mean() < 0.01
    assert small.lesion.shape == (32, 32)
