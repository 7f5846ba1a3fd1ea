"""Batches of one size: every image counts once, and one shape is computed."""

import numpy as np
import pytest

from jaxgan.ops.batches import map_batches


@pytest.mark.parametrize("num", [0, 1, 4, 9])
def test_every_image_is_mapped_once_in_order(num):
    images, shapes = np.arange(1, num + 1)[:, None] * np.ones(3), set()

    def double(batch):
        shapes.add(batch.shape)
        return 2 * batch

    mapped = map_batches(double, images, 4)
    assert mapped.shape == (num, 3)
    np.testing.assert_array_equal(mapped, 2 * images)
    assert shapes == {(4, 3)}


def test_what_fills_the_last_batch_up_is_nothing():
    seen = []
    map_batches(lambda batch: seen.append(batch) or batch, np.ones((3, 2), np.uint8), 2)
    np.testing.assert_array_equal(seen[1], [[1, 1], [0, 0]])
    assert seen[1].dtype == np.uint8
