import numpy as np
import pytest
from sklearn.metrics.pairwise import polynomial_kernel

from jaxgan.metrics.kernel_distance import compute_subset_distance
from tests import twins
from tests.helpers import compute_kernel_distance


def draw(num, d=12, shift=0.0, seed=0):
    return np.random.default_rng(seed).normal(size=(num, d)) + shift


def compute_slowly(x, y):
    def kernel(a, b):
        return (sum(p * q for p, q in zip(a, b, strict=True)) / len(a) + 1.0) ** 3

    def within(items):
        pairs = [kernel(a, b) for i, a in enumerate(items) for j, b in enumerate(items) if i != j]
        return sum(pairs) / len(pairs)

    between = [kernel(a, b) for a in x for b in y]
    return within(x) + within(y) - 2 * sum(between) / len(between)


@pytest.mark.parametrize(("n", "m"), [(2, 2), (2, 9), (17, 11)])
def test_agrees_with_a_slow_sum_over_pairs(n, m):
    x, y = draw(n), draw(m, shift=0.3, seed=1)
    assert compute_kernel_distance(x, y) == pytest.approx(compute_slowly(x, y), abs=1e-9)


def test_agrees_with_scikit_learns_kernel():
    x, y = draw(30), draw(40, shift=0.5, seed=1)
    kxx, kyy, kxy = (
        polynomial_kernel(a, b, degree=3, gamma=1 / 12, coef0=1)
        for a, b in [(x, x), (y, y), (x, y)]
    )
    expected = (
        (kxx.sum() - np.trace(kxx)) / (30 * 29)
        + (kyy.sum() - np.trace(kyy)) / (40 * 39)
        - 2 * kxy.mean()
    )
    assert compute_kernel_distance(x, y) == pytest.approx(expected, abs=1e-9)


def test_agrees_with_torch_fidelity():
    twins.import_fidelity()
    kid = pytest.importorskip("torch_fidelity.metric_kid")
    x, y = draw(50), draw(50, shift=0.5, seed=1)
    expected = kid.kernel_mmd(x, y)  # its defaults are the cubic kernel
    assert compute_kernel_distance(x, y) == pytest.approx(float(np.asarray(expected)), abs=1e-4)


def test_is_unbiased_at_any_size():
    values = [
        compute_kernel_distance(draw(5, seed=2 * i), draw(8, seed=2 * i + 1)) for i in range(400)
    ]
    assert abs(np.mean(values)) < 3 * np.std(values) / 20


def test_whole_sets_are_compared_once():
    x, y = draw(9), draw(9, shift=0.3, seed=1)
    found = compute_subset_distance(x, y)
    assert found.mean == pytest.approx(compute_slowly(x, y), abs=1e-9)
    assert (found.deviation, found.subset_size) == (0.0, 9)


@pytest.mark.parametrize(("limit", "size"), [(4, 4), (1000, 6)])
def test_subsets_are_drawn_as_by_torch_fidelity(limit, size):
    """From the first set, then from the second, without an item twice."""
    x, y = draw(9), draw(6, shift=0.3, seed=1)
    found = compute_subset_distance(x, y, num=5, subset_size=limit)
    rng, values = np.random.RandomState(2020), []
    for _ in range(5):
        a = x[rng.choice(9, size, replace=False)]
        b = y[rng.choice(6, size, replace=False)]
        values.append(compute_slowly(a, b))
    assert found.mean == pytest.approx(np.mean(values), abs=1e-9)
    assert found.deviation == pytest.approx(np.std(values), abs=1e-9)
    assert found.subset_size == size


def test_subsets_agree_with_torch_fidelity():
    torch, _ = twins.import_fidelity()
    kid = pytest.importorskip("torch_fidelity.metric_kid")
    x, y = draw(50), draw(40, shift=0.5, seed=1)
    expected = kid.kid_features_to_metric(
        torch.tensor(x), torch.tensor(y), kid_subset_size=30, verbose=False
    )
    found = compute_subset_distance(x, y, subset_size=30)
    assert found.mean == pytest.approx(expected["kernel_inception_distance_mean"], abs=1e-9)
    assert found.deviation == pytest.approx(expected["kernel_inception_distance_std"], abs=1e-9)
