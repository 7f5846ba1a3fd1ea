"""How far new images are from a training's: distances by their definition, and the rule."""

import numpy as np
import pytest
from scipy.stats import wasserstein_distance

from jaxgan.metrics import departure
from jaxgan.metrics.departure import (
    MOST_BEYOND,
    compare_classes,
    compare_features,
    compare_histograms,
    compute_feature_distances,
    compute_gray_distances,
    compute_histograms,
    compute_limit,
    measure_departure,
)


def test_gray_distances_are_those_of_scipy():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, 8, 8, 3), np.uint8)
    histograms = compute_histograms(images)
    np.testing.assert_allclose(histograms.sum(axis=1), 1)
    other = compute_histograms(rng.integers(0, 90, (1, 8, 8, 1), np.uint8))[0]
    grays = np.arange(256)
    expected = [wasserstein_distance(grays, grays, h, other) for h in histograms]
    np.testing.assert_allclose(compute_gray_distances(histograms, other), expected)


def test_an_image_that_is_brighter_by_some_grays_is_so_many_away():
    images = np.arange(64, dtype=np.uint8).reshape(1, 8, 8, 1)
    histograms = compute_histograms(np.concatenate([images, images + 30]))
    np.testing.assert_allclose(compute_gray_distances(histograms, histograms[0]), [0, 30])
    assert compare_histograms(histograms[1:], histograms[:1]) == pytest.approx(30)


def test_feature_distances_are_means_over_the_nearest(monkeypatch):
    monkeypatch.setattr(departure, "_BLOCK", 2)
    monkeypatch.setattr(departure, "NUM_NEIGHBOURS", 2)
    training = np.array([[0.0, 0], [3, 4], [100, 0]])
    found = compute_feature_distances(np.array([[0.0, 0], [3, 4], [97, 4]]), training)
    np.testing.assert_allclose(found, [2.5, 2.5, (5 + 94) / 2], atol=1e-6)
    alone = compute_feature_distances(np.array([[3.0, 4]]), training[:1])
    np.testing.assert_allclose(alone, [5])


def test_the_limit_is_exceeded_by_five_of_a_hundred_at_most():
    """Conformal: of m + 1 equal chances at most 1 in 20 lies above; with few, the largest."""
    assert compute_limit(np.arange(1.0, 20)) == 19
    assert compute_limit(np.arange(1.0, 100)) == 95
    assert compute_limit(np.array([3.0, 1, 2])) == 3
    rng = np.random.default_rng(0)
    beyond = [rng.normal() > compute_limit(rng.normal(size=39)) for _ in range(4000)]
    assert np.mean(beyond) == pytest.approx(0.05, abs=0.012)


def test_the_rule_counts_images_beyond_the_limit_and_the_whole():
    yardstick = np.arange(1.0, 20)
    near, far = (
        measure_departure(np.r_[np.ones(8), [50.0] * n], yardstick, 1.0, 2.0) for n in (2, 3)
    )
    assert near.share_beyond == MOST_BEYOND and not near.is_far
    assert far.is_far and far.has_many_beyond and not far.is_whole_beyond
    whole = measure_departure(np.ones(9), yardstick, 2.1, 2.0)
    assert whole.is_far and whole.is_whole_beyond and not whole.has_many_beyond
    assert not measure_departure(np.ones(9), yardstick, None, 2.0).is_far
    assert whole.to_json() == {
        "median": 1.0,
        "yardstick_median": 10.0,
        "limit": 19.0,
        "share_beyond": 0.0,
        "whole": 2.1,
        "whole_limit": 2.0,
        "is_far": True,
    }


def test_classes_are_compared_two_by_two():
    items, labels = np.array([[0.0], [2], [10], [12], [40]]), np.array([0, 0, 1, 1, 2])
    found = compare_classes(items, labels, lambda a, b: float(abs(a.mean() - b.mean())))
    assert found == pytest.approx((10 + 39 + 29) / 3)


def test_a_shift_that_no_image_shows_is_seen_in_the_whole():
    rng = np.random.default_rng(0)
    training, same, moved = (rng.normal(size=(60, 8)) + shift for shift in (0, 0, 0.8))
    yardstick = compute_feature_distances(same, training)
    wholes = [compare_features(x, training) for x in (same, moved)]
    few_beyond = compute_feature_distances(moved, training) > compute_limit(yardstick)
    assert few_beyond.mean() < 2 * MOST_BEYOND
    assert abs(wholes[0]) < 0.2 < wholes[1]
