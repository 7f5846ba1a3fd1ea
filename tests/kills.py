"""Kill the real launchers at random moments until they finish, and compare with runs left alone.

    python -m tests.kills --kills=50 --seed=0 [--launcher=train_dcgan]

A moment is a delay after the process's start, after one of its saves has begun or after any change
of its folder; the signal is SIGKILL, SIGTERM or SIGINT. All of it follows from the seed, but for
what the machine does in the same time.
"""

import argparse
import collections
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp

from tests.helpers import make_environment, write_split_folder

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / "configs"
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
_START_SECONDS = 6.0  # within which a kill "at the start" comes
_TOO_LONG = 600.0

_DCGAN = (
    "gan.image_size=32",
    "gan.generator_width=4",
    "gan.discriminator_width=4",
    "batch_size=4",
    "max_steps_per_dispatch=2",  # three a dispatch and epoch: saves in the middle of epochs
    "selection.max_tries=16",
    "selection.rule=none",
    "selection.per_epoch=1",
    "look_every_epochs=2",
    "sample_every_epochs=10",
    "checkpoint_every_epochs=7",
    "checkpoint_every_seconds=0.2",
)
_GMD = (
    "classifier.image_size=24",
    "classifier.width=8",
    "batch_size=4",
    "max_steps_per_dispatch=2",
    "evaluate_every_epochs=2",
    "checkpoint_every_epochs=2",
    "checkpoint_every_seconds=0.2",
)
_STUDY = (
    "num_folds=2",
    "num_seeds=1",
    "num_updates=60",
    "arms=('real','classic','duplicates','gan','gan_paper_text','classic+gan')",
    "holdout=0.3",
    "pool=1.0",
    "gan.generator_width=4",
    "gan.discriminator_width=4",
    "gan_batch_size=4",
    "gan_epochs=20",
    "threshold=1.0",
    "classifier.width=8",
    "batch_size=8",
    "max_steps_per_dispatch=2",
    "checkpoint_every_seconds=0.1",
)


@dataclass(frozen=True)
class Subject:
    """A launcher with its flags, what its run's folder is called, and how two runs compare."""

    launcher: str
    flags: tuple[str, ...]
    folder: str
    read: Callable[[Path], dict[str, object]]


def read_run(run: Path) -> dict[str, object]:
    """Return all that has to be the same: every file as bytes, and the last checkpoint's files.

    Of checkpoints the arrays alone: orbax's names and times differ from run to run. TensorBoard's
    events hold times too, and the notes of a record the command, with the folder of each run.
    """
    files: dict[str, object] = {}
    for path in sorted(p for p in run.rglob("*") if p.is_file()):
        name = path.relative_to(run)
        if name.parts[0] not in ("checkpoints", "events", ".lock"):
            files[name.as_posix()] = path.read_bytes()
    record = json.loads((run / "config.json").read_text())
    files["config.json"] = json.dumps({k: v for k, v in record.items() if k != "notes"})
    return files | _read_arrays(run / "checkpoints")


def _read_arrays(checkpoints: Path) -> dict[str, object]:
    """Return every array of the newest checkpoint."""
    with ocp.CheckpointManager(
        checkpoints.absolute(), item_handlers=ocp.StandardCheckpointHandler()
    ) as manager:
        step = manager.latest_step()
        restored = manager.restore(step, args=ocp.args.StandardRestore())
    leaves = jax.tree_util.tree_flatten_with_path(restored)[0]
    arrays = {jax.tree_util.keystr(path): np.asarray(leaf).tobytes() for path, leaf in leaves}
    return {"newest checkpoint": step, **arrays}


def read_study(study: Path) -> dict[str, object]:
    """Return every job's arrays but for how long it took, and the pages without durations."""
    found: dict[str, object] = {}
    for path in sorted((study / "jobs").glob("*.npz")):
        with np.load(path, allow_pickle=False) as arrays:
            for name in arrays.files:
                if name != "seconds":
                    found[f"{path.name}:{name}"] = arrays[name].tobytes()
    for name in ("report.json", "summary.md", "config.json"):
        text = (study / name).read_text()
        found[name] = re.sub(r"runs?/?[0-9a-z_]*|[0-9.]+ (s|min|h)\b|--workdir=\S+", "", text)
    names = {p.relative_to(study).as_posix() for p in study.rglob("*") if p.is_file()}
    return found | {"files": sorted(names - {".lock"})}


SUBJECTS = {
    "train_dcgan": Subject(
        "train_dcgan",
        (
            "--class=left",
            f"--config={CONFIGS}/dcgan.py:quick",
            "num_epochs=60",
            *_DCGAN,
        ),
        "left",
        read_run,
    ),
    "train_gmd": Subject(
        "train_gmd",
        (f"--config={CONFIGS}/gmd.py:quick", "num_epochs=40", *_GMD),
        "real",
        read_run,
    ),
    "study": Subject("study", (f"--config={CONFIGS}/study.py:quick", *_STUDY), ".", read_study),
}


def prepare(place: Path) -> None:
    """Write the images that all runs learn from."""
    write_split_folder(place / "data", num_train=24, num_val=8)


def start(subject: Subject, place: Path, workdir: Path) -> subprocess.Popen[bytes]:
    """Start a launcher; what it says is added to `workdir`.txt."""
    flags = [f if f.startswith("--") else f"--config.{f}" for f in subject.flags]
    command = [
        *(sys.executable, str(ROOT / "launch" / f"{subject.launcher}.py"), *flags),
        *(f"--data_dir={place / 'data'}", f"--cache_dir={place / 'cache'}"),
        f"--workdir={workdir}",
    ]
    with workdir.with_suffix(".txt").open("ab") as output:
        return subprocess.Popen(command, stdout=output, stderr=output, env=make_environment())


def finish(subject: Subject, place: Path, workdir: Path) -> dict[str, object]:
    """Let a launcher run to its end; return what it has left."""
    code = start(subject, place, workdir).wait(timeout=_TOO_LONG)
    assert code == 0, workdir.with_suffix(".txt").read_text()[-3000:]
    return subject.read(workdir / subject.folder)


def kill_again_and_again(
    subject: Subject, place: Path, workdir: Path, *, num_kills: int, rng: np.random.Generator
) -> collections.Counter[str]:
    """Start and kill a launcher until it has been killed `num_kills` times or has finished.

    Returns how often it ended how. A process that had finished before it could be killed is
    counted as such, and its folder begun anew would not be: it is the end.
    """
    ends: collections.Counter[str] = collections.Counter()
    for _ in range(num_kills):
        log = workdir.with_suffix(".txt")
        begin = log.stat().st_size if log.exists() else 0
        process = start(subject, place, workdir)
        how = SIGNALS[rng.integers(len(SIGNALS))]
        moment = _wait_for_moment(process, workdir, rng)
        process.send_signal(how)
        code = process.wait(timeout=_TOO_LONG)
        if code == 0:
            ends["finished first"] += 1
            break
        text = log.read_bytes()[begin:].decode()  # of this process alone
        # 128 + number: saved and stopped, or told; -number: before Python's handlers or after.
        assert code in (-how, 128 + how) or _is_interrupted_start(how, text), (code, text[-3000:])
        ends[f"{how.name} {moment}"] += 1
    return ends


def _is_interrupted_start(how: signal.Signals, text: str) -> bool:
    """Whether a Ctrl-C came while Python was still importing, which it tells in its own way."""
    return how == signal.SIGINT and "KeyboardInterrupt" in text


def _wait_for_moment(
    process: subprocess.Popen[bytes], workdir: Path, rng: np.random.Generator
) -> str:
    """Wait for a random moment; return in which way it was found."""
    ways = ("at the start", "in a save", "after a change", "after a change", "in a save")
    way = ways[rng.integers(len(ways))]
    if way == "at the start":
        _sleep(process, rng.uniform(0.0, _START_SECONDS))
        return way
    num_changes, seen = int(rng.integers(1, 25)), _look(workdir)
    deadline = time.monotonic() + _TOO_LONG
    while process.poll() is None and num_changes and time.monotonic() < deadline:
        now = _look(workdir)
        changed = now - seen
        if way == "in a save":
            changed = {e for e in changed if "orbax-checkpoint-tmp" in e[0] or "beside" in e[0]}
        num_changes -= bool(changed)
        seen = now
        time.sleep(0.003)
    _sleep(process, rng.uniform(0.0, 0.02))
    return way


def _sleep(process: subprocess.Popen[bytes], seconds: float) -> None:
    end = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < end:
        time.sleep(0.005)


def _look(workdir: Path) -> set[tuple[str, int]]:
    """Return names and sizes of all that lies in a folder."""
    found = set()
    for folder, _, names in os.walk(workdir):  # which passes over what is gone meanwhile
        for name in names:
            path = Path(folder) / name
            with contextlib.suppress(OSError):
                found.add((str(path), path.stat().st_size))
    return found


def compare(expected: dict[str, object], found: dict[str, object]) -> list[str]:
    """Return the names of what differs, one side lacking it included."""
    assert expected or found, "nothing to compare"
    return [n for n in sorted({*expected, *found}) if expected.get(n) != found.get(n)]


def run(subject: Subject, place: Path, *, num_kills: int, seed: int) -> collections.Counter[str]:
    """Kill runs of a subject `num_kills` times, one run after another; raise where one differs."""
    rng = np.random.default_rng(seed)
    expected = finish(subject, place, place / f"{subject.launcher}_whole")
    total: collections.Counter[str] = collections.Counter()
    number = 0
    while (left := num_kills - count_kills(total)) > 0:
        workdir = place / f"{subject.launcher}_{number}"
        total += kill_again_and_again(subject, place, workdir, num_kills=left, rng=rng)
        differing = compare(expected, finish(subject, place, workdir))
        assert not differing, f"{subject.launcher}, seed {seed}: {differing[:10]} in {workdir}"
        number += 1
    return total


def count_kills(ends: collections.Counter[str]) -> int:
    """Return how many of the processes were killed."""
    return sum(num for end, num in ends.items() if end.startswith("SIG"))


def main() -> None:
    """Kill, compare and print what was done."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50, help="of each launcher")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--launcher", choices=[*SUBJECTS, "all"], default="all")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder))
        for name, subject in SUBJECTS.items():
            if args.launcher in (name, "all"):
                ends = run(subject, Path(folder), num_kills=args.kills, seed=args.seed)
                print(f"{name}: {count_kills(ends)} kills, the same to the byte afterwards.")
                print(json.dumps(dict(ends), indent=2))


if __name__ == "__main__":
    main()
