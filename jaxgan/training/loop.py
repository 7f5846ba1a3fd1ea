"""The training loop of a run. It does not know what is being trained.

The many short trainings of a study have their own loop, `jaxgan.training.many`. So does the
encoder, `jaxgan.evaluation.encoder`.
"""

import contextlib
import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxgan.core.errors import DivergedError
from jaxgan.devices.distributed import agree, leads
from jaxgan.devices.parallel import Dispatcher
from jaxgan.training.checkpoint import Checkpoints
from jaxgan.training.epochs import EpochPlan
from jaxgan.training.progress import Progress
from jaxgan.training.run_folder import RunFolder

_DIVERGED = (
    ": the training has diverged and was stopped. Everything saved before is valid; try a lower "
    "learning rate in another --workdir."
)

_TROUBLE = 1000  # larger than the number of every signal


class Stopped(Exception):  # noqa: N818 (nothing went wrong)
    """The user asked the run to stop; all epochs up to `epoch` are saved."""

    def __init__(self, epoch: int, num_epochs: int, signal_number: int):
        super().__init__(
            f"Stopped after epoch {epoch} of {num_epochs}, and saved. "
            "The same command goes on from there."
        )
        self.signal_number = signal_number


@dataclass(frozen=True)
class StepInfo:
    """A run between two dispatches.

    `rows` are the metrics of the steps since the last dispatch, `begin` to `step`, as arrays
    [max_steps, ...]. `state` is one copy, without replication over devices.
    """

    step: int
    epoch: int
    state: Any
    begin: int
    rows: Mapping[str, Any]


@dataclass(frozen=True)
class Hook:
    """An action every `every_epochs` epochs and at the end; its result is added to the metrics.

    With `saves` a checkpoint follows each time, so that the best checkpoint can be kept.
    """

    every_epochs: int
    run: Callable[[StepInfo], Mapping[str, float]]
    saves: bool = False


def list_end_signals() -> list[signal.Signals]:
    """Return the signals that others send to end a process: SIGTERM, and SIGHUP (closed terminal).

    SIGHUP is left out if it is ignored, as `nohup` does.
    """
    hang_up = getattr(signal, "SIGHUP", None)  # Windows has none
    is_caught = hang_up is not None and signal.getsignal(hang_up) != signal.SIG_IGN
    return [signal.SIGTERM, *([hang_up] if hang_up is not None and is_caught else [])]


@contextlib.contextmanager
def catch_stop_signals() -> Iterator[Callable[[], int]]:
    """Catch and record the first SIGINT or one of `list_end_signals`; the second acts as usual.

    Yields a function that returns the signal's number, 0 while there was none.
    """
    caught = 0
    previous = {n: signal.getsignal(n) for n in (signal.SIGINT, *list_end_signals())}

    def note(number: int, _: FrameType | None) -> None:
        nonlocal caught
        caught = number
        restore()

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    for number in previous:
        signal.signal(number, note)
    try:
        yield lambda: caught
    finally:
        restore()


class LoopStage(NamedTuple):
    """Steps `first_step` to `last_step` of a run, with their own dispatcher.

    `begin` turns the final state of the previous stage into the first state of this one.
    """

    first_step: int
    last_step: int
    dispatcher: Dispatcher
    begin: Callable[[Any], Any] = lambda state: state


@dataclass(frozen=True)
class Loop:
    """What a run does between two dispatches, in addition to training.

    It runs the hooks that are due, writes one line of metrics (means over the dispatch's steps),
    and saves the checkpoint that is due by epochs or by time (0 seconds: by epochs only). Only a
    checkpoint due by epochs can become the best, so that no result depends on the clock.
    `is_over` gets the last step of a dispatch. It says if the training ends before its last epoch.
    """

    plan: EpochPlan
    hooks: Sequence[Hook]
    folder: RunFolder
    checkpoints: Checkpoints
    checkpoint_every_epochs: int
    checkpoint_every_seconds: float
    progress: Progress
    is_over: Callable[[int], bool] | None = None


def run_loop(loop: Loop, stages: Sequence[LoopStage], state: Any, *, start_step: int) -> Any:
    """Train from `start_step` to the end of the last stage and return the state.

    Raises `Stopped` after a signal. Raises `DivergedError` before any value that is not finite is
    saved.
    """
    step, save_timer = start_step, SaveTimer(loop.checkpoint_every_seconds)
    with catch_stop_signals() as get_signal:
        for stage in stages:
            if _agree_on_end(loop, step):
                break
            if step == stage.first_step:
                state = stage.begin(state)
            if step < stage.last_step:
                state = _run_stage(loop, stage, state, step, save_timer, get_signal)
                step = stage.last_step
    return state


def _run_stage(
    loop: Loop,
    stage: LoopStage,
    state: Any,
    step: int,
    save_timer: "SaveTimer",
    get_signal: Callable[[], int],
) -> Any:
    plan, dispatcher = loop.plan, stage.dispatcher
    state = dispatcher.to_devices(state)
    while step < stage.last_step:
        begin, step = step, plan.compute_next(step)
        state, rows = dispatcher(state, begin, step)
        rows = _fetch_scalars(rows)
        check_finite(rows, begin, step)
        epoch = plan.compute_epoch(step)
        line = {"step": step, "epoch": epoch, **_compute_means(rows, step - begin)}

        due = [hook for hook in loop.hooks if plan.is_due(hook.every_epochs, begin, step)]
        for hook in due:
            line |= hook.run(StepInfo(step, epoch, dispatcher.to_host(state), begin, rows))
        trouble = find_trouble(line)
        if trouble is None:
            speed = loop.progress.update(step, line)
            loop.folder.append(line, {} if speed is None else {"images_per_second": speed})

        is_due = plan.is_due(loop.checkpoint_every_epochs, begin, step)
        is_due = is_due or any(hook.saves for hook in due)
        host_state = None
        if is_due or save_timer.is_over():
            host_state = jax.device_get(dispatcher.to_host(state))
            trouble = trouble or find_trouble_of_state(host_state, step)
        signal_number = agree_to_go_on(trouble, get_signal())
        if signal_number:
            host_state = jax.device_get(dispatcher.to_host(state))
            agree_to_go_on(find_trouble_of_state(host_state, step), 0)
        if host_state is not None:
            loop.folder.sync()
            loop.checkpoints.save(step, host_state, line if is_due else {})
            save_timer.renew()
        if signal_number and step < plan.num_steps:
            raise Stopped(epoch, plan.num_epochs, signal_number)
        if _agree_on_end(loop, step):
            break
    return dispatcher.to_host(state)


def _agree_on_end(loop: Loop, step: int) -> bool:
    """Whether the training is over before its end: process 0, which measures, says so."""
    is_over = loop.is_over
    return is_over is not None and bool(agree(int(leads() and is_over(step))))


class SaveTimer:
    """A timer over `seconds`; 0 for never. A change of the wall clock does not affect it."""

    def __init__(self, seconds: float):
        self._seconds = seconds
        self.renew()

    def renew(self) -> None:
        """Start again from now."""
        self._began = time.monotonic()

    def is_over(self) -> bool:
        """Whether the seconds have passed."""
        return 0 < self._seconds <= time.monotonic() - self._began


def _fetch_scalars(rows: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metrics; those with one number per step are fetched to the host together."""
    scalars = {name: row for name, row in rows.items() if row.ndim == 1}
    return {**rows, **jax.device_get(scalars)}


def check_finite(rows: Mapping[str, Any], begin: int, end: int) -> None:
    """Raise `DivergedError` where a metric [max_steps] of steps `begin` to `end` is not finite."""
    scalars = {name: row for name, row in rows.items() if row.ndim == 1}
    for name, row in jax.device_get(scalars).items():
        bad = np.flatnonzero(~np.isfinite(row[: end - begin]))
        if len(bad):
            raise DivergedError(f"{name} is {row[bad[0]]} at step {begin + bad[0] + 1}{_DIVERGED}")


def find_trouble(line: Mapping[str, Any]) -> DivergedError | None:
    """Return the error if a value of a line, from a step or a hook, is not finite."""
    for name, value in line.items():
        if isinstance(value, float) and not math.isfinite(value):
            return DivergedError(f"{name} is {value} at step {line['step']}{_DIVERGED}")
    return None


def find_trouble_of_state(state: Any, step: int) -> DivergedError | None:
    """Return the error if a state is no longer finite: no run could resume from it."""
    if all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state)):
        return None
    return DivergedError(f"A parameter is no longer finite after step {step}{_DIVERGED}")


def agree_to_go_on(trouble: DivergedError | None, signal_number: int) -> int:
    """Return the signal that any process received, 0 for none; raise if any process found trouble.

    Only process 0 has hooks and saves. The others end as it does, and for the same reason.
    """
    agreed = agree(_TROUBLE if trouble else signal_number)
    if agreed == _TROUBLE:
        raise trouble or DivergedError(f"Process 0 found a value that is not finite{_DIVERGED}")
    return agreed


def _compute_means(rows: Mapping[str, Any], num_steps: int) -> dict[str, float]:
    """Return the mean over a dispatch's steps of every metric with one number per step."""
    return {
        name: float(np.mean(row[:num_steps], dtype=np.float64))
        for name, row in rows.items()
        if row.ndim == 1
    }
