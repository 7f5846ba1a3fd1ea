"""Which ruler sees which degradation, on the phantom; and the arithmetic of it in closed form."""

import dataclasses

import numpy as np
import pytest

from jaxgan.evaluation import degradations, imagenet
from jaxgan.evaluation.degradations import (
    BLUR,
    CHECKERBOARD,
    CONTRAST,
    DEGRADATIONS,
    DUPLICATES,
    MIXTURE,
    NOISE,
)
from jaxgan.evaluation.features import Features, create_pixel_features
from jaxgan.evaluation.pyramid import fit_pyramid_features
from jaxgan.evaluation.ranking import rank
from tests.helpers import IMAGENET_ABSENT, draw_films

RNG = np.random.default_rng(0)
LEVELS = Features("mean", lambda images: images.mean(axis=(1, 2, 3))[:, None] / 100.0)
IMAGES = RNG.integers(60, 100, (40, 16, 16, 1), dtype=np.uint8)


def test_a_shift_of_the_only_feature_is_seen_as_that():
    """All equal features x and y: the distance is k(x, x) + k(y, y) - 2 k(x, y)."""
    gray = np.full((20, 16, 16, 1), 100, np.uint8)
    darker = dataclasses.replace(
        CONTRAST, strengths=(0.0, 50.0), apply=lambda images, s: images - np.uint8(s)
    )
    found = rank(LEVELS, gray, [darker])
    expected = (1 + 1) ** 3 + (0.25 + 1) ** 3 - 2 * (0.5 + 1) ** 3
    assert found.floor == pytest.approx(0.0, abs=1e-12)
    np.testing.assert_allclose(found.distances["contrast"], (0.0, expected), atol=1e-12)


def test_a_mixture_is_as_far_as_the_square_of_its_share():
    """The squared distance of (1 - p) P + p Q from P is p^2 times that of Q from P.

    Less p (1 - p) / (n - 1), because exactly p n of the n = 20 images are replaced.
    """
    others = RNG.integers(160, 200, (60, 16, 16, 1), dtype=np.uint8)
    found = rank(LEVELS, IMAGES, [MIXTURE], others=others).distances["class mix"]
    shares = np.array(MIXTURE.strengths)
    expected = found[-1] * (shares**2 - shares * (1 - shares) / 19)
    np.testing.assert_allclose(found, expected, rtol=0.03)
    assert rank(LEVELS, IMAGES, [MIXTURE]).distances == {}


def test_duplicates_are_as_far_as_two_of_them_are_the_same():
    """Of 20 images with 4 different ones, two are copies with the chance 4 / 19."""
    features = create_pixel_features(4)
    few = dataclasses.replace(DUPLICATES, strengths=(0.8,))
    vectors = features(IMAGES)
    kernel = (vectors @ vectors.T / vectors.shape[1] + 1.0) ** 3
    same = np.trace(kernel) / 40
    different = (kernel.sum() - np.trace(kernel)) / (40 * 39)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(degradations, "DUPLICATES", few)
        patch.setattr("jaxgan.evaluation.ranking.DUPLICATES", few)
        (found,) = rank(features, IMAGES, [few]).distances["duplicates"]
    assert found == pytest.approx(4 / 19 * (same - different), rel=0.1)


def test_films_of_one_patient_are_never_on_both_sides():
    """Ten patients of four equal films: otherwise a film finds its copies on the other side."""
    films = np.repeat(IMAGES[:10], 4, axis=0)
    names = np.repeat(np.arange(10), 4)
    apart = rank(create_pixel_features(4), films, [], patients=names).floor
    mixed = rank(create_pixel_features(4), films, []).floor
    assert apart > 1.5 * mixed


@pytest.fixture(scope="module")
def films():
    """Phantom films of the same finding to fit a ruler and to degrade, and of another finding."""
    return draw_films("normal", 40), draw_films("normal", 40, 400), draw_films("covid", 40, 800)


def rank_films(films, features, degradations=DEGRADATIONS):
    _, real, others = films
    found = rank(features, real, degradations, others=others)
    return {name: np.array(d) / found.floor for name, d in found.distances.items()}


def is_rising(distances):
    return bool((np.diff(distances) > 0).all())


@pytest.mark.skipif(not imagenet.is_installed(), reason=IMAGENET_ABSENT)
def test_the_outside_ruler_ranks_every_degradation(films):
    kinds = [  # three strengths of those that its network has to see
        kind if kind.apply is None else dataclasses.replace(kind, strengths=kind.strengths[::2])
        for kind in DEGRADATIONS
    ]
    found = rank_films(films, imagenet.fit_imagenet_features(films[0]), kinds)
    for kind in DEGRADATIONS:
        # The least blur is a quarter of a pixel at this size: it changes nothing.
        distances = found[kind.name][1:] if kind is BLUR else found[kind.name]
        assert is_rising(distances), (kind.name, distances)
        assert found[kind.name][-1] > 3.0, (kind.name, found[kind.name])
    for kind in (BLUR, NOISE, CHECKERBOARD):
        assert found[kind.name][1] > 3.0, (kind.name, found[kind.name])


def test_the_pyramid_sees_texture_and_pixels_do_not(films):
    pyramid = rank_films(films, fit_pyramid_features(films[0]))
    pixels = rank_films(films, create_pixel_features())
    for kind in (NOISE, CHECKERBOARD):
        assert is_rising(pyramid[kind.name]), kind.name
        assert pyramid[kind.name][-1] > 3.0 > 3.0 * pixels[kind.name][-1], kind.name
    for found in (pyramid, pixels):
        for kind in (CONTRAST, DUPLICATES, MIXTURE):
            assert is_rising(found[kind.name]), kind.name
