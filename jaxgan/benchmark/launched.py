"""Suites that run the launcher itself: the time to its first step, and the speed of its loop."""

import json
import os
import shutil
import signal
import site
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax

from jaxgan.benchmark import ours
from jaxgan.benchmark.record import Record, compute_ratio, spread
from jaxgan.benchmark.worker import Worker
from jaxgan.benchmark.workload import Contender, Workload
from jaxgan.core.errors import UserError
from jaxgan.core.settings import read_settings, to_dict
from jaxgan.sampling.settings import TrainGanSettings

_POLL_SECONDS = 0.005


@dataclass(frozen=True)
class Launcher:
    """What to launch: `script --class=CLASS_NAME --config=CONFIG:VARIANT`, and `sample`."""

    script: Path
    sample: Path
    config: Path
    class_name: str


class Launched:
    """`train_dcgan` in a process, followed through its output files; a context manager."""

    def __init__(self, launcher: Launcher, variant: str, *, cache_dir: Path, workdir: Path):
        self._command = [
            *(sys.executable, str(launcher.script), f"--class={launcher.class_name}"),
            f"--config={launcher.config}:{variant}",
            *(f"--cache_dir={cache_dir}", f"--workdir={workdir}", "--num_devices=1"),
            "--config.num_epochs=1000000",
        ]
        self._folder = workdir / launcher.class_name
        self._begin = time.perf_counter()
        self._process = subprocess.Popen(
            self._command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )

    def wait_for(self, step: int) -> float:
        """Wait until `step` is recorded; return the seconds since the start of the process."""
        while self.step < step:
            if self._process.poll() is not None:
                assert self._process.stderr
                raise UserError(
                    f"{' '.join(self._command)} ended before step {step}: "
                    f"{self._process.stderr.read().strip() or 'it said nothing'}"
                )
            time.sleep(_POLL_SECONDS)
        return time.perf_counter() - self._begin

    @property
    def step(self) -> int:
        """The last recorded step."""
        try:
            lines = (self._folder / "metrics.jsonl").read_bytes().split(b"\n")[:-1]
        except FileNotFoundError:
            return 0
        return int(json.loads(lines[-1])["step"]) if lines else 0

    def read_settings(self) -> TrainGanSettings:
        """Return the recorded settings."""
        config = json.loads((self._folder / "config.json").read_text())
        return read_settings(TrainGanSettings, config["settings"])

    def measure(self, steps: int) -> float:
        """Let the process continue until `steps` more are recorded; return the seconds per step.

        The work up to the first line of its metrics does not count, as with the other workers.
        """
        self._process.send_signal(signal.SIGCONT)
        self.wait_for(self.step + 1)
        first = self.step
        begin = time.perf_counter()
        self.wait_for(first + steps)
        seconds = time.perf_counter() - begin
        done = self.step - first
        self.pause()
        return seconds / done

    def pause(self) -> None:
        """Stop the process until it is measured again."""
        self._process.send_signal(signal.SIGSTOP)

    def __enter__(self) -> "Launched":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()


def measure_startup(launcher: Launcher, variant: str, *, rounds: int) -> list[Record]:
    """Time from the command to its first finished step, minus the time of one step.

    Cold: nothing prepared, neither data nor compiled programs. Warm: the same command again.
    """
    seconds: dict[str, list[float]] = {"cold": [], "warm": []}
    with tempfile.TemporaryDirectory() as name:
        for number in range(rounds):
            for state, taken in seconds.items():
                cache_dir, workdir = (Path(name) / f"{kind}{number}" for kind in ("cache", state))
                launched = Launched(launcher, variant, cache_dir=cache_dir, workdir=workdir)
                with launched:
                    first = launched.wait_for(1)
                    step = launched.step
                    later = launched.wait_for(step + 2)
                    taken.append(first - (later - first) / (launched.step - step))
    return [
        _record_seconds("startup", f"train_dcgan :{variant}, {state}", taken)
        for state, taken in seconds.items()
    ]


def _record_seconds(suite: str, case: str, seconds: Sequence[float]) -> Record:
    extra = {"seconds": vars(spread(seconds))}
    return Record(suite, case, "jaxgan", None, None, None, ratio={}, extra=extra)


def measure_sampling(
    launcher: Launcher, variant: str, *, rounds: int, num: int, flags: Sequence[str] = ()
) -> list[Record]:
    """Time the whole command that draws `num` images of a run, for the first time and again.

    The run is trained here for two epochs, with the additional `flags`. Every round has a home
    folder in its state after the training, so that the first time is that of a user.
    """
    seconds: dict[str, list[float]] = {"first time": [], "again": []}
    name = f"--class={launcher.class_name}"
    with tempfile.TemporaryDirectory() as folder:
        home, run = Path(folder) / "home", f"--workdir={Path(folder) / 'runs'}"
        config = f"--config={launcher.config}:{variant}"
        train = (name, run, config, "--config.num_epochs=2", "--num_devices=1", *flags)
        _run_at_home(home, launcher.script, train)
        for number in range(rounds):
            copy = Path(shutil.copytree(home, Path(folder) / f"home{number}"))
            for state, taken in seconds.items():
                out = f"--out={copy / state}"
                taken.append(_run_at_home(copy, launcher.sample, (name, run, out, f"--num={num}")))
    return [
        _record_seconds("sample", f"sample --num={num} of :{variant}, {state}", taken)
        for state, taken in seconds.items()
    ]


def _run_at_home(home: Path, script: Path, flags: Sequence[str]) -> float:
    """Run a launcher with the home folder `home` and the packages of this user."""
    environment = {**os.environ, "HOME": str(home), "PYTHONUSERBASE": site.getuserbase()}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    home.mkdir(exist_ok=True)
    command, begin = [sys.executable, str(script), *flags], time.perf_counter()
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if answer.returncode:
        raise UserError(f"{' '.join(command)} failed: {answer.stderr.strip()}")
    return time.perf_counter() - begin


def bare_step(*, values: Mapping[str, Any]) -> Workload:
    """One bare step of the settings `values`, on a batch that is already on the device."""
    settings = read_settings(TrainGanSettings, values)
    gan, size = settings.create_gan(), settings.gan.image_size
    batch = ours.draw_batch(settings.batch_size, size, settings.gan.channels)
    step = ours.compile_step(gan.stages[0].create_step(None, 0))
    run = ours.repeat(step, gan.create_state(jax.random.key(0)), batch)
    return Workload(run, settings.batch_size)


def measure_end_to_end(
    launcher: Launcher, variant: str, *, rounds: int, steps: int
) -> list[Record]:
    """Compare the launcher's loop, metrics, samples and checkpoints included, with bare steps."""
    seconds: dict[str, list[float]] = {"loop": [], "bare": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with Launched(launcher, variant, cache_dir=folder, workdir=folder / "run") as launched:
            launched.wait_for(1)
            launched.pause()
            settings = launched.read_settings()
            bare = Contender("bare step", "bare_step", bare_step)
            arguments: dict[str, Any] = {"values": to_dict(settings)}
            with Worker(bare, arguments) as worker:
                for _ in range(rounds):
                    seconds["loop"].append(launched.measure(steps))
                    seconds["bare"].append(worker.measure(steps) / steps)
                peak, compile_seconds = worker.finish(), worker.built.compile_seconds
    case = f"train_dcgan :{variant}, {steps} steps a round"
    speeds = {
        kind: spread([settings.batch_size / s for s in taken]) for kind, taken in seconds.items()
    }
    ratio = compute_ratio(seconds["loop"], seconds["bare"])
    return [
        Record(
            "end_to_end",
            case,
            "jaxgan",
            speeds["loop"],
            None,
            None,
            {"bare_step": ratio},
            {"ratio_by_implementation": {"bare step": ratio}},
        ),
        Record("end_to_end", case, "bare step", speeds["bare"], compile_seconds, peak),
    ]
