"""The progress of a run: a progress bar, or plain lines without a terminal."""

import threading
import time
from collections import deque
from collections.abc import Mapping
from types import TracebackType
from typing import Any

import jax
from tqdm import tqdm

from jaxgan.core.console import say
from jaxgan.training.epochs import EpochPlan

_SHOWN = {
    "loss_d": "D",
    "loss_g": "G",
    "d_real": "D(x)",
    "d_fake": "D(G(z))",
    "d_score_real": "score of x",  # of objectives where the output of D is no probability
    "d_score_fake": "score of G(z)",
    "loss": "loss",
    "accuracy": "accuracy",
    "val_accuracy": "val",
}
_PLAIN_LINES = 20  # per run, without a terminal
_QUIET_SECONDS = 120.0  # without a terminal: a line follows after this time without any
_BAR_SECONDS = 0.1  # between two drawings of a bar
_WINDOW_SECONDS = 60.0  # speed is measured over this time
_COMPILING = ("backend_compile_duration", "jaxpr_to_mlir_module_duration")  # of JAX's events
_BAR = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} epochs [{elapsed}{postfix}]"


class WorkingClock:
    """The working time of this thread in seconds: the clock stops while JAX compiles for it."""

    def __init__(self) -> None:
        self.compiled = 0.0
        self._thread = threading.get_ident()
        jax.monitoring.register_event_duration_secs_listener(self._note)

    def __enter__(self) -> "WorkingClock":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _note(self, event: str, duration_secs: float, **_: Any) -> None:
        if event.endswith(_COMPILING) and threading.get_ident() == self._thread:
            self.compiled += duration_secs

    def read(self) -> float:
        """Return the seconds since a fixed earlier time."""
        return time.monotonic() - self.compiled

    def close(self) -> None:
        """Stop counting the time that JAX compiles."""
        jax.monitoring.unregister_event_duration_listener(self._note)


class Pace:
    """The recent speed in images per second."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def note(self, seconds: float, num_images: int) -> None:
        """Note that `num_images` were seen when a clock read `seconds`; drop notes too long ago."""
        self._seen.append((seconds, num_images))
        while len(self._seen) > 2 and self._seen[1][0] <= seconds - _WINDOW_SECONDS:
            self._seen.popleft()

    def compute(self) -> float | None:
        """Return the images per second since the oldest note, None with fewer than two notes."""
        if len(self._seen) < 2:
            return None
        (began, first), (ended, last) = self._seen[0], self._seen[-1]
        return (last - first) / max(ended - began, 1e-9)


class Progress:
    """A bar over epochs with metrics, images/s and time left; plain lines without a terminal.

    Speed and time left are computed over the last minute, without the first dispatch (most of it
    is compilation) and without later compilation. Create it before anything is compiled.
    """

    def __init__(self, label: str, plan: EpochPlan):
        self._label, self._plan = label, plan
        self._clock, self._pace = WorkingClock(), Pace()
        self._said, self._said_at = 0, time.monotonic()
        say(f"{label}: compiling, about 20 s the first time.")
        self._bar = tqdm(
            total=plan.num_epochs,
            desc=label,
            bar_format=_BAR,
            disable=None,  # no bar where standard error is not a terminal
            dynamic_ncols=True,
        )

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._bar.close()
        self._clock.close()

    def start(self, step: int) -> None:
        """Show where the run continues; call it after the state is made: that compiles too."""
        epoch = self._bar.n = self._plan.compute_epoch(step)
        self._said = epoch * _PLAIN_LINES // self._plan.num_epochs
        if epoch:
            say(f"Going on after epoch {epoch} of {self._plan.num_epochs}.")

    def update(self, step: int, metrics: Mapping[str, float]) -> float | None:
        """Show that `step` steps are done; return the recent images/s, None if not yet known."""
        plan = self._plan
        total = plan.num_epochs * plan.num_examples
        num_seen = min(step * plan.batch_size, total)
        self._pace.note(self._clock.read(), num_seen)
        speed = self._pace.compute()
        shown = [f"{name} {metrics[key]:.3f}" for key, name in _SHOWN.items() if key in metrics]
        if speed is None:
            pace = [f"compiled in {self._clock.compiled:.0f} s"]
        else:
            left = tqdm.format_interval((total - num_seen) / max(speed, 1e-9))
            pace = [f"{speed:.1f} images/s", f"{left} left"]
        epoch = plan.compute_epoch(step)
        if self._bar.disable:
            self._print_line(epoch, [*shown, *pace], is_first=speed is None)
        else:
            self._draw_bar(epoch, [*pace[::-1], *shown])
        return speed

    def _draw_bar(self, epoch: int, parts: list[str]) -> None:
        self._bar.n = epoch
        self._bar.set_postfix_str(", ".join(parts), refresh=False)
        now = time.monotonic()
        if now - self._said_at >= _BAR_SECONDS or epoch == self._plan.num_epochs:
            self._said_at = now
            self._bar.refresh()

    def _print_line(self, epoch: int, parts: list[str], *, is_first: bool) -> None:
        num_epochs, now = self._plan.num_epochs, time.monotonic()
        reached = epoch * _PLAIN_LINES // num_epochs
        if reached == self._said and now - self._said_at < _QUIET_SECONDS and not is_first:
            return
        self._said, self._said_at = reached, now
        say(f"{self._label} epoch {epoch}/{num_epochs}: {', '.join(parts)}")
