"""Batches with equally many images of each class, for any training set.

The images of each class follow one another, permutation after permutation. Every *round* takes the
next image of each class, in its own order. The rounds are concatenated and cut into full batches:
in a batch no two classes differ by more than two images. An epoch has as many images as the
training set: those of a rare class come several times, some of a frequent class do not come.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from jaxgan.core.types import Array, Batch, Key
from jaxgan.data.sets import ImageSet
from jaxgan.devices.parallel import replicate, take_part
from jaxgan.training.epochs import EpochPlan
from jaxgan.training.feed import ResidentFeed, StreamedFeed

_BLOCK = 1024  # rounds: their orders are drawn together
_ROUNDS, _IMAGES = 0, 1  # what is drawn


class BalancedOrder:
    """Which image comes when: a pure function of the labels, the key and the position."""

    def __init__(self, labels: np.ndarray, key: Key):
        self._members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
        self._seed = [int(word) for word in np.ravel(jax.random.key_data(key))]
        self._draw_rounds = functools.lru_cache(maxsize=4)(self._compute_rounds)
        self._permute = functools.lru_cache(maxsize=4 * len(self._members))(self._compute_order)

    def compute_indices(self, positions: np.ndarray) -> np.ndarray:
        """Return the image [num] at each of the sequence's positions int64 [num]."""
        rounds, places = np.divmod(positions, len(self._members))
        classes = np.empty_like(positions)
        for block in np.unique(rounds // _BLOCK):
            here = rounds // _BLOCK == block
            classes[here] = self._draw_rounds(int(block))[rounds[here] % _BLOCK, places[here]]
        indices = np.empty_like(positions)
        for number, members in enumerate(self._members):
            passes, offsets = np.divmod(rounds, len(members))
            for one in np.unique(passes[classes == number]):
                here = (classes == number) & (passes == one)
                indices[here] = members[self._permute(number, int(one))[offsets[here]]]
        return indices

    def _compute_rounds(self, block: int) -> np.ndarray:
        """Return the order of the classes in each round of a block [_BLOCK, classes]."""
        rng = np.random.default_rng([*self._seed, _ROUNDS, block])
        return rng.permuted(np.tile(np.arange(len(self._members)), (_BLOCK, 1)), axis=1)

    def _compute_order(self, number: int, one: int) -> np.ndarray:
        """Return the order of a class's images in one pass over them."""
        rng = np.random.default_rng([*self._seed, _IMAGES, number, one])
        return rng.permutation(len(self._members[number]))


class BalancedFeed(ResidentFeed):
    """Balanced batches of images that lie on the device; only image numbers travel to it."""

    def __init__(self, images: ImageSet, key: Key, plan: EpochPlan, devices: Sequence[jax.Device]):
        super().__init__(images, key, plan, devices)
        self._order = BalancedOrder(np.asarray(images.labels), key)

    def load(self, begin: int, end: int) -> Any:
        """Return the resident images and each step's image numbers [max_steps, batch]."""
        batch_size, max_steps = self._plan.batch_size, self._plan.max_steps
        positions = np.arange(begin * batch_size, end * batch_size, dtype=np.int64)
        rows = np.zeros((max_steps, batch_size), np.int32)
        rows[: end - begin] = self._order.compute_indices(positions).reshape(-1, batch_size)
        return self._arrays, replicate(rows, self._devices)

    def prepare(self, data: Any) -> Any:
        """Return the data unchanged."""
        return data

    def gather(self, prepared: Any, offset: Array, axis_name: str | None) -> Batch:
        """Return this device's part of the batch."""
        (images, labels), rows = prepared
        indices = take_part(rows[offset], axis_name)
        return Batch(images[indices], labels[indices])


class StreamedBalancedFeed(StreamedFeed):
    """The same batches from images that stay in memory or on disk."""

    def __init__(self, images: ImageSet, key: Key, plan: EpochPlan, devices: Sequence[jax.Device]):
        super().__init__(images, key, plan, devices)
        self._order = BalancedOrder(np.asarray(images.labels), key)

    def _list_indices(self, positions: np.ndarray) -> np.ndarray:
        return self._order.compute_indices(positions)


def create_balanced_feed(
    images: ImageSet,
    key: Key,
    plan: EpochPlan,
    devices: Sequence[jax.Device],
    *,
    resident_bytes: int,
) -> BalancedFeed | StreamedBalancedFeed:
    """Return a resident feed if the images fit into `resident_bytes`, otherwise a streamed one."""
    feed = BalancedFeed if images.images.nbytes <= resident_bytes else StreamedBalancedFeed
    return feed(images, key, plan, devices)
