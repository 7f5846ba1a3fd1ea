"""Run suites one after another; the measurements are written after every case."""

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from jaxgan.benchmark import ours
from jaxgan.benchmark.chart import plot_ratios
from jaxgan.benchmark.environment import describe_environment
from jaxgan.benchmark.launched import Launcher
from jaxgan.benchmark.record import Record, format_table
from jaxgan.benchmark.suites import Measure, find_peers, list_cases
from jaxgan.benchmark.worker import Worker
from jaxgan.benchmark.workload import Contender
from jaxgan.core.console import say
from jaxgan.core.errors import UserError
from jaxgan.core.files import write_json


def run_benchmark(
    suites: Sequence[str],
    *,
    peers: Sequence[str],
    case: str,
    rounds: int,
    small: bool,
    launcher: Launcher,
    seconds: float = 0.0,
    json_path: Path | None = None,
    plot_path: Path | None = None,
) -> None:
    """Run suites and print a table of each; write JSON and a bar chart if requested.

    With `seconds` above 0 the suites share them in equal parts. A suite begins no case after its
    share, except its first. Cases that are left out are named, and are in the JSON.
    """
    begin = time.monotonic()
    for path in (json_path, plot_path):
        if path and not path.parent.is_dir():
            raise UserError(f"{path} can not be written: there is no folder {path.parent}.")
    environment, installed = describe_environment(), find_peers(peers)
    say("\n".join(f"{name}: {value}" for name, value in environment.items()))
    plan = {
        suite: list_cases(
            suite, peers=installed, case=case, rounds=rounds, small=small, launcher=launcher
        )
        for suite in suites
    }
    missing = [(suite, name) for suite, cases in plan.items() for name in cases]
    journal = _Journal(json_path, environment, missing)
    peak = None if jax.default_backend() == "cpu" else measure_peak()
    for number, (suite, cases) in enumerate(plan.items(), start=1):
        end = begin + seconds * number / len(plan) if seconds else math.inf
        of_suite = _run_suite(suite, cases, end, peak, journal)
        say(f"\n### {suite}\n\n{format_table(of_suite)}\n")
    if plot_path and not plot_ratios(journal.records, plot_path, title=_describe(environment)):
        say(f"Skipped {plot_path}: no implementation was compared with another.")


class _Journal:
    """The measured and the missing cases, written to a file after every case."""

    def __init__(
        self, path: Path | None, environment: dict[str, Any], missing: Sequence[tuple[str, str]]
    ):
        self.records: list[Record] = []
        self._path, self._environment, self._missing = path, environment, list(missing)
        self._write()

    def add(self, suite: str, case: str, records: Sequence[Record]) -> None:
        """Note the records of a case."""
        self.records += records
        self._missing.remove((suite, case))
        self._write()

    def _write(self) -> None:
        if self._path:
            records = [record.to_dict() for record in self.records]
            missing = [f"{suite}, {case}" for suite, case in self._missing]
            content = {"environment": self._environment, "records": records}
            write_json(self._path, content | {"not_measured": missing})


def _run_suite(
    suite: str, cases: Mapping[str, Measure], end: float, peak: float | None, journal: _Journal
) -> list[Record]:
    """Measure the cases that begin before the time `end`, and always the first case."""
    records: list[Record] = []
    for number, (case, measure) in enumerate(cases.items()):
        if number and time.monotonic() > end:
            say(f"  {suite}, {case}: left out, the time is over")
            continue
        of_case = measure()
        if peak:
            add_utilisation(of_case, peak)
        journal.add(suite, case, of_case)
        for record in of_case:
            say(f"  {suite}, {record.case}: {record.implementation} done")
        records += of_case
    return records


def measure_peak(size: int = 8192) -> float:
    """Return the GFLOP/s of a large matrix product in the default precision."""
    contender = Contender("matrix product", None, ours.matrix_product)
    with Worker(contender, {"size": size}) as worker:
        return worker.built.flop / (worker.measure(10) / 10) / 1e9


def add_utilisation(records: Sequence[Record], peak: float) -> None:
    """Set the rate of a step's own arithmetic as a share of the matrix product's rate."""
    for record in records:
        if "gflops" in record.extra:
            record.extra["model_flop_utilisation"] = record.extra["gflops"] / peak


def _describe(environment: dict[str, Any]) -> str:
    return f"{environment['processor']}, {environment['num_cpus']} cores, {environment['device']}"
