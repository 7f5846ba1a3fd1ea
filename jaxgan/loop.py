"""The one training loop. It does not know what is being trained."""

import contextlib
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any

import jax
import numpy as np

from jaxgan.checkpoint import Checkpoints
from jaxgan.console import Progress
from jaxgan.distributed import agree
from jaxgan.parallel import Dispatcher
from jaxgan.run_folder import RunFolder
from jaxgan.schedule import Schedule


class Stopped(Exception):  # noqa: N818 (nothing went wrong)
    """The user asked the run to stop; it is saved up to `epoch`."""

    def __init__(self, epoch: int, num_epochs: int, signal_number: int):
        super().__init__(
            f"Stopped after epoch {epoch} of {num_epochs}, and saved. "
            "The same command goes on from there."
        )
        self.signal_number = signal_number


@dataclass(frozen=True)
class Moment:
    """A run between two dispatches.

    `metrics` are those of the last step, as arrays; `state` is one copy, on the host's side of
    replication.
    """

    step: int
    epoch: int
    state: Any
    metrics: Mapping[str, Any]


@dataclass(frozen=True)
class Hook:
    """Something done every so many epochs and at the end; what it returns joins the metrics.

    With `saves` a checkpoint follows every time, so that the best of its moments can be kept.
    """

    every_epochs: int
    run: Callable[[Moment], Mapping[str, float]]
    saves: bool = False


@contextlib.contextmanager
def catch_stop_signals() -> Iterator[Callable[[], int]]:
    """Turn the first SIGINT or SIGTERM into a note; the second one acts as ever.

    Yields a function that returns the signal's number, 0 while there was none.
    """
    caught = 0
    previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def note(number: int, frame: FrameType | None) -> None:
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


def run_loop(
    state: Any,
    *,
    start_step: int,
    schedule: Schedule,
    dispatcher: Dispatcher,
    hooks: Sequence[Hook],
    folder: RunFolder,
    checkpoints: Checkpoints,
    checkpoint_every_epochs: int,
    progress: Progress,
) -> Any:
    """Train from `start_step` to the end of the schedule and return the state.

    After every dispatch: the hooks that are due, one line of metrics (means over the dispatch's
    steps), the checkpoint that is due. Raises `Stopped` when a signal asked for it.
    """
    state = dispatcher.place(state)
    step = start_step
    with catch_stop_signals() as get_signal:
        while step < schedule.num_steps:
            begin, step = step, schedule.compute_next(step)
            state, rows = dispatcher(state, begin, step)
            epoch = schedule.compute_epoch(step)
            line = {"step": step, "epoch": epoch, **_compute_means(rows, step - begin)}

            due = [hook for hook in hooks if schedule.is_due(hook.every_epochs, begin, step)]
            last = jax.tree.map(lambda row, i=step - begin - 1: row[i], rows) if due else {}
            for hook in due:
                line |= hook.run(Moment(step, epoch, dispatcher.unplace(state), last))
            speed = progress.update(epoch, line)
            folder.append(line, {"images_per_second": speed})

            signal_number = agree(get_signal())
            saves = any(hook.saves for hook in due)
            if signal_number or saves or schedule.is_due(checkpoint_every_epochs, begin, step):
                checkpoints.save(step, dispatcher.unplace(state), line)
            if signal_number and step < schedule.num_steps:
                raise Stopped(epoch, schedule.num_epochs, signal_number)
    return dispatcher.unplace(state)


def _compute_means(rows: Mapping[str, Any], num_steps: int) -> dict[str, float]:
    """Return the mean over a dispatch's steps of every metric that is one number a step."""
    scalars = {name: row for name, row in rows.items() if row.ndim == 1}
    return {
        name: float(np.mean(row[:num_steps], dtype=np.float64))
        for name, row in jax.device_get(scalars).items()
    }
