import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from jaxgan.metrics.neighbours import create_neighbour_comparison
from tests.helpers import compare_sets


def compute_neighbour_scores(generated, real, **options):
    return compare_sets(create_neighbour_comparison, generated, real, **options)


def draw(num, d=4, seed=0, shift=0.0):
    return np.random.default_rng(seed).normal(size=(num, d)) + shift


def compute_slowly(generated, real, k):
    def reach(items):
        found = NearestNeighbors(n_neighbors=k + 1).fit(items).kneighbors(items)[0]
        return found[:, k]

    real_reach, generated_reach = reach(real), reach(generated)
    precision = density = recall = coverage = 0.0
    for g in generated:
        inside = [np.linalg.norm(g - r) < s for r, s in zip(real, real_reach, strict=True)]
        precision += any(inside) / len(generated)
        density += sum(inside) / (k * len(generated))
    for r, s in zip(real, real_reach, strict=True):
        gaps = [np.linalg.norm(g - r) for g in generated]
        recall += any(a < b for a, b in zip(gaps, generated_reach, strict=True)) / len(real)
        coverage += (min(gaps) < s) / len(real)
    return {"precision": precision, "recall": recall, "density": density, "coverage": coverage}


@pytest.mark.parametrize(("n", "m", "k"), [(40, 40, 5), (25, 60, 3)])
def test_agrees_with_a_slow_count(n, m, k):
    generated, real = draw(n, shift=0.7), draw(m, seed=1)
    found = compute_neighbour_scores(generated, real, k=k)
    assert found == pytest.approx(compute_slowly(generated, real, k), abs=1e-9)
    assert 0.05 < found["precision"] < 0.999


def test_agrees_with_prdc():
    prdc = pytest.importorskip("prdc", reason="prdc is not installed (the test extra has it)")
    generated, real = draw(60, shift=0.7), draw(70, seed=1)
    expected = prdc.compute_prdc(real_features=real, fake_features=generated, nearest_k=5)
    found = compute_neighbour_scores(generated, real)
    assert found == pytest.approx({name: float(expected[name]) for name in found}, abs=1e-4)


def test_on_the_edge_of_a_ball_is_outside():
    """As far away as the neighbour that makes the ball, as in the papers' definitions."""
    real, generated = np.array([[0.0], [1.0], [2.0]]), np.array([[3.0], [4.0], [5.0]])
    assert not any(compute_neighbour_scores(generated, real, k=1).values())
    inside = compute_neighbour_scores(generated - 0.5, real, k=1)
    assert inside == pytest.approx(
        dict.fromkeys(("precision", "density"), 1 / 3)
        | {
            "recall": 1 / 3,
            "coverage": 1 / 3,
        }
    )


def test_dropping_a_mode_lowers_recall_and_not_precision():
    real = np.concatenate([draw(50, seed=0), draw(50, seed=1, shift=12.0)])
    both = np.concatenate([draw(50, seed=2), draw(50, seed=3, shift=12.0)])
    one = draw(100, seed=4)
    before, after = (compute_neighbour_scores(g, real) for g in (both, one))
    assert after["recall"] < before["recall"] - 0.3
    assert after["coverage"] < before["coverage"] - 0.3
    assert after["precision"] > before["precision"] - 0.05


def test_inventing_a_mode_lowers_precision_and_not_recall():
    real = draw(100)
    spread = np.concatenate([draw(50, seed=1), draw(50, seed=2, shift=12.0)])
    found = compute_neighbour_scores(spread, real)
    assert found["precision"] < 0.55
    assert found["recall"] > 0.8


def test_a_copy_is_as_good_as_it_gets():
    real = draw(40)
    found = compute_neighbour_scores(real, real)
    assert (found["precision"], found["recall"], found["coverage"]) == (1.0, 1.0, 1.0)


def test_too_few_items_for_k_are_refused():
    with pytest.raises(ValueError, match="k is 5"):
        compute_neighbour_scores(draw(5), draw(20))
