import json

import numpy as np
import pytest

from jaxgan.metrics.kernel_distance import create_kernel_comparison
from jaxgan.metrics.measure import (
    _NUM_CHOICES,
    Measure,
    _compare_halves,
    compute_interval,
    compute_seed_interval,
    draw_half,
    get_floor_n,
    measure,
    shuffle_groups,
)
from jaxgan.metrics.neighbours import create_neighbour_comparison


def mean_difference(values):
    def compare(a, b):
        return {"difference": float(values[a].mean() - values[b].mean())}

    return compare


def measure_sets(compare, num_generated, num_real, num_others=0, **options):
    items = np.arange(num_generated + num_real + num_others)
    return measure(
        compare,
        generated=items[:num_generated],
        real=items[num_generated : num_generated + num_real],
        others=items[num_generated + num_real :],
        features="made",
        **options,
    )


@pytest.mark.parametrize(
    ("sizes", "n"),
    [((20, 20, 0), 10), ((100, 104, 22), 63), ((22, 104, 0), 22), ((50, 20, 80), 20)],
)
def test_n_is_what_can_be_had_of_all_three(sizes, n):
    seen = []

    def compare(a, b):
        seen.append((a, b))
        return {"zero": 0.0}

    result = measure_sets(compare, *sizes, num_draws=3, num_halves=4, num_floors=5)["zero"]
    assert result.n == n
    values, floors = seen[:3], seen[-5:]
    for a, b in values:
        assert len(a) == len(b) == n
        assert a.max() < sizes[0] <= b.min()
    for a, b in floors:
        assert len(a) == len(b) == n
        assert not set(a) & set(b)
        assert min(a.min(), b.min()) >= sizes[0]


def draw_patients(num, seed):
    """Two or three items a patient, alike: values and whose each is."""
    rng = np.random.default_rng(seed)
    patients = np.repeat(np.arange(num), rng.integers(2, 4, num))
    return rng.normal(size=num)[patients] + 0.1 * rng.normal(size=len(patients)), patients


def test_no_patient_is_on_both_sides_of_a_division_or_of_a_half():
    values, patients = draw_patients(20, 0)
    seen = []

    def compare(a, b):
        seen.append((a, b))
        return {"zero": 0.0}

    size = len(values)
    names = np.array([f"patient {i}" for i in patients])
    found = measure_sets(compare, size, size, groups=names, num_halves=2, num_floors=50)["zero"]
    assert found.n == (size - 2) // 2
    for a, b in seen[-50:]:
        assert len(set(a)) == len(set(b)) == found.n
        assert not set(patients[a - size]) & set(patients[b - size])
    half = draw_half(np.random.default_rng(0), np.arange(size), patients)
    owners, counts = np.unique(patients[half], return_counts=True)
    assert (counts < np.bincount(patients)[owners]).sum() <= 1


def test_a_floor_by_patients_is_farther_than_one_by_images():
    ratios = []
    for seed in range(10):
        values, patients = draw_patients(30, seed)
        everything = np.concatenate([np.zeros(30), values])

        def compare(a, b, x=everything):
            return {"distance": abs(float(x[a].mean() - x[b].mean()))}

        sizes = (30, len(values))
        by_patient = measure_sets(compare, *sizes, groups=patients)["distance"]
        by_image = measure_sets(compare, *sizes)["distance"]
        assert abs(by_patient.n - by_image.n) <= 1
        ratios.append(by_patient.floor / by_image.floor)
        low, high = by_patient.interval
        first, last = by_image.interval
        ratios[-1] = (ratios[-1], (high - low) / (last - first))
    assert np.mean(ratios, axis=0) == pytest.approx([1.58, 1.58], abs=0.25)  # sqrt(2.5 films)


def test_items_of_a_group_are_dealt_together_and_large_groups_no_sooner():
    groups = np.array([0, 1, 1, 1, 1, 1, 2])
    firsts = []
    for seed in range(600):
        order = shuffle_groups(np.random.default_rng(seed), groups)
        assert sorted(order) == list(range(7))
        assert len(np.flatnonzero(np.diff(groups[order]))) == 2
        firsts.append(groups[order[0]])
    assert np.bincount(firsts) / 600 == pytest.approx([1 / 3] * 3, abs=0.07)
    alone = shuffle_groups(np.random.default_rng(5), np.arange(9))
    np.testing.assert_array_equal(alone, np.random.default_rng(5).permutation(9))


def test_as_many_labels_as_items_are_wanted():
    with pytest.raises(ValueError, match="3 group labels for 4 items"):
        measure_sets(mean_difference(np.zeros(8)), 4, 4, groups=[0, 1, 2])


def test_a_floor_is_of_as_many_images_unless_it_says_otherwise():
    assert get_floor_n({"n": 7}) == 7
    assert get_floor_n({"n": 7, "floor_n": 3}) == 3


def test_an_interval_of_means_covers_the_truth_in_19_of_20_cases():
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(150):
        compare = mean_difference(rng.normal(size=90) + np.where(np.arange(90) < 30, 0.5, 0.0))
        low, high = measure_sets(compare, 30, 60, num_floors=1, seed=trial)["difference"].interval
        covered += low <= 0.5 <= high
    assert 0.88 < covered / 150 <= 0.99


@pytest.mark.parametrize("distance", [pytest.param(0.3, marks=pytest.mark.slow), 1.0])
def test_an_interval_of_kernel_distances_covers_the_truth(distance):
    def draw(rng, num, shift):
        return rng.normal(size=(num, 4)) + shift

    rng = np.random.default_rng(1)
    large = np.concatenate([draw(rng, 3000, distance), draw(rng, 3000, 0.0)])
    kernel = create_kernel_comparison(large)
    true = kernel(np.arange(3000), np.arange(3000, 6000))["kernel_distance"]
    covered = 0
    for trial in range(100):
        x = np.concatenate([draw(rng, 40, distance), draw(rng, 80, 0.0)])
        compare = create_kernel_comparison(x)
        found = measure_sets(compare, 40, 80, num_floors=1, seed=trial)["kernel_distance"]
        covered += found.interval[0] <= true <= found.interval[1]
    assert covered >= 85


def test_a_plain_bootstrap_would_bias_coverage_and_halves_do_not():
    """Why halves: with copies among them, balls around neighbours collapse."""
    rng = np.random.default_rng(2)
    compare = create_neighbour_comparison(rng.normal(size=(120, 6)))
    a, b = np.arange(60), np.arange(60, 120)
    whole = compare(a, b)["coverage"]
    resampled = [compare(rng.choice(a, 60), rng.choice(b, 60))["coverage"] for _ in range(50)]
    halves = [compare(draw_half(rng, a), draw_half(rng, b))["coverage"] for _ in range(50)]
    assert np.mean(resampled) < whole - 0.06
    assert abs(np.mean(halves) - whole) < 0.04


def test_identical_distributions_stay_within_the_floor_19_times_in_20():
    rng = np.random.default_rng(3)
    beyond = 0
    for trial in range(80):
        compare = create_kernel_comparison(rng.normal(size=(90, 5)))
        found = measure_sets(compare, 30, 60, num_draws=1, num_halves=2, seed=trial)
        beyond += found["kernel_distance"].value > found["kernel_distance"].floor
    assert beyond <= 10


def test_a_floor_is_the_worse_end_for_scores_and_distances():
    values = np.random.default_rng(0).normal(size=80)

    def compare(a, b):
        difference = abs(values[a].mean() - values[b].mean())
        return {"recall": 1.0 - difference, "distance": difference}

    found = measure_sets(compare, 40, 40)
    assert found["recall"].floor < found["recall"].floor_median
    assert found["distance"].floor > found["distance"].floor_median
    json.dumps(found["recall"].to_json(), allow_nan=False)


def test_an_interval_keeps_within_what_a_value_can_be():
    assert compute_interval(0.9, np.array([0.4, 0.8]), limits=(0.0, 1.0))[1] == 1.0


def test_the_same_seed_gives_the_same_measure():
    compare = mean_difference(np.random.default_rng(0).normal(size=60))
    assert measure_sets(compare, 20, 40) == measure_sets(compare, 20, 40)


def test_too_few_items_are_refused():
    with pytest.raises(ValueError, match="1 generated and 3 real"):
        measure_sets(mean_difference(np.zeros(4)), 1, 3)


def test_the_interval_is_students_of_the_mean_over_seeds():
    assert compute_seed_interval([1.0]) is None
    # t(0.975, 1) = 12.7062
    low, high = compute_seed_interval([0.0, 2.0])
    assert (low, high) == pytest.approx((1 - 12.7062, 1 + 12.7062), abs=1e-3)
    # t(0.975, 2) = 4.3027 and a standard deviation of 1
    low, high = compute_seed_interval([1.0, 2.0, 3.0])
    assert (low, high) == pytest.approx((2 - 4.3027 / 3**0.5, 2 + 4.3027 / 3**0.5), abs=1e-4)


@pytest.mark.parametrize(
    ("name", "value", "ends"),
    [
        ("precision", 0.9, (None, 1.0)),
        ("precision", 0.1, (0.0, None)),
        ("recall", 0.9, (None, 1.0)),
        ("coverage", 0.9, (None, 1.0)),
        ("diversity", 0.9, (None, 1.0)),
        ("density", 0.9, (None, None)),
        ("density", 0.1, (0.0, None)),
        ("frechet_distance", 0.1, (0.0, None)),
        ("sliced_wasserstein", 0.1, (0.0, None)),
        ("kernel_distance", 0.1, (None, None)),
    ],
)
def test_an_interval_ends_where_a_value_can_not_be(name, value, ends):
    rng = np.random.default_rng(0)
    found = measure_sets(lambda a, b: {name: value + 0.4 * rng.normal()}, 20, 40)[name]
    for bound, end in zip(found.interval, ends, strict=True):
        assert (bound == end) if end is not None else (bound not in (0.0, 1.0))


@pytest.mark.parametrize(("num", "sizes"), [(8, {4}), (9, {4, 5}), (3, {2}), (2, {2})])
def test_a_half_has_no_copies_and_at_least_two(num, sizes):
    rng = np.random.default_rng(0)
    halves = [draw_half(rng, np.arange(10, 10 + num)) for _ in range(50)]
    assert {len(half) for half in halves} == sizes
    assert {len(set(half)) for half in halves} == sizes
    assert set(np.concatenate(halves)) == set(range(10, 10 + num))


@pytest.mark.parametrize(("num_generated", "num_real"), [(12, 12), (30, 12), (12, 30)])
def test_halves_are_compared_at_the_size_of_the_smaller(num_generated, num_real):
    seen = []

    def compare(a, b):
        seen.append((len(a), len(b), len(set(a)), len(set(b))))
        return {"zero": 0.0}

    items = np.arange(num_generated + num_real)
    generated, real = np.split(items, [num_generated])
    rng = np.random.default_rng(0)
    assert _compare_halves(compare, rng, generated, real, np.arange(num_real)) == {"zero": 0.0}
    assert set(seen) == {(6, 6, 6, 6)}
    assert len(seen) == (1 if num_generated == num_real else _NUM_CHOICES)  # one is all there is


def test_json_holds_an_interval_or_none():
    values = {"value": 1.0, "floor": None, "n": 4, "features": "pixels"}
    assert Measure(interval=(0.5, 1.5), **values).to_json()["interval"] == [0.5, 1.5]
    assert Measure(interval=None, **values).to_json()["interval"] is None
