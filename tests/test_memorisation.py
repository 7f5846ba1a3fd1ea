import json

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.spatial.distance import cdist
from sklearn.neighbors import NearestNeighbors

from jaxgan.metrics.memorisation import (
    ALPHA,
    Distances,
    compare_ratios,
    compute_aligned_distances,
    compute_distances,
    find_copies,
    find_nearest,
    measure_memorisation,
    split_sides,
)
from tests.helpers import compute_kernel_distance

D = 12


def draw(num, seed, d=D):
    return np.random.default_rng(seed).normal(size=(num, d))


def measure(generated, train, held_out, distance_fn=cdist, **options):
    result = measure_memorisation(
        generated, train, held_out, features="made", distance_fn=distance_fn, **options
    )
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
            num_permutations=199,
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
    assert np.median(find_nearest(smooth, train, num=60, distance_fn=cdist)[2]) < np.median(
        find_nearest(held_out, train, num=30, distance_fn=cdist)[2]
    )
    assert not measure(smooth, train, held_out).flag
    collapsed = np.repeat(draw(1, 3), 60, axis=0) + 0.01 * draw(60, 4)
    assert not measure(collapsed, train, held_out).flag


def test_ratios_agree_with_scikit_learn():
    generated, train, held_out = draw(9, 0), draw(15, 1), draw(7, 2)
    distances = compute_distances(generated, np.concatenate([train, held_out]), distance_fn=cdist)
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
    order, twins, gaps = find_nearest(
        np.array([[3.0], [9.0], [0.5]]), real, num=2, distance_fn=cdist
    )
    assert order.tolist() == [2, 1]
    assert twins.tolist() == [0, 1]
    assert gaps.tolist() == [0.5, 1.0]


def test_a_chance_of_just_alpha_is_flagged():
    """Nearer than in any of the permutations; there are just enough of them."""
    train, held_out = draw(40, 0), draw(40, 1)
    near = train + 0.5 * draw(40, 2)
    result = measure(near, train, held_out, num_permutations=round(1 / ALPHA) - 1, num_halves=5)
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
    distances = compute_distances(real, real, distance_fn=cdist)
    assert distances.choose_floor_size(num, num_held_out) == size
    distances.measure_real(np.random.default_rng(0), size)
    ((num_mine, num_generated, train, held_out),) = seen
    assert num_mine == num_generated == len(held_out) == size
    assert len({*train, *held_out}) == 12 - size


def test_the_floor_says_of_how_many_images_it_is():
    result = measure(draw(40, 0), draw(30, 1), draw(21, 2), num_permutations=9, num_halves=5)
    assert (result.n, result.floor_n) == (40, 17)
    assert result.to_json()["floor_n"] == 17


def draw_patients(num, seed):
    """Two or three films a patient, more alike than those of two: items and their patients."""
    rng = np.random.default_rng(seed)
    patients = np.repeat(np.arange(num), rng.integers(2, 4, num))
    return draw(num, seed)[patients] + 0.3 * draw(len(patients), seed + 9999), patients


def test_new_patients_are_not_flagged_and_copies_are_where_patients_have_several_films():
    fresh, blind, copied = 0, 0, 0
    few = {"num_permutations": 199, "num_halves": 5}
    for seed in range(20):
        (train, first), (held_out, second) = draw_patients(40, seed), draw_patients(16, 100 + seed)
        patients = np.concatenate([first, 1000 + second])
        generated = draw_patients(40, 200 + seed)[0]
        fresh += measure(generated, train, held_out, groups=patients, **few).flag
        blind += measure(generated, train, held_out, **few).flag
        generated[:4] = train[:4] + 0.02
        copied += measure(generated, train, held_out, groups=patients, **few).flag
    assert fresh <= 1
    assert blind >= 15  # why patients are asked for
    assert copied == 20


def test_a_set_is_compared_with_other_patients_alone():
    real = np.array([[0.0], [1.0], [5.0], [5.5], [9.0], [9.25]])
    distances = compute_distances(
        np.array([[4.0], [7.0]]), real, groups=[0, 0, 1, 1, 2, 2], distance_fn=cdist
    )
    ours, controls = distances.compute_ratios(np.arange(2), np.arange(2), np.arange(2, 6))
    assert controls == pytest.approx([4 / 4, 4.5 / 3.5, 8 / 3.5, 8.25 / 3.75])
    # Each held-out patient left out in turn, the nearest is 1 or 5 away, and 1.5 or 2.
    assert ours == pytest.approx([3 / (1 * 5) ** 0.5, 6 / (1.5 * 2) ** 0.5])


def test_whole_patients_are_dealt_as_near_to_the_number_as_can_be():
    groups = np.repeat(np.arange(9), [3, 1, 2, 2, 3, 1, 2, 3, 1])
    sizes = set()
    for seed in range(40):
        first, second = split_sides(np.random.default_rng(seed), groups, 12)
        assert not set(groups[first]) & set(groups[second])
        assert sorted([*first, *second]) == list(range(18))
        sizes.add(len(first))
    assert sizes <= {11, 12, 13} and 12 in sizes
    with pytest.raises(ValueError, match="one patient"):
        split_sides(np.random.default_rng(0), np.zeros(9, int), 5)


def test_no_patient_is_in_two_parts_of_the_floor(monkeypatch):
    seen = []

    def note(self, generated, train, held_out):
        seen.append((self, train, held_out))
        return 0.0

    monkeypatch.setattr(Distances, "measure", note)
    real, patients = draw_patients(15, 0)
    distances = compute_distances(real, real, groups=patients, distance_fn=cdist)
    size = distances.choose_floor_size(100, 100)
    assert size == (len(real) - 2 * (np.bincount(patients).max() - 1)) // 3
    for seed in range(30):
        distances.measure_real(np.random.default_rng(seed), size)
        drawn, train, held_out = seen[-1]
        mine = [int(np.flatnonzero((row == distances.real).all(axis=1))[0]) for row in drawn.real]
        assert mine == list(range(len(real)))
        assert len(drawn.generated) == len(held_out) == size <= len(train)
        rows = [np.flatnonzero((row == distances.real).all(axis=1))[0] for row in drawn.generated]
        sides = [set(patients[side]) for side in (rows, train, held_out)]
        assert not (sides[0] & sides[1] or sides[0] & sides[2] or sides[1] & sides[2])


def draw_smooth(num, seed):
    """Images [num, 40, 40] in [-1, 1] of blots that a shift of 3 moves but does not change."""
    noise = np.random.default_rng(seed).normal(size=(num, 40, 40))
    smooth = gaussian_filter(noise, (0, 2.5, 2.5))
    return 0.5 * smooth / smooth.std()


def test_an_aligned_distance_is_the_least_of_all_places():
    images, others = draw_smooth(40, 0)[:, :32, :32], draw_smooth(3, 1)[:, :32, :32]
    found = compute_aligned_distances(images, others)

    def standardise(image):
        return (image - image.mean()) / image.std()

    middle = standardise(others[2, 4:28, 4:28])
    expected = [
        np.sqrt(np.mean((standardise(images[35, y : y + 24, x : x + 24]) - middle) ** 2))
        for y in range(9)
        for x in range(9)
    ]
    assert found.shape == (40, 3)
    assert found[35, 2] == pytest.approx(min(expected), abs=1e-4)


def test_moved_and_brightened_copies_are_caught_and_new_images_are_not():
    train, held_out = draw_smooth(100, 0)[:, 4:36, 4:36], draw_smooth(40, 1)[:, 4:36, 4:36]
    options = {"num_permutations": 199, "num_halves": 5}
    moved = np.pad(train, ((0, 0), (3, 0), (0, 3)), mode="edge")[:, :32, 3:]
    moved = np.clip(1.2 * moved + 0.3, -1.0, 1.0)
    aligned = {**options, "distance_fn": compute_aligned_distances}
    result = measure(moved, train, held_out, **aligned)
    assert result.flag
    assert result.value > 0.9
    flat = [images.reshape(len(images), -1) for images in (moved, train, held_out)]
    assert measure(*flat, **options).value < 0.5  # what the plain distance makes of them
    fresh = [draw_smooth(100, 2 + seed)[:, 4:36, 4:36] for seed in range(5)]
    assert sum(measure(images, train, held_out, **aligned).flag for images in fresh) <= 1


def test_flat_images_have_no_pattern_that_could_be_a_copy():
    noise = 1e-4 * np.random.default_rng(0).normal(size=(2, 16, 16))
    black = compute_aligned_distances(noise - 1.0, draw_smooth(3, 1)[:, :16, :16])
    assert np.isfinite(black).all()
    assert black == pytest.approx(1.0, abs=0.05)
