"""Checkpoints over orbax: the newest is always kept, and the best where a metric says which."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import (
    AnyPreservationPolicy,
    BestN,
    LatestN,
    PreservationPolicy,
)
from orbax.checkpoint.options import MultiprocessingOptions

from jaxgan.distributed import is_several, leads


class Checkpoints:
    """The checkpoints of one run, numbered by step; a context manager.

    Leaving the context waits for saves under way: without that an interpreter that ends right
    after a save would lose it. With `best_metric`, the checkpoint whose value of that metric is
    highest (or lowest, with `lowest_is_best`) is kept beside the newest (the earlier one of
    equals).
    """

    def __init__(
        self, directory: Path, *, best_metric: str | None = None, lowest_is_best: bool = False
    ):
        self._best_metric = best_metric
        self._sign = -1.0 if lowest_is_best else 1.0
        # `best_fn` makes orbax write the metrics down. Joined to `max_to_keep` it would delete the
        # newest checkpoints, and with them the work since the best: hence the explicit policy.
        policies: list[PreservationPolicy] = [LatestN(1)]
        if best_metric:
            policies.append(
                BestN(get_metric_fn=self._rank, n=1, keep_checkpoints_without_metrics=False)
            )
        options = ocp.CheckpointManagerOptions(
            best_fn=self._rank if best_metric else None,
            preservation_policy=AnyPreservationPolicy(policies),
        )
        if is_several():
            _reach_no_other_process(options, directory)
        self._manager = ocp.CheckpointManager(directory.absolute(), options=options)

    def _rank(self, metrics: Any) -> Any:
        # A checkpoint made between two evaluations (on a signal) has no value and ranks last.
        value = metrics.get(self._best_metric)
        return -math.inf if value is None else self._sign * value, -metrics["step"]

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        self._manager.close()

    @property
    def newest_step(self) -> int | None:
        """The newest complete checkpoint, None where there is none."""
        return self._manager.latest_step()

    @property
    def best_step(self) -> int | None:
        """The checkpoint with the best metric, None where none has it."""
        step = self._manager.best_step() if self._best_metric else None
        if step is None or self._best_metric not in (self._manager.metrics(step) or {}):
            return None
        return step

    def save(self, step: int, state: Any, metrics: Mapping[str, float]) -> None:
        """Start saving `state` as the checkpoint of `step`; a step that is there already stays.

        Of several processes the first one saves.
        """
        if not leads() or step in self._manager.all_steps():
            return
        # A copy: the training goes on, and overwrites the buffers it donates, while this is saved.
        state = jax.tree.map(lambda leaf: np.array(leaf, copy=True), state)
        self._manager.save(step, args=ocp.args.StandardSave(state), metrics=dict(metrics))

    def resume(self, state: Any) -> tuple[int, Any]:
        """Return the newest step and its state; 0 and `state` where there is no checkpoint."""
        step = self.newest_step
        return (0, state) if step is None else (step, self.restore(step, state))

    def wait(self) -> None:
        """Wait until every save begun is complete."""
        self._manager.wait_until_finished()

    def restore(self, step: int, template: Any) -> Any:
        """Return the state of `step`, with the structure, shapes and types of `template`."""
        template = jax.tree.map(np.asarray, template)
        return self._manager.restore(step, args=ocp.args.StandardRestore(template))


def _reach_no_other_process(options: ocp.CheckpointManagerOptions, directory: Path) -> None:
    """Keep orbax from waiting for the other processes: they save nothing."""
    own = jax.process_index()
    options.multiprocessing_options = MultiprocessingOptions(
        primary_host=own, active_processes={own}, barrier_sync_key_prefix=f"process{own}"
    )
    options.create = False  # with which orbax would wait for them all the same
    directory.mkdir(parents=True, exist_ok=True)
