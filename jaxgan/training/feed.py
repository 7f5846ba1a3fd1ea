"""Batches for the training loop: a pure function of seed and step, so that resuming is exact.

Every epoch is a new permutation of all images. The permutations are concatenated and cut into full
batches. So a batch may cross the end of an epoch, and every batch has the same size.
"""

import functools
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.core.types import Array, Batch, Key
from jaxgan.data.sets import ImageSet
from jaxgan.devices.parallel import find_own_parts, replicate, take_part
from jaxgan.training.epochs import EpochPlan


def compute_permutation(key: Key, epoch: Array | int, num_examples: int) -> Array:
    """Return the order [num_examples] in which epoch `epoch` sees the images."""
    return jax.random.permutation(jax.random.fold_in(key, epoch), num_examples)


class ResidentFeed:
    """Batches of images that lie on the device as uint8; only step numbers travel to it."""

    def __init__(self, images: ImageSet, key: Key, plan: EpochPlan, devices: Sequence[jax.Device]):
        self._key, self._plan, self._devices = key, plan, list(devices)
        # How many permutations a dispatch can reach, wherever in an epoch it begins.
        self._num_epochs = 1 - (-plan.max_steps * plan.batch_size // len(images))
        arrays = (np.asarray(images.images), np.asarray(images.labels, np.int32))
        self._arrays = replicate(arrays, self._devices)

    def load(self, begin: int, end: int) -> Any:
        """Return the resident images and where in the sequence of epochs step `begin` starts."""
        del end
        # Python integers: epochs times images may exceed 2^31.
        position = divmod(begin * self._plan.batch_size, self._plan.num_examples)
        return self._arrays, replicate(np.array(position, np.int32), self._devices)

    def prepare(self, data: Any) -> Any:
        """Concatenate the permutations of all epochs that this dispatch may reach."""
        (images, labels), (epoch, offset) = data
        permute = functools.partial(compute_permutation, num_examples=len(labels))
        orders = jax.vmap(permute, in_axes=(None, 0))(
            self._key, epoch + jnp.arange(self._num_epochs)
        )
        return images, labels, orders.reshape(-1), offset

    def gather(self, prepared: Any, offset: Array, axis_name: str | None) -> Batch:
        """Return this device's part of the batch."""
        images, labels, order, start = prepared
        batch_size = self._plan.batch_size
        indices = jax.lax.dynamic_slice_in_dim(order, start + offset * batch_size, batch_size)
        indices = take_part(indices, axis_name)
        return Batch(images[indices], labels[indices])


class StreamedFeed:
    """The same batches from images that stay in memory or on disk; read ahead by one dispatch."""

    def __init__(self, images: ImageSet, key: Key, plan: EpochPlan, devices: Sequence[jax.Device]):
        self._images, self._key, self._plan = images, key, plan
        self._num_devices, self._own = len(devices), find_own_parts(devices)
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="jaxgan-feed")
        self._ahead: dict[tuple[int, int], Future[Any]] = {}
        self._permute = functools.lru_cache(maxsize=2)(self._compute_order)

    def load(self, begin: int, end: int) -> Any:
        """Return the batches of steps `begin` to `end`, and start reading those that follow.

        An error during reading ahead is raised when those batches are requested.
        """
        ahead = self._ahead.pop((begin, end), None)
        batches = ahead.result() if ahead else self._read(begin, end)
        if end < self._plan.num_steps:
            following = end, self._plan.compute_next(end)
            self._ahead = {following: self._reader.submit(self._read, *following)}
        return batches

    def _read(self, begin: int, end: int) -> Any:
        batch_size = self._plan.batch_size
        positions = np.arange(begin * batch_size, end * batch_size, dtype=np.int64)
        indices = self._list_indices(positions)
        # [num_steps, devices, part]: no image is read for the devices of another process.
        indices = indices.reshape(end - begin, self._num_devices, -1)[:, self._own].reshape(-1)
        # In the order of the file, so that a memory map is read from start to end.
        unique, inverse = np.unique(indices, return_inverse=True)
        images = np.asarray(self._images.images[unique])[inverse]
        labels = np.asarray(self._images.labels[unique], np.int32)[inverse]
        return self._arrange(images, end - begin), self._arrange(labels, end - begin)

    def _list_indices(self, positions: np.ndarray) -> np.ndarray:
        """Return the image [num] at each position of the concatenated epochs."""
        epochs, offsets = np.divmod(positions, len(self._images))
        indices = np.empty_like(positions)
        for epoch in np.unique(epochs):
            here = epochs == epoch
            indices[here] = self._permute(int(epoch))[offsets[here]]
        return indices

    def _compute_order(self, epoch: int) -> np.ndarray:
        with jax.default_device(jax.local_devices(backend="cpu")[0]):
            return np.asarray(compute_permutation(self._key, epoch, len(self._images)))

    def _arrange(self, rows: np.ndarray, num_steps: int) -> np.ndarray:
        """Pad to [max_steps, batch, ...]; with several devices [own, max_steps, part, ...]."""
        shape = (num_steps, len(self._own), -1, *rows.shape[1:])
        parts = np.moveaxis(rows.reshape(shape), 1, 0)
        padding = [(0, 0), (0, self._plan.max_steps - num_steps)]
        parts = np.pad(parts, padding + [(0, 0)] * (parts.ndim - 2))
        return parts if self._num_devices > 1 else parts[0]

    def prepare(self, data: Any) -> Any:
        """Return the data unchanged."""
        return data

    def gather(self, prepared: Any, offset: Array, axis_name: str | None) -> Batch:
        """Return this device's part of the batch, as `load` has cut it."""
        del axis_name
        images, labels = prepared
        return Batch(images[offset], labels[offset])


def create_feed(
    images: ImageSet,
    key: Key,
    plan: EpochPlan,
    devices: Sequence[jax.Device],
    *,
    resident_bytes: int,
) -> ResidentFeed | StreamedFeed:
    """Return a resident feed if the images fit into `resident_bytes`, otherwise a streamed one."""
    feed = ResidentFeed if images.images.nbytes <= resident_bytes else StreamedFeed
    return feed(images, key, plan, devices)
