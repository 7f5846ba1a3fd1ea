import numpy as np
import pytest
from sklearn.metrics.pairwise import polynomial_kernel

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
    kid = pytest.importorskip("torch_fidelity.metric_kid", reason="torch-fidelity is not installed")
    x, y = draw(50), draw(50, shift=0.5, seed=1)
    expected = kid.kernel_mmd(x, y)  # its defaults are the cubic kernel
    assert compute_kernel_distance(x, y) == pytest.approx(float(np.asarray(expected)), abs=1e-4)


def test_is_unbiased_at_any_size():
    values = [
        compute_kernel_distance(draw(5, seed=2 * i), draw(8, seed=2 * i + 1)) for i in range(400)
    ]
    assert abs(np.mean(values)) < 3 * np.std(values) / 20
