"""Checkpoints with orbax: the newest two are kept, and the best one where a metric is given.

Each checkpoint holds the SHA-256 of its files and the record of its run. So a damaged checkpoint is
detected, and the previous one is used instead.
"""

import contextlib
import functools
import hashlib
import json
import math
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
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
from orbax.checkpoint.options import AsyncOptions, MultiprocessingOptions

from jaxgan.core.console import say
from jaxgan.core.errors import UserError, find_disk_error, find_memory_error
from jaxgan.core.files import read_object, write_json
from jaxgan.core.untrusted import printable
from jaxgan.devices.distributed import is_several, leads
from jaxgan.training.record import describe_differences, number_record, upgrade_record

_DIGESTS = "sha256.json"
# Orbax moves a checkpoint that is not kept to this folder, in one step. If it were removed in
# place, a kill could leave half of it, and that would appear as damage.
_REJECTED = "rejected"
_METADATA = "_CHECKPOINT_METADATA"
_POLL_SECONDS, _MAX_POLLS = 0.002, 30_000  # a minute at most
_READING: Mapping[str, Any] = {
    "read_only": True,
    "create": False,
    "cleanup_tmp_directories": False,
    "save_interval_steps": 0,
}
_COMMIT_TIME = re.compile(rb'"commit_timestamp_nsecs": (null|\d+)')


class Checkpoints:
    """The checkpoints of one run, numbered by step; a context manager.

    Leaving the context waits for unfinished saves. Otherwise an interpreter that ends right after
    a save would lose it. With `best_metric`, the checkpoint with the highest value of that metric
    is kept as well as the newest (the lowest value with `lowest_is_best`; the earlier one of two
    equals). With the run's `record`, a checkpoint of another run is refused, and a damaged one is
    moved out of the way and reported. With `read_only`, nothing in `directory` is written, moved or
    created, and it need not exist.
    """

    def __init__(
        self,
        directory: Path,
        *,
        best_metric: str | None = None,
        lowest_is_best: bool = False,
        record: Mapping[str, Any] | None = None,
        read_only: bool = False,
    ):
        self._best_metric, self._directory, self._saves = best_metric, directory, False
        self._sign = -1.0 if lowest_is_best else 1.0
        self._record = None if record is None else json.loads(json.dumps(record))
        # `best_fn` makes orbax save the metrics. Together with `max_to_keep` it would delete the
        # newest checkpoints, and with them the work since the best. So the policy is explicit.
        policies: list[PreservationPolicy] = [LatestN(2)]
        if best_metric:
            policies.append(
                BestN(get_metric_fn=self._rank, n=1, keep_checkpoints_without_metrics=False)
            )
        if record is not None and not read_only:
            _remove_rejected(directory)
            _move_damaged(directory)
        options = ocp.CheckpointManagerOptions(
            async_options=AsyncOptions(
                post_finalization_callback=functools.partial(_note_digests, directory.absolute())
            ),
            best_fn=self._rank if best_metric else None,
            preservation_policy=AnyPreservationPolicy(policies),
            **_READING if read_only else {"todelete_subdir": _REJECTED},
        )
        if is_several() and not read_only:
            _reach_no_other_process(options, directory)
        handler = ocp.StandardCheckpointHandler(
            multiprocessing_options=options.multiprocessing_options
        )
        with _reporting_damage(directory, _list_steps(directory)):
            self._manager = ocp.CheckpointManager(
                directory.absolute(), options=options, item_handlers=handler
            )

    def _rank(self, metrics: Any) -> Any:
        # A checkpoint that no schedule in epochs asked for has no value and ranks last. Otherwise
        # the time of a signal could decide which one is the best.
        value = metrics.get(self._best_metric)
        return -math.inf if value is None else self._sign * value, -metrics["step"]

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        with self._reporting_disk_errors():
            self._manager.close()
            if self._saves:
                _remove_rejected(self._directory)

    @property
    def newest_step(self) -> int | None:
        """The step of the newest complete checkpoint, None if there is none."""
        return self._manager.latest_step()

    @property
    def best_step(self) -> int | None:
        """The step of the checkpoint with the best metric, None if none has the metric."""
        step = self._manager.best_step() if self._best_metric else None
        if step is None or self._best_metric not in (self._manager.metrics(step) or {}):
            return None
        return step

    def save(self, step: int, state: Any, metrics: Mapping[str, float]) -> None:
        """Start saving `state` as the checkpoint of `step`; an existing checkpoint stays.

        It can become the best one only with `best_metric` among `metrics`. Only the first of
        several processes saves. Raises `DiskError`, also for an earlier save.
        """
        if not leads() or step in self._manager.all_steps():
            return
        # A copy: training continues during the save, and overwrites the buffers it donates.
        state = jax.tree.map(lambda leaf: np.array(leaf, copy=True), state)
        metrics = {"step": step, **metrics}
        run = self._record and number_record(self._record)
        kept = {"run": run, "arrays": _describe_arrays(state)}
        self._saves = True
        with self._reporting_disk_errors():
            self._manager.wait_until_finished()
            _remove_rejected(self._directory)
            self._manager.save(
                step, args=ocp.args.StandardSave(state), metrics=metrics, custom_metadata=kept
            )

    def resume(self, create: Callable[[], Any]) -> tuple[int, Any]:
        """Return the newest step and its state; without a checkpoint, 0 and a new state.

        With a checkpoint, `create` is only traced for the shapes: no random number is drawn.
        """
        step = self.newest_step
        return (0, create()) if step is None else (step, self.restore(step, jax.eval_shape(create)))

    def wait(self) -> None:
        """Wait until every started save is complete."""
        with self._reporting_disk_errors():
            self._manager.wait_until_finished()

    def restore(self, step: int, template: Any) -> Any:
        """Return the state of `step`, with the structure, shapes and types of `template`.

        The values of `template` are not read, so the result of `jax.eval_shape` is enough. Raises
        `UserError` if the checkpoint is damaged, of another run or of another model.
        """
        if not _is_intact(self._directory, step):
            raise _describe_damage(self._directory, {step})
        arrays = _describe_arrays(template)
        with _reporting_damage(self._directory, {step}):
            kept = dict(self._manager.metadata(step).custom_metadata or {})
        self._check_same_run(step, kept.get("run"))
        self._check_same_model(step, kept.get("arrays", arrays), arrays)
        with _reporting_damage(self._directory, {step}):
            # Array by array: the rest of the tree comes from this version. It may differ from the
            # version that saved, for example in statistics that a network does not have.
            saved = self._manager.restore(step, args=ocp.args.StandardRestore())
            return ocp.tree.from_flat_dict(ocp.tree.to_flat_dict(saved), target=template)

    @property
    def _shown(self) -> str:
        return printable(str(self._directory))

    def _check_same_run(self, step: int, record: Mapping[str, Any] | None) -> None:
        if self._record is None or record is None:
            return
        shown = f"The checkpoint of step {step} in {self._shown}"
        differences = describe_differences(upgrade_record(record, shown), self._record)
        if differences:
            raise UserError(
                f"{shown} is of another run: {differences}. Choose another --workdir, or restore "
                "the run's own checkpoints."
            )

    def _check_same_model(
        self, step: int, found: Mapping[str, str], expected: Mapping[str, str]
    ) -> None:
        names = [n for n in sorted({*found, *expected}) if found.get(n) != expected.get(n)]
        if names:
            name = names[0]
            raise UserError(
                f"The checkpoint of step {step} in {self._shown} is of another model: {name} "
                f"is {found.get(name, 'absent')} there and {expected.get(name, 'absent')} in this "
                f"run ({len(names)} arrays differ). Choose another --workdir, or give the settings "
                "that the checkpoint was made with."
            )

    @contextlib.contextmanager
    def _reporting_disk_errors(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            disk_error = find_disk_error(self._directory, error)
            raise (disk_error or error) from None


def _note_digests(directory: Path) -> None:
    """Write a checkpoint's digests into it; orbax calls this right before the rename."""
    for unfinished in directory.glob("*.orbax-checkpoint-tmp*"):
        _wait_for_metadata(unfinished / _METADATA)
        write_json(unfinished / _DIGESTS, _compute_digests(unfinished))


def _wait_for_metadata(file: Path) -> None:
    """Wait for the copy of the record: orbax adds it in a separate thread.

    It comes last. The digest of a file without it would later report damage that does not exist.
    """
    for _ in range(_MAX_POLLS):
        with contextlib.suppress(OSError, ValueError):
            if json.loads(file.read_bytes()).get("custom_metadata"):
                return
        time.sleep(_POLL_SECONDS)


def _is_intact(directory: Path, step: int) -> bool:
    """Whether a checkpoint is identical, bit for bit, to what was saved."""
    path = directory / str(step) / _DIGESTS
    if not path.exists():  # older versions of jaxgan saved no digests
        return not any(directory.glob(f"*/{_DIGESTS}"))
    found, noted = _compute_digests(path.parent), (read_object(path) or {})
    return bool(noted) and noted.items() <= found.items()


@contextlib.contextmanager
def _reporting_damage(directory: Path, steps: Iterable[int]) -> Iterator[None]:
    """Turn an error of orbax about damaged checkpoints among `steps` into one sentence."""
    try:
        yield
    except Exception as error:
        suspects = {step for step in steps if not _is_verified(directory, step)}
        if not suspects or find_memory_error(error):
            raise
        raise _describe_damage(directory, suspects) from None


def _is_verified(directory: Path, step: int) -> bool:
    """Whether a checkpoint has digests and they match its files."""
    return (directory / str(step) / _DIGESTS).exists() and _is_intact(directory, step)


def _describe_damage(directory: Path, steps: Iterable[int]) -> UserError:
    """Return the error for one of these checkpoints that cannot be read."""
    steps = sorted(steps)
    gone = [step for step in steps if not (directory / str(step)).is_dir()]
    shown = f"The checkpoint of step {' or '.join(map(str, gone or steps))} in {directory}"
    if gone:
        return UserError(
            f"{printable(shown)} is no longer there: a running training replaces old checkpoints "
            "with new ones. Start this command again."
        )
    remedy = "start the training's own command again; it continues from the previous checkpoint."
    if not any(directory.glob(f"*/{_DIGESTS}")):  # older versions of jaxgan saved no digests
        remedy = f"remove its folder, then {remedy}"
    return UserError(f"{printable(shown)} is damaged: {remedy}")


def _list_steps(directory: Path) -> set[int]:
    """Return the steps of complete checkpoints: orbax renames a folder when it is complete."""
    return {int(path.name) for path in directory.glob("*") if path.name.isdecimal()}


def _compute_digests(checkpoint: Path) -> dict[str, str]:
    """Return the SHA-256 of every file of a checkpoint."""
    files = [path for path in sorted(checkpoint.rglob("*")) if path.is_file()]
    return {
        path.relative_to(checkpoint).as_posix(): hashlib.sha256(_read_stable(path)).hexdigest()
        for path in files
        if path.name != _DIGESTS
    }


def _read_stable(path: Path) -> bytes:
    """Return a file's content without the time that orbax adds at the very end."""
    return _COMMIT_TIME.sub(b"", path.read_bytes()) if path.name == _METADATA else path.read_bytes()


def _move_damaged(directory: Path) -> None:
    """Move damaged checkpoints out of the way and say what is used instead."""
    steps = _list_steps(directory)
    damaged = sorted(step for step in steps if not _is_intact(directory, step))
    if damaged and len(damaged) == len(steps):
        raise UserError(
            f"Every checkpoint in {printable(str(directory))} is damaged (steps "
            f"{', '.join(map(str, damaged))}). "
            "Train again in another --workdir; the other files of this run are still there."
        )
    newest = max(steps - set(damaged), default=0)
    for step in damaged:
        moved = directory / f"{step}.damaged"
        shutil.rmtree(moved, ignore_errors=True)
        (directory / str(step)).replace(moved)
        instead = f"the run continues from the previous one, of step {newest}"
        if step < newest:
            instead = "if it was the best by validation, the best of the others takes its place"
        say(
            f"The checkpoint of step {step} in {printable(str(directory))} is damaged. It was "
            f"renamed to {moved.name}: {instead}."
        )


def _remove_rejected(directory: Path) -> None:
    """Remove the checkpoints that were not kept; after a kill some stay until the next save."""
    shutil.rmtree(directory / _REJECTED, ignore_errors=True)


def _describe_arrays(tree: Any) -> dict[str, str]:
    """Return the type and shape of every array, by its path in the tree."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {
        jax.tree_util.keystr(path).lstrip("."): f"{leaf.dtype} {list(leaf.shape)}"
        for path, leaf in leaves
    }


def _reach_no_other_process(options: ocp.CheckpointManagerOptions, directory: Path) -> None:
    """Stop orbax from waiting for the other processes: they save nothing."""
    own = jax.process_index()
    options.multiprocessing_options = MultiprocessingOptions(
        primary_host=own, active_processes={own}, barrier_sync_key_prefix=f"process{own}"
    )
    options.create = False  # with True, orbax would still wait for them
    directory.mkdir(parents=True, exist_ok=True)
