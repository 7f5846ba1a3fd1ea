"""Checkpoints over orbax: the newest two are kept, and the best where a metric says which.

Each holds the SHA-256 of its files and which run saved it: a damaged one is noticed, and the one
before takes its place.
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
from jaxgan.core.files import write_json
from jaxgan.core.untrusted import printable
from jaxgan.devices.distributed import is_several, leads
from jaxgan.training.record import describe_differences, number_record, upgrade_record

_DIGESTS = "sha256.json"
# Where orbax moves a checkpoint that is not kept, at one stroke. Were it removed in place, a kill
# could leave half of it, which looks like damage.
_REJECTED = "rejected"
_METADATA = "_CHECKPOINT_METADATA"
_LOOK_SECONDS, _MOST_LOOKS = 0.002, 30_000  # a minute at most
_READING: Mapping[str, Any] = {
    "read_only": True,
    "create": False,
    "cleanup_tmp_directories": False,
    "save_interval_steps": 0,
}
_COMMIT_TIME = re.compile(rb'"commit_timestamp_nsecs": (null|\d+)')


class Checkpoints:
    """The checkpoints of one run, numbered by step; a context manager.

    Leaving the context waits for saves under way: without that an interpreter that ends right
    after a save would lose it. With `best_metric`, the checkpoint whose value of that metric is
    highest (or lowest, with `lowest_is_best`) is kept beside the newest (the earlier one of
    equals). With the run's `record` a checkpoint of another run is refused, and a damaged one is
    set aside and told. With `read_only` nothing is written, moved or made in `directory`, which
    need not be there.
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
        # `best_fn` makes orbax write the metrics down. Joined to `max_to_keep` it would delete the
        # newest checkpoints, and with them the work since the best: hence the explicit policy.
        policies: list[PreservationPolicy] = [LatestN(2)]
        if best_metric:
            policies.append(
                BestN(get_metric_fn=self._rank, n=1, keep_checkpoints_without_metrics=False)
            )
        if record is not None and not read_only:
            _remove_rejected(directory)
            _set_damaged_aside(directory)
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
        with _telling_damage(directory, _list_steps(directory)):
            self._manager = ocp.CheckpointManager(
                directory.absolute(), options=options, item_handlers=handler
            )

    def _rank(self, metrics: Any) -> Any:
        # A checkpoint that no cadence in epochs asked for has no value and ranks last: otherwise
        # the moment of a signal could decide which one is the best.
        value = metrics.get(self._best_metric)
        return -math.inf if value is None else self._sign * value, -metrics["step"]

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        with self._telling_disk_errors():
            self._manager.close()
            if self._saves:
                _remove_rejected(self._directory)

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

        Only with `best_metric` among `metrics` may it become the best one. Of several processes
        the first one saves. Raises `DiskError`, also for an earlier save.
        """
        if not leads() or step in self._manager.all_steps():
            return
        # A copy: the training goes on, and overwrites the buffers it donates, while this is saved.
        state = jax.tree.map(lambda leaf: np.array(leaf, copy=True), state)
        metrics = {"step": step, **metrics}
        run = self._record and number_record(self._record)
        kept = {"run": run, "arrays": _describe_arrays(state)}
        self._saves = True
        with self._telling_disk_errors():
            self._manager.wait_until_finished()
            _remove_rejected(self._directory)
            self._manager.save(
                step, args=ocp.args.StandardSave(state), metrics=metrics, custom_metadata=kept
            )

    def resume(self, create: Callable[[], Any]) -> tuple[int, Any]:
        """Return the newest step and its state; 0 and a new one where there is no checkpoint.

        Where there is one `create` is traced alone, for the shapes: nothing is drawn.
        """
        step = self.newest_step
        return (0, create()) if step is None else (step, self.restore(step, jax.eval_shape(create)))

    def wait(self) -> None:
        """Wait until every save begun is complete."""
        with self._telling_disk_errors():
            self._manager.wait_until_finished()

    def restore(self, step: int, template: Any) -> Any:
        """Return the state of `step`, with the structure, shapes and types of `template`.

        Of that no values are read: what `jax.eval_shape` gives will do. Raises `UserError` where
        the checkpoint is damaged, of another run or of another model.
        """
        if not _is_whole(self._directory, step):
            raise _describe_damage(self._directory, {step})
        arrays = _describe_arrays(template)
        with _telling_damage(self._directory, {step}):
            kept = dict(self._manager.metadata(step).custom_metadata or {})
        self._check_same_run(step, kept.get("run"))
        self._check_same_model(step, kept.get("arrays", arrays), arrays)
        with _telling_damage(self._directory, {step}):
            # Array by array: the rest of the tree, such as statistics that a network does not
            # have, is this version's and need not be that of the version which saved.
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
                f"{shown} is of another run: {differences}. Choose another --workdir, or put back "
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
    def _telling_disk_errors(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            told = find_disk_error(self._directory, error)
            raise (told or error) from None


def _note_digests(directory: Path) -> None:
    """Write the digests of a checkpoint into it; orbax calls this right before it renames it."""
    for unfinished in directory.glob("*.orbax-checkpoint-tmp*"):
        _wait_for_metadata(unfinished / _METADATA)
        write_json(unfinished / _DIGESTS, _compute_digests(unfinished))


def _wait_for_metadata(file: Path) -> None:
    """Wait for the copy of the record, which orbax adds in a thread of its own.

    It comes last: the digest of a file without it would later tell of damage where there is none.
    """
    for _ in range(_MOST_LOOKS):
        with contextlib.suppress(OSError, ValueError):
            if json.loads(file.read_bytes()).get("custom_metadata"):
                return
        time.sleep(_LOOK_SECONDS)


def _is_whole(directory: Path, step: int) -> bool:
    """Whether a checkpoint is, to the bit, what was saved."""
    path = directory / str(step) / _DIGESTS
    if not path.exists():  # as jaxgan once saved them
        return not any(directory.glob(f"*/{_DIGESTS}"))
    found, noted = _compute_digests(path.parent), _read_digests(path)
    return bool(noted) and noted.items() <= found.items()


@contextlib.contextmanager
def _telling_damage(directory: Path, steps: Iterable[int]) -> Iterator[None]:
    """Tell in a sentence what orbax makes of damaged checkpoints among these."""
    try:
        yield
    except Exception as error:
        suspects = {step for step in steps if not _is_verified(directory, step)}
        if not suspects or find_memory_error(error):
            raise
        raise _describe_damage(directory, suspects) from None


def _is_verified(directory: Path, step: int) -> bool:
    """Whether a checkpoint has digests and they are those of its files."""
    return (directory / str(step) / _DIGESTS).exists() and _is_whole(directory, step)


def _describe_damage(directory: Path, steps: Iterable[int]) -> UserError:
    """Return what to raise where a checkpoint, one of these, can not be read."""
    steps = sorted(steps)
    gone = [step for step in steps if not (directory / str(step)).is_dir()]
    shown = f"The checkpoint of step {' or '.join(map(str, gone or steps))} in {directory}"
    if gone:
        return UserError(
            f"{printable(shown)} is no longer there: a training that goes on replaces old ones by "
            "new ones. Start this command again."
        )
    remedy = "the training's own command, started again, goes on from the one before it."
    if not any(directory.glob(f"*/{_DIGESTS}")):  # as jaxgan once saved them
        remedy = f"remove its folder, and {remedy}"
    return UserError(f"{printable(shown)} is damaged: {remedy}")


def _read_digests(path: Path) -> dict[str, str]:
    """Return the digests that were noted, none where they are themselves damaged."""
    try:
        return dict(json.loads(path.read_bytes()))
    except (OSError, ValueError):
        return {}


def _list_steps(directory: Path) -> set[int]:
    """Return the checkpoints that are complete: orbax renames a folder when it is."""
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
    """Return a file's content, less the time that orbax adds at the very end."""
    return _COMMIT_TIME.sub(b"", path.read_bytes()) if path.name == _METADATA else path.read_bytes()


def _set_damaged_aside(directory: Path) -> None:
    """Move damaged checkpoints out of the way and say what is done instead."""
    steps = _list_steps(directory)
    damaged = sorted(step for step in steps if not _is_whole(directory, step))
    if damaged and len(damaged) == len(steps):
        raise UserError(
            f"No checkpoint in {printable(str(directory))} is whole (damaged: "
            f"{', '.join(map(str, damaged))}). "
            "Train again in another --workdir; what else this run has written is still there."
        )
    newest = max(steps - set(damaged), default=0)
    for step in damaged:
        aside = directory / f"{step}.damaged"
        shutil.rmtree(aside, ignore_errors=True)
        (directory / str(step)).replace(aside)
        instead = f"going on from the one before, of step {newest}"
        if step < newest:
            instead = "if it was the best by validation, the best of the others takes its place"
        say(
            f"The checkpoint of step {step} in {printable(str(directory))} is damaged and was set "
            f"aside: {instead}."
        )


def _remove_rejected(directory: Path) -> None:
    """Remove the checkpoints that were not kept; a kill may leave some, until the next save."""
    shutil.rmtree(directory / _REJECTED, ignore_errors=True)


def _describe_arrays(tree: Any) -> dict[str, str]:
    """Return type and shape of every array, by its path in the tree."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {
        jax.tree_util.keystr(path).lstrip("."): f"{leaf.dtype} {list(leaf.shape)}"
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
