import numpy as np
import pytest
from scipy.linalg import sqrtm

from jaxgan.metrics.frechet_distance import (
    compute_frechet_distance as compute_of_sets,
)
from jaxgan.metrics.frechet_distance import create_frechet_comparison
from tests import twins
from tests.helpers import compare_sets


def compute_frechet_distance(x, y):
    return compare_sets(create_frechet_comparison, x, y)["frechet_distance"]


def draw(num, d, shift=0.0, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(num, d)) @ rng.normal(size=(d, d)) + shift


def compute_by_matrix_root(x, y):
    difference = x.mean(axis=0) - y.mean(axis=0)
    a, b = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    return difference @ difference + np.trace(a + b - 2 * sqrtm(a @ b).real)


@pytest.mark.parametrize(("n", "m", "d"), [(200, 150, 8), (40, 60, 5)])
def test_agrees_with_scipys_matrix_root(n, m, d):
    x, y = draw(n, d), draw(m, d, shift=0.4, seed=1)
    expected = compute_by_matrix_root(x, y)
    assert compute_frechet_distance(x, y) == pytest.approx(expected, rel=1e-9, abs=1e-4)


def test_fewer_images_than_features():
    """scipy's root of a singular product is poor; the eigenvalues of S_x S_y are not."""
    x, y = draw(12, 30), draw(9, 30, shift=0.2, seed=1)
    a, b = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    overlap = np.sqrt(np.maximum(np.linalg.eigvals(a @ b).real, 0)).sum()
    difference = x.mean(axis=0) - y.mean(axis=0)
    expected = difference @ difference + np.trace(a) + np.trace(b) - 2 * overlap
    assert compute_frechet_distance(x, y) == pytest.approx(expected, rel=1e-5)


def test_agrees_with_torch_fidelity():
    twins.import_fidelity()
    fid = pytest.importorskip("torch_fidelity.metric_fid")
    x, y = draw(200, 8), draw(150, 8, shift=0.4, seed=1)
    statistics = [{"mu": z.mean(axis=0), "sigma": np.cov(z, rowvar=False)} for z in (x, y)]
    expected = fid.fid_statistics_to_metric(*statistics, verbose=False)
    value = float(next(iter(expected.values())))
    assert compute_frechet_distance(x, y) == pytest.approx(value, rel=1e-6, abs=1e-4)


def test_closed_form_of_a_shift():
    x = draw(50, 6)
    assert compute_frechet_distance(x, x) == pytest.approx(0.0, abs=1e-9)
    assert compute_frechet_distance(x, x + 2.0) == pytest.approx(6 * 4.0)
    assert compute_frechet_distance(x - x.mean(0), 3 * (x - x.mean(0))) == pytest.approx(
        4 * np.cov(x, rowvar=False).trace()
    )


@pytest.mark.parametrize("num", [50, 4])
def test_closed_form_of_two_normal_distributions(num):
    """With these means and axes; 4 items have no more than three axes of the 5."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(num, min(5, num - 1)))
    axes = np.linalg.qr(noise - noise.mean(axis=0))[0] * np.sqrt(num - 1)  # covariance: identity
    axes = np.pad(axes, [(0, 0), (0, 5 - axes.shape[1])])
    spreads, others = np.array([1.0, 2.0, 0.5, 3.0, 0.1]), np.array([2.0, 2.0, 1.5, 0.0, 0.1])
    mean = np.array([1.0, -1.0, 0.0, 2.0, 0.5])
    expected = (mean**2).sum() + ((spreads - others) ** 2)[: axes.any(axis=0).sum()].sum()
    assert compute_of_sets(axes * spreads + mean, axes * others) == pytest.approx(expected)
