"""The measured work: one unit that can be repeated."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Workload:
    """One unit of work; `run` returns when its results are computed, not only requested.

    `images` is the number per unit. `flop` counts the textbook form's arithmetic, for GFLOP/s.
    """

    run: Callable[[], object]
    images: int
    flop: int = 0


Build = Callable[..., Workload]


@dataclass(frozen=True)
class Contender:
    """An implementation of a case, built in its own process as `build(**arguments)`.

    `peer` names its project: PyTorch has several variants, and the fastest counts. It is None for
    jaxgan's own.
    """

    implementation: str
    peer: str | None
    build: Build


@dataclass(frozen=True)
class Case:
    """The same work for every contender."""

    suite: str
    name: str
    arguments: Mapping[str, Any]
    contenders: tuple[Contender, ...]
