"""Train many runs with one compiled program: sets of any size are padded to one size."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxgan.core.console import say
from jaxgan.core.files import write_bytes
from jaxgan.core.types import Array, Batch, Key, Metrics
from jaxgan.data.sets import ImageSet
from jaxgan.devices.parallel import Dispatcher, StepFn, replicate, take_part
from jaxgan.training.loop import LoopStage, SaveTimer, check_finite

_DIGEST_BYTES = 32  # of SHA-256


class Notes(Protocol):
    """What is recorded during a run; it is saved with the run, so a kill loses nothing."""

    def note(self, begin: int, end: int, rows: Metrics) -> None:
        """Record the metrics [max_steps, ...] of steps `begin` to `end`."""

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return everything that was recorded."""

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Continue from what `to_arrays` returned."""


class SeededState(struct.PyTreeNode):
    """A run's state and its seed: the seed is passed as data, so one program serves all runs."""

    seed: Array
    state: Any


class PaddedFeed:
    """Batches of a set padded to `capacity` images; the host chooses the images of each batch.

    Every epoch is a new permutation. The permutations are concatenated and cut into full batches,
    as in `jaxgan.training.feed`. They depend only on seed and step.
    """

    def __init__(
        self, capacity: int, batch_size: int, max_steps: int, devices: Sequence[jax.Device]
    ):
        self._capacity, self._batch_size, self._max_steps = capacity, batch_size, max_steps
        self._devices = list(devices)
        self._num, self._seed = 0, 0
        self._arrays: Any = None

    def fill(self, images: ImageSet, seed: int) -> None:
        """Set the images that the next steps learn from."""
        padding = (0, self._capacity - len(images))
        pixels = np.pad(images.images, [padding, (0, 0), (0, 0), (0, 0)])
        labels = np.pad(images.labels.astype(np.int32), [padding])
        self._arrays = replicate((pixels, labels), self._devices)
        self._num, self._seed = len(images), seed

    def load(self, begin: int, end: int) -> Any:
        """Return the resident images and each step's indices [max_steps, batch]."""
        positions = np.arange(begin * self._batch_size, end * self._batch_size)
        epochs, offsets = np.divmod(positions, self._num)
        indices = np.zeros(self._max_steps * self._batch_size, np.int32)
        for epoch in np.unique(epochs):
            order = np.random.default_rng([self._seed, int(epoch)]).permutation(self._num)
            here = np.flatnonzero(epochs == epoch)
            indices[here] = order[offsets[here]]
        rows = indices.reshape(self._max_steps, self._batch_size)
        return self._arrays, replicate(rows, self._devices)

    def prepare(self, data: Any) -> Any:
        """Return the data unchanged."""
        return data

    def gather(self, prepared: Any, offset: Array, axis_name: str | None) -> Batch:
        """Return this device's part of the batch."""
        (images, labels), rows = prepared
        indices = take_part(rows[offset], axis_name)
        return Batch(images[indices], labels[indices])


class Trainer:
    """Train any number of runs of one kind on sets of at most `capacity` images."""

    def __init__(
        self, *, capacity: int, batch_size: int, max_steps: int, devices: Sequence[jax.Device]
    ):
        self._feed = PaddedFeed(capacity, batch_size, max_steps, devices)
        self._max_steps, self._devices = max_steps, devices

    def create_dispatcher(self, make_step: Callable[[str | None], StepFn]) -> Dispatcher:
        """Return the dispatcher of all runs: its program is compiled during the first run."""
        return Dispatcher(
            lambda axis_name: _seed_step(make_step(axis_name)),
            self._feed,
            jax.random.key(0),
            devices=self._devices,
            max_steps=self._max_steps,
        )

    def train(
        self,
        state: Any,
        images: ImageSet,
        *,
        stages: Sequence[LoopStage],
        seed: int,
        notes: Notes,
        partial: Path | None = None,
        save_every_seconds: float = 0.0,
    ) -> Any:
        """Return `state` after all stages; their dispatchers come from this trainer.

        `notes` records all metrics. With `partial`, state and notes are written there every
        `save_every_seconds` (0: never). A later call continues from them. Raises `DivergedError`.
        """
        self._feed.fill(images, seed)
        step, seeded = _read_partial(partial, SeededState(jnp.uint32(seed), state), notes)
        save_timer = SaveTimer(save_every_seconds)

        def save(step: int, seeded: SeededState) -> None:
            if partial and save_timer.is_over():
                _write_partial(partial, step, seeded, notes)
                save_timer.renew()

        for stage in stages:
            if step < stage.last_step:
                if step == stage.first_step:
                    seeded = seeded.replace(state=stage.begin(seeded.state))
                seeded = self._run_stage(stage, seeded, step, notes, save)
                step = stage.last_step
        return seeded.state

    def _run_stage(
        self,
        stage: LoopStage,
        seeded: SeededState,
        step: int,
        notes: Notes,
        save: Callable[[int, SeededState], None],
    ) -> SeededState:
        seeded = stage.dispatcher.to_devices(seeded)
        while step < stage.last_step:
            begin, step = step, min(step + self._max_steps, stage.last_step)
            seeded, rows = stage.dispatcher(seeded, begin, step)
            check_finite(rows, begin, step)
            notes.note(begin, step, rows)
            save(step, stage.dispatcher.to_host(seeded))
        return stage.dispatcher.to_host(seeded)


def _seed_step(step_fn: StepFn) -> StepFn:
    def step(seeded: SeededState, batch: Batch, key: Key) -> tuple[SeededState, Metrics]:
        state, metrics = step_fn(seeded.state, batch, jax.random.fold_in(key, seeded.seed))
        return SeededState(seeded.seed, state), metrics

    return step


def _write_partial(path: Path, step: int, seeded: SeededState, notes: Notes) -> None:
    tree = {
        "step": step,
        "seeded": flax.serialization.to_state_dict(jax.device_get(seeded)),
        "notes": notes.to_arrays(),
    }
    content = flax.serialization.msgpack_serialize(tree)
    write_bytes(path, hashlib.sha256(content).digest() + content)


def _read_partial(path: Path | None, seeded: SeededState, notes: Notes) -> tuple[int, SeededState]:
    if path is None or not path.exists():
        return 0, seeded
    content = path.read_bytes()
    digest, content = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
    if hashlib.sha256(content).digest() != digest:
        say(f"{path} is damaged: this job begins again.")
        return 0, seeded
    tree = flax.serialization.msgpack_restore(content)
    try:
        restored = flax.serialization.from_state_dict(seeded, tree["seeded"])
    except ValueError:  # the file has other fields
        say(f"{path} was written by another version of jaxgan: this job begins again.")
        return 0, seeded
    notes.restore(tree["notes"])
    return int(tree["step"]), restored


class Curves:
    """The mean over each dispatch of every metric with one number per step."""

    def __init__(self) -> None:
        self._steps: list[int] = []
        self._rows: dict[str, list[float]] = {}

    def note(self, begin: int, end: int, rows: Metrics) -> None:
        """Record the metrics of a dispatch."""
        self._steps.append(end)
        for name, row in rows.items():
            if row.ndim == 1:
                mean = float(np.mean(np.asarray(row)[: end - begin], dtype=np.float64))
                self._rows.setdefault(name, []).append(mean)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return `curve_step` and `curve_NAME` arrays, each [num_dispatches]."""
        curves = {f"curve_{name}": np.array(row) for name, row in self._rows.items()}
        return {"curve_step": np.array(self._steps), **curves}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Continue from what `to_arrays` returned."""
        rows = {
            name.removeprefix("curve_"): row.tolist()
            for name, row in arrays.items()
            if name.startswith("curve_")
        }
        self._steps = rows.pop("step")
        self._rows = rows
