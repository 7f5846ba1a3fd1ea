"""Regions, and shares of heat inside them."""

import numpy as np
import pytest

from jaxgan.metrics.clustered import estimate_mean
from jaxgan.metrics.regions import create_regions, share_inside
from jaxgan.study.audit import mask_images


def test_regions_are_those_of_the_audit_s_views():
    white = np.full((1, 64, 64, 1), 255, np.uint8)
    regions = create_regions(64)
    np.testing.assert_array_equal(mask_images(white, "frame")[0, ..., 0] > 0, regions["frame"])
    np.testing.assert_array_equal(
        mask_images(white, "centre_black")[0, ..., 0] == 0, regions["centre"]
    )
    assert regions["centre"].mean() == 0.390625 and regions["frame"].mean() == 1 - (52 / 64) ** 2


def test_a_share_is_of_the_heat_and_not_of_its_scale():
    heat = np.zeros((3, 4, 4), np.float32)
    heat[0, 0, 0], heat[0, 3, 3] = 3.0, 1.0
    heat[1] = 0.5
    mask = np.zeros((4, 4), bool)
    mask[:2, :2] = True
    for scale in (1, 7):
        shares = share_inside(scale * heat, mask)
        np.testing.assert_allclose(shares[:2], [0.75, 0.25])
        assert np.isnan(shares[2])
    own = np.stack([mask, ~mask, mask])  # a mask for each image
    np.testing.assert_allclose(share_inside(heat, own)[:2], [0.75, 0.75])
    with pytest.raises(ValueError, match="0 or more"):
        share_inside(-heat, mask)


def test_a_mean_over_images_has_its_interval_over_patients():
    values = np.array([0.0, 1.0, 1.0, np.nan])
    counts = np.array([[2.0, 0.0], [0.0, 2.0], [1.0, 1.0], [1.0, 1.0]])
    found = estimate_mean(values, np.array([0, 0, 1, 1]), counts)
    assert found["value"] == pytest.approx(2 / 3)
    low, high = found["interval"]  # of 1/2, 1, 2/3 and 2/3
    assert low < 0.55 and high > 0.95
    assert estimate_mean(values * np.nan, np.array([0, 0, 1, 1]), counts)["value"] is None
    assert estimate_mean(values, np.array([0, 0, 1, 1]), counts[:0])["interval"] is None
