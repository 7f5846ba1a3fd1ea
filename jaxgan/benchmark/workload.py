"""What is measured: a piece of work that can be repeated."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Workload:
    """One unit of work; `run` returns when it is done, its results computed and not just promised.

    `images` are those of a unit. `flop` counts the arithmetic of the textbook form, for GFLOP/s.
    """

    run: Callable[[], object]
    images: int
    flop: int = 0


Build = Callable[..., Workload]


@dataclass(frozen=True)
class Contender:
    """An implementation of a case, built in a process of its own as `build(**arguments)`.

    `peer` names the project it belongs to: PyTorch enters with several variants, and the fastest
    counts. It is None for jaxgan's own.
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
