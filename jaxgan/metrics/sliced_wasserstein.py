"""The sliced Wasserstein distance on Laplacian pyramids (Karras et al. 2018): needs no network.

Each level of the pyramid holds what one scale adds to the coarser scales. Patches of 7x7 pixels are
cut from every level. The distance of two sets of patches is averaged over random directions.
"""

from collections.abc import Callable, Sequence

import numpy as np
import scipy  # ndimage is loaded where it is used

from jaxgan.metrics.measure import Compare

PATCH = 7  # pixels per side
MIN_SIDE = 16  # of the coarsest level
NUM_PATCHES = 32  # per image and level
NUM_DIRECTIONS = 64
SCALE = 1000.0  # as published: distances times 1000
_BINOMIAL = np.array([1.0, 4.0, 6.0, 4.0, 1.0]) / 16.0  # Burt and Adelson 1983


def create_sliced_wasserstein_comparison(images: np.ndarray, *, seed: int = 0) -> Compare:
    """Return the distance between any two subsets of uint8 images [n, h, w, c].

    Contrast and brightness are standardised over all the images together. So a patch has the same
    weight in every comparison of this pool.
    """
    rng = np.random.default_rng(seed)
    levels = [
        _create_projections(rng, cut_patches(rng, level)) for level in compute_pyramid(images)
    ]
    slices = [create_slices(projections) for projections in levels]

    def compare(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
        weights = np.zeros(len(images))
        np.add.at(weights, a, 1.0 / len(a))
        np.add.at(weights, b, -1.0 / len(b))
        distance = float(np.mean([measure_slices(weights) for measure_slices in slices]))
        return {"sliced_wasserstein": SCALE * distance}

    return compare


def compute_pyramid(images: np.ndarray) -> list[np.ndarray]:
    """Return the Laplacian pyramid of uint8 images [n, h, w, c], finest level first."""
    coarse = np.asarray(images, np.float32) / 127.5 - 1.0
    levels = []
    while min(coarse.shape[1:3]) >= 2 * MIN_SIDE and not any(s % 2 for s in coarse.shape[1:3]):
        fine, coarse = coarse, _smooth(coarse)[:, ::2, ::2]
        levels.append(fine - _enlarge(coarse))
    return [*levels, coarse]


def cut_patches(rng: np.random.Generator, level: np.ndarray) -> np.ndarray:
    """Cut patches [n, num, 7 * 7 * c] out of images [n, h, w, c], each channel standardised."""
    num, height, width, channels = level.shape
    if min(height, width) < PATCH:
        raise ValueError(f"images of {height} x {width} are smaller than a patch of {PATCH}")
    level = (level - level.mean(axis=(0, 1, 2))) / np.maximum(level.std(axis=(0, 1, 2)), 1e-8)
    windows = np.lib.stride_tricks.sliding_window_view(level, (PATCH, PATCH), axis=(1, 2))
    tops = rng.integers(0, height - PATCH + 1, (num, NUM_PATCHES))
    lefts = rng.integers(0, width - PATCH + 1, (num, NUM_PATCHES))
    patches = windows[np.arange(num)[:, None], tops, lefts]
    return patches.reshape(num, NUM_PATCHES, channels * PATCH**2)


def _create_projections(rng: np.random.Generator, patches: np.ndarray) -> np.ndarray:
    """Project patches [n, num, d] onto random unit directions, as [n, num, directions]."""
    directions = rng.normal(size=(patches.shape[-1], NUM_DIRECTIONS))
    directions /= np.linalg.norm(directions, axis=0)
    return patches @ directions.astype(np.float32)


def create_slices(projections: np.ndarray) -> Callable[[np.ndarray], float]:
    """Return the mean Wasserstein distance over directions, as a function of images' weights [n].

    `projections` is [n, num, directions]. Weights are positive for one set and sum to 1, negative
    for the other and sum to -1. In one dimension the distance is the area between the two
    cumulative distributions. So one sort serves all subsets.
    """
    num, per_image, directions = projections.shape
    flat = projections.reshape(num * per_image, directions)
    order = np.argsort(flat, axis=0)
    steps = np.diff(np.take_along_axis(flat, order, axis=0), axis=0)
    owners = (order // per_image).astype(np.int32)

    def measure_slices(weights: np.ndarray) -> float:
        share = (weights / per_image).astype(np.float32)
        heights = np.cumsum(share[owners], axis=0)[:-1]
        return float(np.einsum("pd,pd->", np.abs(heights), steps) / directions)

    return measure_slices


def _smooth(images: np.ndarray, gain: float = 1.0) -> np.ndarray:
    for axis in (1, 2):
        images = scipy.ndimage.correlate1d(images, _BINOMIAL * gain, axis=axis, mode="mirror")
    return images


def _enlarge(images: np.ndarray) -> np.ndarray:
    """Double height and width, with smoothing."""
    num, height, width, channels = images.shape
    wide = np.zeros((num, 2 * height, 2 * width, channels), images.dtype)
    wide[:, ::2, ::2] = images
    return _smooth(wide, gain=2.0)


def describe_levels(shape: Sequence[int]) -> str:
    """Return the sides of the pyramid's levels for images [n, h, w, c]."""
    empty = np.zeros((1, *shape[1:]), np.uint8)
    return "/".join(str(level.shape[1]) for level in compute_pyramid(empty))
