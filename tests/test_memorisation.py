import json

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from jaxgan.metrics.kernel_distance import compute_kernel_distance
from jaxgan.metrics.memorisation import (
    ALPHA,
    Distances,
    compare_ratios,
    compute_distances,
    find_copies,
    find_nearest,
    measure_memorisation,
)

D = 12


def draw(num, seed, d=D):
    return np.random.default_rng(seed).normal(size=(num, d))


def measure(generated, train, held_out, **options):
    result = measure_memorisation(generated, train, held_out, features="made", **options)
    json.dumps(result.to_json(), allow_nan=False)
    return result


@pytest.mark.parametrize(("num", "num_held_out"), [(20, 20), (104, 22)])
def test_a_planted_copy_of_the_training_set_is_caught(num, num_held_out):
    train, held_out = draw(num, 0), draw(num_held_out, 1)
    copies = train + 0.02 * draw(num, 2)
    result = measure(copies, train, held_out)
    assert result.flag
    assert result.value > 0.9
    assert result.value > result.floor
    # and it is what a distance of distributions likes best
    assert compute_kernel_distance(copies, train) <= compute_kernel_distance(held_out, train) + 1e-3


def test_a_single_copy_among_a_hundred_is_caught():
    train, held_out, generated = draw(100, 0), draw(50, 1), draw(100, 2)
    assert not measure(generated, train, held_out).flag
    generated[17] = train[3] + 0.02
    result = measure(generated, train, held_out)
    assert result.flag
    assert result.num_copies == 1
    assert result.value < 0.3


@pytest.mark.parametrize(("num", "num_held_out"), [(20, 20), (60, 22)])
def test_new_images_are_not_flagged(num, num_held_out):
    flags, values = 0, []
    for seed in range(25):
        result = measure(
            draw(num, 3 * seed),
            draw(num, 3 * seed + 1),
            draw(num_held_out, 3 * seed + 2),
            num_deals=199,
            num_halves=20,
        )
        flags += result.flag
        values.append(result.value)
    assert flags <= 1
    assert abs(np.mean(values)) < 0.12


def test_smooth_images_and_a_collapsed_generator_are_not_flagged():
    """Both are near to the training set, and just as near to every other real image."""
    train, held_out = draw(60, 0), draw(30, 1)
    smooth = 0.3 * draw(60, 2)
    assert np.median(find_nearest(smooth, train, num=60)[2]) < np.median(
        find_nearest(held_out, train, num=30)[2]
    )
    assert not measure(smooth, train, held_out).flag
    collapsed = np.repeat(draw(1, 3), 60, axis=0) + 0.01 * draw(60, 4)
    assert not measure(collapsed, train, held_out).flag


def test_ratios_agree_with_scikit_learn():
    generated, train, held_out = draw(9, 0), draw(15, 1), draw(7, 2)
    distances = compute_distances(generated, np.concatenate([train, held_out]))
    ours, controls = distances.compute_ratios(np.arange(9), np.arange(15), np.arange(15, 22))

    def nearest(queries, items):
        return NearestNeighbors(n_neighbors=1).fit(items).kneighbors(queries)[0][:, 0]

    others = np.array(
        [nearest(held_out[i : i + 1], np.delete(held_out, i, axis=0))[0] for i in range(7)]
    )
    np.testing.assert_allclose(controls, nearest(held_out, train) / others, rtol=1e-4)
    left_out = [np.log(nearest(generated, np.delete(held_out, i, axis=0))) for i in range(7)]
    expected = nearest(generated, train) / np.exp(np.mean(left_out, axis=0))
    np.testing.assert_allclose(ours, expected, rtol=1e-4)


def test_the_value_by_hand():
    # of 2 x 3 pairs: 0.1 below all three, 0.5 below one, tied with one, above one
    assert compare_ratios(np.array([0.1, 0.5]), np.array([0.2, 0.5, 0.9])) == pytest.approx(3 / 6)
    assert compare_ratios(np.array([0.1]), np.array([0.2])) == 1.0
    assert compare_ratios(np.array([0.3]), np.array([0.2])) == -1.0


def test_ratios_with_a_power_law_tail_are_called_copies_as_often_as_said():
    rng = np.random.default_rng(0)
    found = sum(
        find_copies(
            rng.uniform(size=50) ** (1 / 6), rng.uniform(size=40) ** (1 / 6), alpha=0.1
        ).any()
        for _ in range(600)
    )
    assert 0.04 < found / 600 < 0.16


def test_find_nearest_gives_the_nearest_first():
    real = np.array([[0.0], [10.0]])
    order, twins, gaps = find_nearest(np.array([[3.0], [9.0], [0.5]]), real, num=2)
    assert order.tolist() == [2, 1]
    assert twins.tolist() == [0, 1]
    assert gaps.tolist() == [0.5, 1.0]


def test_a_chance_of_just_alpha_is_flagged():
    """Nearer than in any of the deals, of which there are as many as that takes."""
    train, held_out = draw(40, 0), draw(40, 1)
    near = train + 0.5 * draw(40, 2)
    result = measure(near, train, held_out, num_deals=round(1 / ALPHA) - 1, num_halves=5)
    assert result.p_value == pytest.approx(ALPHA)
    assert result.num_copies == 0
    assert result.flag


@pytest.mark.parametrize(("num", "num_held_out", "size"), [(9, 9, 4), (3, 9, 3), (9, 2, 2)])
def test_the_floor_takes_three_parts_that_share_nothing(monkeypatch, num, num_held_out, size):
    seen = []

    def note(self, generated, train, held_out):
        seen.append((len(self.generated), len(generated), train, held_out))
        return 0.0

    monkeypatch.setattr(Distances, "measure", note)
    real = draw(12, 0)
    compute_distances(real, real).measure_real(np.random.default_rng(0), num, num_held_out)
    ((num_mine, num_generated, train, held_out),) = seen
    assert num_mine == num_generated == len(held_out) == size
    assert len({*train, *held_out}) == 12 - size
