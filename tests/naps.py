"""Workloads of a known time, in a module that is imported in none."""

import functools
import time

from jaxgan.benchmark.workload import Contender, Workload


def build_sleep(*, seconds: float, fail: bool = False) -> Workload:
    """Return a nap of so many seconds; raise where it is to fail."""
    if fail:
        raise ValueError("no such thing")
    return Workload(functools.partial(time.sleep, seconds), images=10, flop=10**9)


def make_contender(name: str, peer: str | None, *, seconds: float, fail: bool = False) -> Contender:
    """Return a contender that naps."""
    return Contender(name, peer, functools.partial(build_sleep, seconds=seconds, fail=fail))
