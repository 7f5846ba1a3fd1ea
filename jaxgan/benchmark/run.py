"""Suites one after another; what was measured is written down after every case."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from jaxgan.benchmark import ours
from jaxgan.benchmark.chart import plot_ratios
from jaxgan.benchmark.environment import describe_environment
from jaxgan.benchmark.launched import Launcher
from jaxgan.benchmark.record import Record, format_table
from jaxgan.benchmark.suites import find_peers, run_suite
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
    json_path: Path | None = None,
    plot_path: Path | None = None,
) -> None:
    """Run suites and print a table of each; write JSON and a bar chart where asked to."""
    for path in (json_path, plot_path):
        if path and not path.parent.is_dir():
            raise UserError(f"{path} can not be written: there is no folder {path.parent}.")
    environment = describe_environment()
    say("\n".join(f"{name}: {value}" for name, value in environment.items()))
    installed = find_peers(peers)
    peak = None if jax.default_backend() == "cpu" else measure_peak()
    records: list[Record] = []
    for suite in suites:
        of_suite: list[Record] = []
        for of_case in run_suite(
            suite, peers=installed, case=case, rounds=rounds, small=small, launcher=launcher
        ):
            if peak:
                add_utilisation(of_case, peak)
            of_suite += of_case
            if json_path:
                _write_json(json_path, environment, records + of_suite)
            for record in of_case:
                say(f"  {suite}, {record.case}: {record.implementation} done")
        records += of_suite
        say(f"\n### {suite}\n\n{format_table(of_suite)}\n")
    if plot_path and not plot_ratios(records, plot_path, title=_describe(environment)):
        say(f"Skipped {plot_path}: nothing was compared with anything.")


def measure_peak(size: int = 8192) -> float:
    """Return the GFLOP/s of a large matrix product in the default precision."""
    contender = Contender("matrix product", None, ours.matrix_product)
    with Worker(contender, {"size": size}) as worker:
        return worker.built.flop / (worker.measure(10) / 10) / 1e9


def add_utilisation(records: Sequence[Record], peak: float) -> None:
    """Set what share of the matrix product's rate a step's own arithmetic is done at."""
    for record in records:
        if "gflops" in record.extra:
            record.extra["model_flop_utilisation"] = record.extra["gflops"] / peak


def _describe(environment: dict[str, Any]) -> str:
    return f"{environment['processor']}, {environment['num_cpus']} cores, {environment['device']}"


def _write_json(path: Path, environment: dict[str, Any], records: Sequence[Record]) -> None:
    content = {"environment": environment, "records": [record.to_dict() for record in records]}
    write_json(path, content)
