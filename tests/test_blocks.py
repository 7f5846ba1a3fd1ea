"""The parts of the published networks: poolings, widths, what their inputs are."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.classifiers import blocks


def draw(size, channels=2):
    return np.random.default_rng(0).normal(size=(2, size, size, channels)).astype(np.float32)


def pool_by_hand(x, size, strides, padding, num):
    """The maximum of every window, where it meets the image."""
    result = np.empty((len(x), num, num, x.shape[-1]), x.dtype)
    for i in range(num):
        for j in range(num):
            rows, columns = (
                slice(max(0, k * strides - padding), k * strides - padding + size) for k in (i, j)
            )
            result[:, i, j] = x[:, rows, columns].max(axis=(1, 2))
    return result


@pytest.mark.parametrize(
    ("n", "size", "strides", "padding", "ceil", "num"),
    [
        (8, 3, 2, 0, False, 3),
        (8, 3, 2, 0, True, 4),  # the last window reaches one pixel beyond
        (7, 3, 2, 0, True, 3),  # all windows fit
        (2, 3, 2, 0, True, 1),
        (3, 2, 2, 0, True, 2),
        (7, 3, 2, 1, False, 4),
        (5, 2, 3, 1, True, 2),  # a third window would begin beyond the image
        (6, 3, 1, 1, True, 6),
    ],
)
def test_max_pooling_has_the_windows_of_pytorch(n, size, strides, padding, ceil, num):
    x = draw(n)
    found = blocks.max_pool(jnp.asarray(x), size, strides, padding=padding, ceil=ceil)
    np.testing.assert_array_equal(found, pool_by_hand(x, size, strides, padding, num))


@pytest.mark.parametrize(
    ("n", "num", "windows"),
    [
        (2, 7, [(0, 1), (0, 1), (0, 1), (0, 2), (1, 2), (1, 2), (1, 2)]),
        (3, 7, [(0, 1), (0, 1), (0, 2), (1, 2), (1, 3), (2, 3), (2, 3)]),
        (6, 4, [(0, 2), (1, 3), (3, 5), (4, 6)]),
        (4, 4, [(0, 1), (1, 2), (2, 3), (3, 4)]),
    ],
)
def test_adaptive_pooling_averages_the_windows_of_pytorch(n, num, windows):
    x = draw(n)
    found = blocks.adaptive_average_pool(jnp.asarray(x), num)
    for i, (top, bottom) in enumerate(windows):
        for j, (left, right) in enumerate(windows):
            expected = x[:, top:bottom, left:right].mean(axis=(1, 2))
            np.testing.assert_allclose(found[:, i, j], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("num", "width", "expected"),
    [(64, 1.0, 64), (20, 1.0, 20), (64, 0.25, 16), (64, 0.01, 8), (40, 1.1, 48), (16, 0.75, 16)],
)
def test_filters_come_in_eights(num, width, expected):
    """40 features times 1.1 would be 40, nine tenths of which is too few: 48."""
    assert blocks.scale_filters(num, width) == expected


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("scale", "expected"),
    [
        (
            blocks.scale_by_channel,
            lambda u: (u / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225),
        ),
        (blocks.scale_to_unit_color, lambda u: u / 127.5 - 1),
        (blocks.scale_about_127, lambda u: (u - 127) / 128),
    ],
)
def test_gray_is_seen_three_times_and_scaled_as_the_weights_want_it(scale, expected, channels):
    images = np.random.default_rng(0).integers(0, 256, (2, 4, 4, channels), dtype=np.uint8)
    found = scale(jnp.asarray(images))
    colors = np.repeat(images, 3 // channels, axis=-1).astype(float)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, expected(colors), rtol=1e-5, atol=1e-6)
