"""Checkpoints over orbax: the newest two are kept, and the best where a metric says which.

Beside each stands the SHA-256 of what was saved, and which run saved it: a damaged one is noticed,
and the one before takes its place.
"""

import contextlib
import hashlib
import json
import math
from collections.abc import Iterator, Mapping
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

from jaxgan.console import say
from jaxgan.distributed import is_several, leads
from jaxgan.errors import UserError, find_disk_error
from jaxgan.run_folder import describe_differences

_DIGEST, _RECORD, _METRICS = "sha256", "run", "metrics"


class DamagedError(UserError):
    """A checkpoint that is not what was saved."""


class Checkpoints:
    """The checkpoints of one run, numbered by step; a context manager.

    Leaving the context waits for saves under way: without that an interpreter that ends right
    after a save would lose it. With `best_metric`, the checkpoint whose value of that metric is
    highest is kept beside the newest (the earlier one of equals). With `record`, what defines the
    run, a checkpoint of another run is refused.
    """

    def __init__(
        self,
        directory: Path,
        *,
        best_metric: str | None = None,
        record: Mapping[str, Any] | None = None,
    ):
        self._best_metric, self._directory = best_metric, directory
        self._record = None if record is None else json.loads(json.dumps(record))
        # `best_fn` makes orbax write the metrics down. Joined to `max_to_keep` it would delete the
        # newest checkpoints, and with them the work since the best: hence the explicit policy.
        policies: list[PreservationPolicy] = [LatestN(2)]
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
        # A checkpoint that no cadence in epochs asked for has no value and ranks last: otherwise the
        # moment of a signal could decide which one is the best.
        return metrics.get(self._best_metric, -math.inf), -metrics["step"]

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        with self._telling_disk_errors():
            self._manager.close()

    @property
    def newest_step(self) -> int | None:
        """The newest complete checkpoint, None where there is none."""
        return self._manager.latest_step()

    @property
    def best_step(self) -> int | None:
        """The checkpoint with the highest metric, None where there is none."""
        return self._manager.best_step() if self._best_metric else None

    def save(self, step: int, state: Any, metrics: Mapping[str, float]) -> None:
        """Start saving `state` as the checkpoint of `step`; a step that is there already stays.

        Only with `best_metric` among `metrics` may it become the best one. Of several processes
        the first one saves. Raises `DiskError`, also for an earlier save.
        """
        if not leads() or step in self._manager.all_steps():
            return
        # A copy: the training goes on, and overwrites the buffers it donates, while this is saved.
        state = jax.tree.map(lambda leaf: np.array(leaf, copy=True), state)
        metrics = {"step": step, **metrics}
        kept = {_DIGEST: _hash(state, metrics), _RECORD: self._record, _METRICS: metrics}
        with self._telling_disk_errors():
            self._manager.save(
                step, args=ocp.args.StandardSave(state), metrics=metrics, custom_metadata=kept
            )

    def resume(self, state: Any) -> tuple[int, Any]:
        """Return the newest step that is whole, and its state; 0 and `state` without a checkpoint.

        A damaged checkpoint is told, and removed: training makes it again from the one before.
        """
        steps = sorted(self._manager.all_steps(), reverse=True)
        for step in steps:
            try:
                return step, self.restore(step, state)
            except DamagedError as error:
                say(f"{error} Going on from the one before it.")
                self._manager.delete(step)
        if steps:
            raise UserError(
                f"No checkpoint in {self._directory} is whole. Choose another --workdir to train "
                "anew; what else the run has written is still there."
            )
        return 0, state

    def wait(self) -> None:
        """Wait until every save begun is complete."""
        with self._telling_disk_errors():
            self._manager.wait_until_finished()

    def restore(self, step: int, template: Any) -> Any:
        """Return the state of `step`, with the structure, shapes and types of `template`.

        Raises `DamagedError` where it is not, to the bit, what was saved, and `UserError` where it
        was saved by another run or is of another model.
        """
        template = jax.tree.map(np.asarray, template)
        try:
            kept = self._manager.metadata(step).custom_metadata or {}
            found = _describe_leaves(self._manager.item_metadata(step).tree)
        except Exception as error:
            raise self._describe_damage(step, error) from None
        self._check_same_run(step, kept.get(_RECORD))
        self._check_same_model(step, found, _describe_leaves(template))
        try:
            state = self._manager.restore(step, args=ocp.args.StandardRestore(template))
        except MemoryError:
            raise
        except Exception as error:
            raise self._describe_damage(step, error) from None
        if _DIGEST in kept and _hash(state, kept[_METRICS]) != kept[_DIGEST]:
            raise self._describe_damage(step, "its SHA-256 is not the one that was noted")
        return state

    def _check_same_run(self, step: int, record: Mapping[str, Any] | None) -> None:
        if self._record is None or record is None:
            return
        differences = describe_differences(record, self._record)
        if differences:
            raise UserError(
                f"The checkpoint of step {step} in {self._directory} is of another run: "
                f"{differences}. Choose another --workdir, or put back the run's own checkpoints."
            )

    def _check_same_model(
        self, step: int, found: Mapping[str, str], expected: Mapping[str, str]
    ) -> None:
        names = [n for n in sorted({*found, *expected}) if found.get(n) != expected.get(n)]
        if names:
            name = names[0]
            raise UserError(
                f"The checkpoint of step {step} in {self._directory} is of another model: {name} "
                f"is {found.get(name, 'absent')} there and {expected.get(name, 'absent')} in this "
                f"run ({len(names)} arrays differ). Choose another --workdir, or give the settings "
                "that the checkpoint was made with."
            )

    def _describe_damage(self, step: int, error: object) -> "DamagedError":
        reason = (str(error) or type(error).__name__).splitlines()[0]
        return DamagedError(
            f"The checkpoint of step {step} in {self._directory} is damaged ({reason[:200]})."
        )

    @contextlib.contextmanager
    def _telling_disk_errors(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            told = find_disk_error(self._directory, error)
            raise (told or error) from None


def _hash(state: Any, metrics: Mapping[str, float]) -> str:
    """Return the SHA-256 of a state on the host and of its metrics."""
    digest = hashlib.sha256(json.dumps(dict(metrics), sort_keys=True).encode())
    for leaf in jax.tree.leaves(state):
        array = np.ascontiguousarray(leaf)
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(array.data)
    return digest.hexdigest()


def _describe_leaves(tree: Any) -> dict[str, str]:
    """Return type and shape of every array, by its path in the tree."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {
        "/".join(
            str(getattr(key, "name", getattr(key, "key", getattr(key, "idx", key)))) for key in path
        ): f"{np.dtype(leaf.dtype)} {list(leaf.shape)}"
        for path, leaf in leaves
    }


def _reach_no_other_process(options: ocp.CheckpointManagerOptions, directory: Path) -> None:
    """Keep orbax from waiting for the other processes: they save nothing."""
    own = jax.process_index()
    options.multiprocessing_options = MultiprocessingOptions(
        primary_host=own, active_processes={own}, barrier_sync_key_prefix=f"process{own}"
    )
    options.create = False  # with which orbax would wait for them all the same
    directory.mkdir(parents=True, exist_ok=True)
