import numpy as np
import pytest
from scipy import ndimage
from scipy.stats import wasserstein_distance

from jaxgan.metrics.sliced_wasserstein import (
    compute_pyramid,
    create_sliced_wasserstein_comparison,
    create_slices,
    cut_patches,
)
from tests.helpers import compare_sets


def compute_sliced_wasserstein(x, y, **options):
    found = compare_sets(create_sliced_wasserstein_comparison, x, y, **options)
    return found["sliced_wasserstein"]


def make_images(num, size=32, seed=0, sharpness=1.0):
    noise = np.random.default_rng(seed).normal(size=(num, size, size, 1))
    smooth = ndimage.gaussian_filter(noise, (0, sharpness, sharpness, 0))
    return np.clip(128 + 40 * smooth / smooth.std(), 0, 255).astype(np.uint8)


@pytest.mark.parametrize(("n", "m"), [(6, 6), (4, 9)])
def test_agrees_with_scipy_in_every_direction(n, m):
    projections = np.random.default_rng(0).normal(size=(n + m, 7, 5)).astype(np.float32)
    projections[:n] += 0.5
    weights = np.concatenate([np.full(n, 1 / n), np.full(m, -1 / m)])
    expected = [
        wasserstein_distance(projections[:n, :, d].ravel(), projections[n:, :, d].ravel())
        for d in range(5)
    ]
    assert create_slices(projections)(weights) == pytest.approx(np.mean(expected), abs=1e-4)


def test_the_distance_written_out():
    """The same patches and directions, by scipy, averaged over directions and two levels."""
    images = np.concatenate([make_images(5), make_images(4, seed=1, sharpness=2.0)])
    rng, distances = np.random.default_rng(3), []
    for level in compute_pyramid(images):
        patches = cut_patches(rng, level)
        assert patches.shape == (9, 32, 49)
        directions = rng.normal(size=(49, 64))
        found = patches @ (directions / np.linalg.norm(directions, axis=0))
        distances.append(
            [
                wasserstein_distance(found[:5, :, d].ravel(), found[5:, :, d].ravel())
                for d in range(64)
            ]
        )
    value = compute_sliced_wasserstein(images[:5], images[5:], seed=3)
    assert value == pytest.approx(1000 * np.mean(distances), rel=1e-4)


def test_patches_are_of_standardised_channels_and_come_from_everywhere():
    level = np.random.default_rng(0).normal(3.0, 5.0, (40, 9, 12, 2))
    patches = cut_patches(np.random.default_rng(1), level).reshape(40, 32, 2, 7, 7)
    standard = (level - level.mean(axis=(0, 1, 2))) / level.std(axis=(0, 1, 2))
    corners = {
        (top, left): standard[0, top : top + 7, left : left + 7].transpose(2, 0, 1)
        for top in range(3)
        for left in range(6)
    }
    places = [
        place for patch in patches[0] for place, c in corners.items() if np.allclose(c, patch)
    ]
    assert len(places) == 32
    assert {top for top, _ in places} == {0, 1, 2}
    assert {left for _, left in places} == set(range(6))


def test_the_smaller_side_says_how_many_levels():
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 64, 1)).astype(np.uint8)
    for turned in (images, images.transpose(0, 2, 1, 3)):
        assert [min(level.shape[1:3]) for level in compute_pyramid(turned)] == [32, 16]


def test_a_subset_is_compared_as_if_it_were_alone():
    projections = np.random.default_rng(0).normal(size=(10, 7, 5)).astype(np.float32)
    weights = np.array([0.5, 0.5, 0, 0, 0, -0.5, -0.5, 0, 0, 0])
    alone = create_slices(projections[[0, 1, 5, 6]])(np.array([0.5, 0.5, -0.5, -0.5]))
    assert create_slices(projections)(weights) == pytest.approx(alone, abs=1e-5)


@pytest.mark.parametrize(("size", "sides"), [(32, [32, 16]), (64, [64, 32, 16]), (24, [24])])
def test_the_pyramid_adds_up_to_the_image(size, sides):
    images = make_images(2, size)
    levels = compute_pyramid(images)
    assert [level.shape[1] for level in levels] == sides
    if len(levels) == 2:
        wide = np.zeros_like(levels[0])
        wide[:, ::2, ::2] = levels[1]
        kernel = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 64
        again = levels[0] + ndimage.correlate(wide, kernel[None, :, :, None], mode="mirror")
        np.testing.assert_allclose(again, images / 127.5 - 1.0, atol=1e-5)


def test_it_grows_with_blur_noise_and_lost_contrast():
    real, other = make_images(24), make_images(24, seed=1)
    near = compute_sliced_wasserstein(other, real)
    rng = np.random.default_rng(0)
    for spoil in (
        lambda s: ndimage.gaussian_filter(other.astype(float), (0, s, s, 0)),
        lambda s: other + 20 * s * rng.normal(size=other.shape),
        lambda s: 128 + (other - 128.0) * (1 - 0.3 * s),
    ):
        spoilt = [np.clip(spoil(s), 0, 255).astype(np.uint8) for s in (0.7, 1.4, 2.1)]
        found = [near, *(compute_sliced_wasserstein(images, real) for images in spoilt)]
        assert found == sorted(found), found


def test_the_same_seed_gives_the_same_number():
    x, y = make_images(5), make_images(6, seed=1)
    assert compute_sliced_wasserstein(x, y) == compute_sliced_wasserstein(x, y)


def test_images_smaller_than_a_patch_are_refused():
    with pytest.raises(ValueError, match="smaller than a patch"):
        create_sliced_wasserstein_comparison(np.zeros((4, 6, 6, 1), np.uint8))
