"""Contenders of a case in turns, so that a slow minute of the machine slows all of them."""

import contextlib
from collections.abc import Mapping, Sequence

from jaxgan.benchmark.record import Record, compute_ratio, spread
from jaxgan.benchmark.worker import ContenderError, Worker
from jaxgan.benchmark.workload import Case, Contender
from jaxgan.core.console import say

_ROUND_SECONDS = 3.0  # a round has as many units as fill it
_BUDGET_SECONDS = 150.0  # per contender; after that it is not measured again
_LEAST_ROUNDS = 3


def run_case(case: Case, *, rounds: int) -> list[Record]:
    """Measure every contender `rounds` times, a slow one at least three times.

    A contender that cannot be built is named and left out.
    """
    with contextlib.ExitStack() as stack:
        workers: dict[Contender, Worker] = {}
        for contender in case.contenders:
            try:
                worker = stack.enter_context(Worker(contender, case.arguments))
            except ContenderError as error:
                say(f"Skipped {contender.implementation} in {case.suite} {case.name}: {error}.")
            else:
                workers[contender] = worker
        seconds = _take_turns(workers, rounds)
        return _summarise(case, workers, seconds)


def _take_turns(workers: dict[Contender, Worker], rounds: int) -> dict[Contender, list[float]]:
    """Return each contender's seconds per unit, one number per round."""
    units = {
        contender: max(1, round(_ROUND_SECONDS / worker.built.seconds))
        for contender, worker in workers.items()
    }
    seconds: dict[Contender, list[float]] = {contender: [] for contender in workers}
    for number in range(rounds):
        # every second round backwards, so that no contender always follows the same one
        for contender in list(workers)[:: 1 if number % 2 == 0 else -1]:
            spent = sum(seconds[contender]) * units[contender]
            if number < _LEAST_ROUNDS or spent < _BUDGET_SECONDS:
                taken = workers[contender].measure(units[contender])
                seconds[contender].append(taken / units[contender])
    return seconds


def _summarise(
    case: Case, workers: dict[Contender, Worker], seconds: dict[Contender, list[float]]
) -> list[Record]:
    records = []
    for contender, worker in workers.items():
        built = worker.built
        record = Record(
            case.suite,
            case.name,
            contender.implementation,
            spread([built.images / s for s in seconds[contender]]),
            built.compile_seconds,
            worker.finish(),
        )
        if built.flop:
            median = spread(seconds[contender]).median
            record.extra["gflops"] = built.flop / median / 1e9
        if contender.peer is None:
            _add_ratios(record, contender, seconds)
        records.append(record)
    return records


def _add_ratios(
    record: Record, own: Contender, seconds: Mapping[Contender, Sequence[float]]
) -> None:
    """Compare with every other contender, and with a peer's fastest."""
    ratios = {
        other: compute_ratio(seconds[own], taken)
        for other, taken in seconds.items()
        if other.peer is not None
    }
    record.extra["ratio_by_implementation"] = {
        other.implementation: ratio for other, ratio in ratios.items()
    }
    record.ratio = {}
    for other, ratio in ratios.items():
        assert other.peer is not None
        record.ratio[other.peer] = min(ratio, record.ratio.get(other.peer, ratio))
