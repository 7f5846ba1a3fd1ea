"""Run a launcher for a long time and watch its memory.

    python -m tests.long_run --steps=20000          # train_dcgan on two virtual devices
    python -m tests.long_run --study --minutes=120  # configs/study.py:small

Resident memory rises until garbage is collected and falls again; what leaks stays. So the slope is
that of the lowest memory of the third quarter to the lowest of the last: in the first half programs
are compiled and caches filled.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jaxgan.training.run_folder import read_metrics
from tests.helpers import make_environment, write_split_folder

ROOT = Path(__file__).resolve().parents[1]
_LOOK_SECONDS = 0.25
_STILL_SECONDS = 900.0  # without a new line of metrics a run is said to hang


@dataclass(frozen=True)
class Watched:
    """What was seen of a process: seconds, steps and MiB at each look, and how it ended."""

    seconds: np.ndarray
    steps: np.ndarray
    mebibytes: np.ndarray
    code: int

    @property
    def lowest(self) -> tuple[float, float]:
        """The lowest MiB of the third and of the last quarter of the time."""
        quarters = 4 * self.seconds / self.seconds[-1]
        third = self.mebibytes[(quarters >= 2) & (quarters < 3)]
        return float(third.min()), float(self.mebibytes[quarters >= 3].min())

    @property
    def per_thousand_steps(self) -> float:
        """MiB by which the lowest memory has risen, in 1,000 steps."""
        before, after = self.lowest
        return 1000 * (after - before) / (self.steps[-1] / 4)


def watch(process: subprocess.Popen[bytes], run: Path, *, most_seconds: float) -> Watched:
    """Look at a process until it ends or `most_seconds` have passed, when it is killed.

    Raises where no step was made for a long time: a deadlock.
    """
    began = moved = time.monotonic()
    rows: list[tuple[float, int, float]] = []
    while process.poll() is None and (now := time.monotonic()) - began < most_seconds:
        step = _read_step(run)
        if not rows or step > rows[-1][1]:
            moved = now
        assert now - moved < _STILL_SECONDS, f"no step since {_STILL_SECONDS:.0f} s, at {step}"
        if (resident := _read_resident(process.pid)) > 0:
            rows.append((now - began, step, resident))
        time.sleep(max(_LOOK_SECONDS, (now - began) / 500))
    code = process.poll()
    if code is None:
        process.kill()
        process.wait()
    seconds, steps, mebibytes = (np.array(column) for column in zip(*rows, strict=True))
    return Watched(seconds, steps, mebibytes, code or 0)


def _read_step(run: Path) -> int:
    """Return the last step a run has noted; of a study, how many files its jobs have left."""
    if (run / "jobs").exists():
        return len(list((run / "jobs").glob("*")))
    lines = read_metrics(run)
    return lines[-1]["step"] if lines else 0


def _read_resident(process_id: int) -> float:
    """Return the resident memory in MiB, 0 of a process that has just ended."""
    try:
        lines = Path(f"/proc/{process_id}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS")), 0.0)


def make_long_training(place: Path, num_steps: int) -> list[str]:
    """Return the command of a training on two virtual devices, of 12 images, 2 steps an epoch."""
    write_split_folder(place / "data", num_train=24, num_val=8)
    settings = {
        "gan.image_size": 32,
        "gan.generator_width": 4,
        "gan.discriminator_width": 4,
        "batch_size": 6,
        "num_epochs": num_steps // 2,
        "epochs_per_dispatch": 10,
        "look_every_epochs": 100,
        "sample_every_epochs": 500,
        "checkpoint_every_epochs": 500,
    }
    return [
        *(sys.executable, str(ROOT / "launch" / "train_dcgan.py")),
        *("--class=left", "--num_devices=2", "--accept=none"),
        f"--config={ROOT}/configs/dcgan.py:quick",
        *(f"--config.{name}={value}" for name, value in settings.items()),
        *(f"--data_dir={place / 'data'}", f"--cache_dir={place / 'cache'}"),
        f"--workdir={place / 'run'}",
    ]


def make_long_study(place: Path) -> list[str]:
    """Return the command of the study that a CPU is meant to do, on the phantom."""
    return [
        *(sys.executable, str(ROOT / "launch" / "study.py")),
        f"--config={ROOT}/configs/study.py:small",
        f"--workdir={place / 'run'}",
    ]


def run(command: list[str], place: Path, run_folder: Path, *, most_seconds: float) -> Watched:
    """Start a command and watch it."""
    with (place / "output.txt").open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=make_environment())
        return watch(process, run_folder, most_seconds=most_seconds)


def main() -> None:
    """Run and print the slope."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--study", action="store_true")
    parser.add_argument("--minutes", type=float, default=1e6, help="at most")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        command = make_long_study(place) if args.study else make_long_training(place, args.steps)
        run_folder = place / "run" if args.study else place / "run" / "left"
        seen = run(command, place, run_folder, most_seconds=60 * args.minutes)
        unit = "files of jobs" if args.study else "steps"
        before, after = seen.lowest
        print(
            f"{seen.steps[-1]} {unit} in {seen.seconds[-1]:.0f} s, exit code {seen.code}; lowest "
            f"memory of the third quarter {before:.0f} MiB, of the last {after:.0f}, highest of "
            f"all {seen.mebibytes.max():.0f}"
            + ("" if args.study else f": {seen.per_thousand_steps:+.3f} MiB per 1,000 steps")
        )
        if seen.code:
            print((place / "output.txt").read_text()[-3000:])


if __name__ == "__main__":
    main()
