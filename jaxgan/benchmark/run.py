"""Suites one after another; what was measured is written down after every case."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxgan.benchmark.chart import plot_ratios
from jaxgan.benchmark.environment import describe_environment
from jaxgan.benchmark.launched import Launcher
from jaxgan.benchmark.record import Record, format_table
from jaxgan.benchmark.suites import find_peers, run_suite
from jaxgan.console import say
from jaxgan.errors import UserError
from jaxgan.figures import replace_file


def run_benchmark(
    suites: Sequence[str],
    *,
    peers: Sequence[str],
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
    records: list[Record] = []
    for suite in suites:
        of_suite: list[Record] = []
        for of_case in run_suite(
            suite, peers=installed, rounds=rounds, small=small, launcher=launcher
        ):
            of_suite += of_case
            if json_path:
                _write_json(json_path, environment, records + of_suite)
            for record in of_case:
                say(f"  {suite}, {record.case}: {record.implementation} done")
        records += of_suite
        say(f"\n### {suite}\n\n{format_table(of_suite)}\n")
    if plot_path and not plot_ratios(records, plot_path, title=_describe(environment)):
        say(f"Skipped {plot_path}: nothing was compared with anything.")


def _describe(environment: dict[str, Any]) -> str:
    return f"{environment['processor']}, {environment['num_cpus']} cores, {environment['device']}"


def _write_json(path: Path, environment: dict[str, Any], records: Sequence[Record]) -> None:
    content = {"environment": environment, "records": [record.to_dict() for record in records]}
    replace_file(path, (json.dumps(content, indent=2) + "\n").encode())
