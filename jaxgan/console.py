"""What a run says while it goes: sentences, and a progress bar or plain lines."""

import sys
import time
from collections.abc import Mapping
from types import TracebackType

from tqdm import tqdm

from jaxgan.untrusted import printable_lines

_SHOWN = {
    "loss_d": "D",
    "loss_g": "G",
    "d_real": "D(x)",
    "d_fake": "D(G(z))",
    "d_score_real": "score of x",  # of objectives with which D's output is no probability
    "d_score_fake": "score of G(z)",
    "loss": "loss",
    "accuracy": "accuracy",
    "val_accuracy": "val",
}
# Where there is no terminal: so many lines a run, and one after so long without any.
_PLAIN_LINES = 20
_QUIET_SECONDS = 120.0


def say(sentence: str) -> None:
    """Print a sentence to standard output without breaking a progress bar, or the terminal."""
    tqdm.write(printable_lines(sentence), file=sys.stdout)
    sys.stdout.flush()


class Progress:
    """A bar over epochs with metrics, images/s and time left; plain lines without a terminal."""

    def __init__(self, label: str, *, num_epochs: int, num_examples: int, start_epoch: int = 0):
        self._label, self._num_epochs = label, num_epochs
        self._num_examples, self._start_epoch = num_examples, start_epoch
        self._began = time.monotonic()
        self._said, self._said_at = start_epoch * _PLAIN_LINES // num_epochs, self._began
        if start_epoch:
            say(f"Going on after epoch {start_epoch} of {num_epochs}.")
        self._bar = tqdm(
            total=num_epochs,
            initial=start_epoch,
            desc=label,
            unit="epoch",
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

    def update(self, epoch: int, metrics: Mapping[str, float]) -> float:
        """Show that `epoch` epochs are complete; return the images/s of this process so far."""
        seconds = max(time.monotonic() - self._began, 1e-9)
        speed = (epoch - self._start_epoch) * self._num_examples / seconds
        parts = [f"{name} {metrics[key]:.3f}" for key, name in _SHOWN.items() if key in metrics]
        parts.append(f"{speed:.1f} images/s")
        if self._bar.disable:
            self._print_line(epoch, parts, seconds)
        else:
            self._bar.set_postfix_str(", ".join(parts), refresh=False)
            self._bar.update(epoch - self._bar.n)
        return speed

    def _print_line(self, epoch: int, parts: list[str], seconds: float) -> None:
        reached, now = epoch * _PLAIN_LINES // self._num_epochs, time.monotonic()
        if reached == self._said and now - self._said_at < _QUIET_SECONDS:
            return
        self._said, self._said_at = reached, now
        done = max(epoch - self._start_epoch, 1)
        left = tqdm.format_interval(seconds / done * (self._num_epochs - epoch))
        say(f"{self._label} epoch {epoch}/{self._num_epochs}: {', '.join(parts)}, {left} left")
