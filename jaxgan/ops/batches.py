"""Compute on many images in batches of one size, so that only one program is compiled."""

from collections.abc import Callable
from typing import Any

import numpy as np


def map_batches(fn: Callable[[Any], Any], images: np.ndarray, batch_size: int) -> np.ndarray:
    """Return the result of `fn` for each of the images [num, ...].

    `fn` maps [batch_size, ...] to an array with one row per image. The last batch is filled up with
    zeros, and their rows are left out.
    """
    # At least one batch, so that the result has a shape even without images.
    starts = range(0, max(len(images), 1), batch_size)
    return np.concatenate([_map_batch(fn, images[i : i + batch_size], batch_size) for i in starts])


def _map_batch(fn: Callable[[Any], Any], part: np.ndarray, batch_size: int) -> np.ndarray:
    padding = [(0, batch_size - len(part))] + [(0, 0)] * (part.ndim - 1)
    return np.asarray(fn(np.pad(part, padding)))[: len(part)]
