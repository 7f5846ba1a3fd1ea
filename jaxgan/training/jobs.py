"""Jobs that run once: each leaves one file, named by a hash of everything that defines the job.

A study that was killed, or gets more seeds or arms, finds the finished jobs and does the rest.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from jaxgan.core.console import say
from jaxgan.core.errors import DiskError, IncompleteError, find_memory_error
from jaxgan.core.files import make_folder, read_arrays, written_beside
from jaxgan.core.settings import to_dict
from jaxgan.data.settings import DataSettings
from jaxgan.training.loop import Stopped
from jaxgan.training.progress import WorkingClock
from jaxgan.training.record import LATER_OF_GANS

JOB_VERSION = 2  # raise it when the results of jobs change, so that they are done again

Result = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Job:
    """A unit of work; `record` can be saved as JSON and holds all that defines the result."""

    kind: str
    name: str
    record: Mapping[str, Any]
    compute: Callable[[Path], Result]

    @property
    def key(self) -> str:
        """The hash that names the job's file."""
        canonical = json.dumps([JOB_VERSION, self.kind, self.record], sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()[:20]


@dataclass(frozen=True)
class Failure:
    """A job that was not done, and why.

    `by_rule`: there was no error; the rule of the job's arm leaves no image to train on.
    """

    kind: str
    name: str
    reason: str
    by_rule: bool = False


def describe_failures(failures: Sequence[Mapping[str, Any]]) -> str | None:
    """Return the sentences about failed jobs that must come first, None if no job failed.

    `failures` are the `Failure`s as saved in a report.
    """
    failed = [failure for failure in failures if not failure["by_rule"]]
    if not failed:
        return None
    first = failed[0]
    return (
        f"Incomplete: {len(failed)} job(s) failed or need one that failed. The first is "
        f"{first['name']}: {first['reason'].rstrip('.')}. Finished jobs are kept; the same command "
        "tries the rest again."
    )


def check_complete(failures: Sequence[Mapping[str, Any]]) -> None:
    """Raise `IncompleteError` if jobs have failed: the last action of a command."""
    found = describe_failures(failures)
    if found is not None:
        raise IncompleteError(found)


class JobRunner:
    """Do jobs one after another, keep their results in `folder`, and report the time left."""

    def __init__(self, folder: Path, planned: Mapping[str, int]):
        self._folder, self._planned = folder, dict(planned)
        self._seconds: dict[str, list[float]] = {kind: [] for kind in planned}
        self._done = dict.fromkeys(planned, 0)
        self.failures: list[Failure] = []
        make_folder(folder)

    def run(self, job: Job) -> Result | None:
        """Return the job's result, from its file if there is one; None if the job failed.

        A failure is added to `failures` and printed; it does not stop the study.
        """
        path = self._folder / f"{job.kind}-{job.key}.npz"
        result = read_result(path)
        if result is None:
            partial = path.with_suffix(".partial")
            try:
                with WorkingClock() as clock:
                    began = clock.read()
                    result = dict(job.compute(partial))
                    result["seconds"] = np.array(clock.read() - began)
            except (DiskError, Stopped):
                raise  # the next job could not be saved either; a signal is no failure
            except Exception as error:
                # The error concerns this job only: the page names it, the other jobs continue.
                self._note_failure(job, error)
                return None
            result["record"] = np.array(json.dumps(job.record, sort_keys=True))
            write_result(path, result)
            partial.unlink(missing_ok=True)
            self._note_done(job, float(result["seconds"]))
            self._say_done(job, float(result["seconds"]), clock.compiled)
        else:
            self._note_done(job, float(result["seconds"]))
        return result

    def skip(self, kind: str, name: str, reason: str, *, by_rule: bool = False) -> None:
        """Record a job that cannot be done: a job it needs has failed, or see `Failure`."""
        self.failures.append(Failure(kind, name, reason, by_rule))
        self._done[kind] += 1
        say(f"{self._count()} {name}: left out, {reason}")

    def drop(self, kind: str, num: int) -> None:
        """Plan `num` jobs less: what they need has failed, and no other job needs them."""
        self._planned[kind] -= num

    def _note_failure(self, job: Job, error: Exception) -> None:
        error = find_memory_error(error) or error
        reason = str(error) or type(error).__name__
        self.failures.append(Failure(job.kind, job.name, reason.splitlines()[0]))
        self._done[job.kind] += 1
        say(f"{self._count()} {job.name}: FAILED, {reason.splitlines()[0]}")

    def _note_done(self, job: Job, seconds: float) -> None:
        self._done[job.kind] += 1
        self._seconds[job.kind].append(seconds)

    def _say_done(self, job: Job, seconds: float, compiled: float) -> None:
        """Say how long a job took; only the first job of a kind compiles."""
        took = f"{seconds:.1f} s"
        if compiled >= 1.0:
            took += f" and {compiled:.0f} s of compiling"
        left = tqdm.format_interval(self._estimate_left())
        say(f"{self._count()} {job.name}: {took}; about {left} left")

    def _count(self) -> str:
        return f"[{sum(self._done.values())}/{sum(self._planned.values())}]"

    def _estimate_left(self) -> float:
        """Return the seconds of work left: each job of a kind counts the median of its kind."""
        known = [float(np.median(s)) for s in self._seconds.values() if s]
        left = 0.0
        for kind, num in self._planned.items():
            seconds = self._seconds[kind]
            typical = float(np.median(seconds)) if seconds else max(known, default=0.0)
            left += typical * max(num - self._done[kind], 0)
        return left


def read_result(path: Path) -> dict[str, np.ndarray] | None:
    """Return a result's arrays, None if the file is absent or damaged."""
    if not path.exists():
        return None
    arrays = read_arrays(path)
    if arrays is None or not {"seconds", "record"} <= arrays.keys():
        say(f"{path} is damaged: this job is done again.")  # not by a kill: see jaxgan.core.files
        return None
    return arrays


def write_result(path: Path, result: Result) -> None:
    """Write arrays to `path`, complete or not at all."""
    with written_beside(path) as beside, beside.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **dict(result))


def hash_files(files: tuple[str, ...], labels: np.ndarray) -> str:
    """Return a hash of the images that a job sees: names, order and class."""
    digest = hashlib.sha256("\n".join(files).encode())
    digest.update(np.asarray(labels, np.int32).tobytes())
    return digest.hexdigest()[:20]


def hash_pixels(images: np.ndarray) -> str:
    """Return a hash of the pixels of images of any shape."""
    return hashlib.sha256(np.ascontiguousarray(images).tobytes()).hexdigest()[:20]


def describe_data(settings: DataSettings) -> dict[str, Any]:
    """Return these settings as a job's record has them: earlier jobs keep their names.

    So a field with a default is included only if its value is not the default.
    """
    values = [(field, getattr(settings, field.name)) for field in dataclasses.fields(settings)]
    return {f.name: v for f, v in values if f.default is dataclasses.MISSING or v != f.default}


def describe_family(settings: Any, first: str) -> dict[str, Any]:
    """Return a family's settings as a job's record has them, without the name of `first`.

    Earlier jobs had only that family, and keep their names. So do those from before a loss had a
    field, where that field is as it was.
    """
    earlier = {"family": first, **LATER_OF_GANS}
    described = {n: v for n, v in to_dict(settings).items() if n not in earlier or v != earlier[n]}
    return drop_constant(described)


def drop_constant(described: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings for a job's record, without a schedule that never changes the rate.

    Earlier jobs had no schedule, and keep their names.
    """
    constant = described.get("schedule", {}).get("name") == "constant"
    return {n: v for n, v in described.items() if n != "schedule" or not constant}
