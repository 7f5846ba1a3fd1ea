"""The feature space without a network."""

import numpy as np
from scipy import ndimage

from jaxgan.evaluation.pyramid import fit_pyramid_features
from jaxgan.metrics.sliced_wasserstein import compute_pyramid
from tests.helpers import compute_kernel_distance, make_image_set


def test_every_level_has_an_equal_share_of_the_variance():
    """64 pixels make levels of 64, 32 and 16: 16, 16 and 256 values."""
    images = make_image_set(60, size=64).images
    space = fit_pyramid_features(images)
    features = space(images)
    assert features.shape == (60, 16 + 16 + 256)
    np.testing.assert_allclose(features.mean(axis=0), 0.0, atol=1e-4)
    levels = np.split(features.var(axis=0), [16, 32])
    np.testing.assert_allclose([level.sum() for level in levels], 288 / 3, rtol=0.05)


def test_the_features_written_out():
    """Of 32 pixels: 16 fields of 8 x 8 and the 16 x 16 pixels of the coarsest level."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (20, 32, 32, 1)).astype(np.uint8)
    images[:, :8, :8] = 128  # nothing to see there: its detail is the least that counts
    fine, coarse = compute_pyramid(images)
    detail = np.array(
        [
            [
                np.log(np.sqrt(np.mean(np.square(level[y : y + 8, x : x + 8])) + 0.01**2))
                for y in (0, 8, 16, 24)
                for x in (0, 8, 16, 24)
            ]
            for level in fine
        ]
    )
    parts = []
    for part in (detail, coarse.reshape(20, 256)):
        spread = np.maximum(part.std(axis=0), 0.1 * part.std(axis=0).max())
        share = np.sqrt(272 / (2 * part.shape[1]))
        parts.append((part - part.mean(axis=0)) / spread * share)
    found = fit_pyramid_features(images)(images)
    np.testing.assert_allclose(found, np.concatenate(parts, axis=1), rtol=1e-4, atol=1e-4)


def test_growing_blur_and_loss_of_contrast_lie_further_away():
    images = make_image_set(60).of_class(0).images
    others = make_image_set(60, seed=1).of_class(0).images
    space = fit_pyramid_features(images)

    def measure(spoilt):
        return compute_kernel_distance(space(spoilt), space(images))

    blurred = [ndimage.gaussian_filter(others, (0, s, s, 0)) for s in (0.5, 1.0, 2.0)]
    faint = [(others * share).astype(np.uint8) for share in (0.9, 0.7, 0.4)]
    for spoilt in (blurred, faint):
        distances = [measure(others), *map(measure, spoilt)]
        assert distances == sorted(distances)
        assert abs(distances[0]) < 0.2 * distances[1]
