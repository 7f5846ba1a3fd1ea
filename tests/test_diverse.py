"""Choosing for diversity: clear clusters, points on a line, and candidates that are equal."""

import numpy as np
import pytest

from jaxgan.sampling.diverse import choose_by_clusters, choose_diverse, choose_farthest

RULES = ("k_means", "farthest_point")


def make_clusters(sizes=(80, 15, 5), spread=0.1):
    """Three clusters in the plane, far from one another, and the cluster of each point."""
    centers = np.array([[0.0, 0.0], [100.0, 0.0], [0.0, 100.0]])
    of = np.repeat(np.arange(3), sizes)
    return centers[of] + np.random.default_rng(0).normal(0, spread, (len(of), 2)), of


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("seed", range(5))
def test_of_three_clear_clusters_each_gives_one(rule, seed):
    """However many points each has: a draw at random takes four of five from the largest."""
    features, of = make_clusters()
    chosen = choose_diverse(rule, features, 3, seed=seed)
    assert of[chosen].tolist() == [0, 1, 2]


def test_k_means_takes_the_point_nearest_to_the_center():
    features, of = make_clusters()
    centers = [features[of == cluster].mean(axis=0) for cluster in range(3)]
    expected = [int(np.argmin(np.linalg.norm(features - center, axis=1))) for center in centers]
    assert choose_diverse("k_means", features, 3, seed=1).tolist() == expected
    line = np.array([[0.0], [1.0], [2.0], [50.0], [51.0], [55.0]])  # centers 1 and 52
    assert choose_diverse("k_means", line, 2).tolist() == [1, 4]


def test_farthest_points_of_a_line_are_the_middle_then_the_ends_then_the_gaps():
    line = np.arange(9.0)[:, None]
    assert choose_farthest(line, 5).tolist() == [4, 0, 8, 2, 6]
    assert choose_diverse("farthest_point", line, 3).tolist() == [0, 4, 8]
    # The medoid by squared distances is the one nearest to the mean, 3.
    assert choose_farthest(np.array([[0.0], [1.0], [2.0], [9.0]]), 2).tolist() == [2, 3]


def test_farthest_point_takes_the_outlier_and_k_means_one_in_the_middle_of_many():
    """What the documentation warns of."""
    features = np.r_[np.random.default_rng(0).normal(size=(200, 2)), [[1e3, 1e3]]]
    assert choose_farthest(features, 2)[1] == 200
    few = choose_diverse("k_means", features, 2)
    assert np.linalg.norm(features[few[0]]) < 1.0


@pytest.mark.parametrize("rule", RULES)
def test_the_choice_follows_from_the_seed_and_has_no_one_twice(rule):
    features = np.random.default_rng(0).normal(size=(300, 20))
    chosen = choose_diverse(rule, features, 75, seed=4)
    np.testing.assert_array_equal(choose_diverse(rule, features, 75, seed=4), chosen)
    assert len(set(chosen.tolist())) == 75 and (np.diff(chosen) > 0).all()
    other = choose_diverse(rule, features, 75, seed=5)
    assert np.array_equal(other, chosen) is (rule == "farthest_point")


def test_chosen_points_reach_farther_than_points_drawn_at_random():
    """The largest gap from any candidate to a chosen one, and the mean one."""
    features = np.random.default_rng(0).normal(size=(400, 3)) ** 3

    def find_gaps(chosen):
        return np.linalg.norm(features[:, None] - features[chosen], axis=2).min(axis=1)

    first, centers, far = (
        find_gaps(chosen)
        for chosen in (np.arange(50), *(choose_diverse(rule, features, 50) for rule in RULES))
    )
    assert far.max() < 0.5 * first.max()
    assert centers.mean() < 0.8 * first.mean()


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("num", "expected"), [(0, []), (4, [0, 1, 2, 3]), (9, [0, 1, 2, 3])])
def test_no_more_are_chosen_than_there_are(rule, num, expected):
    assert choose_diverse(rule, np.arange(8.0).reshape(4, 2), num).tolist() == expected


@pytest.mark.parametrize("rule", RULES)
def test_equal_candidates_are_filled_up_with_others(rule):
    """A generator that has collapsed gives them: there are fewer clusters than images wanted."""
    features = np.repeat([[0.0, 0.0], [5.0, 5.0]], [6, 4], axis=0)
    chosen = choose_diverse(rule, features, 5)
    assert len(set(chosen.tolist())) == 5
    assert {0, 6} <= set(chosen.tolist())  # one of each, before others are repeated
    assert len(choose_diverse(rule, np.zeros((10, 3)), 4)) == 4
    assert len(choose_by_clusters(np.zeros((10, 3)), 4)) == 4


def test_a_seed_below_zero_is_a_seed():
    features = np.random.default_rng(0).normal(size=(60, 2))
    assert len(choose_diverse("k_means", features, 20, seed=-3)) == 20
