"""A contender in its own process, which works only on request.

Libraries have their own threads and memory. In separate processes, no library affects the speed of
another, and the peak of memory is that of the contender.
"""

import multiprocessing
import resource
import sys
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from jaxgan.benchmark.workload import Contender, Workload

_KIB = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss


class ContenderError(Exception):
    """A contender could not be built or run; the message is its last line."""


@dataclass(frozen=True)
class Built:
    """The message of a worker when it is ready.

    `first_seconds` is the time of the first unit, including compilation; `seconds` of a later one.
    """

    images: int
    flop: int
    first_seconds: float
    seconds: float

    @property
    def compile_seconds(self) -> float:
        """The first unit's time minus a later unit's."""
        return max(self.first_seconds - self.seconds, 0.0)


class Worker:
    """A contender's process; a context manager."""

    def __init__(self, contender: Contender, arguments: Mapping[str, Any]):
        context = multiprocessing.get_context("spawn")
        self._pipe, remote = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(remote, contender, arguments), daemon=True
        )
        self._process.start()
        remote.close()
        self.built: Built = self._receive()

    def measure(self, units: int) -> float:
        """Return the seconds of `units` units, after one that does not count."""
        self._pipe.send(units)
        return float(self._receive())

    def finish(self) -> int:
        """End the process; return its peak memory in bytes, on the accelerator if it uses one."""
        self._pipe.send(None)
        peak = int(self._receive())
        self._process.join()
        return peak

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.join()

    def _receive(self) -> Any:
        try:
            answer = self._pipe.recv()
        except EOFError:
            self._process.join()
            raise ContenderError(f"its process ended with code {self._process.exitcode}") from None
        if isinstance(answer, ContenderError):
            raise answer
        return answer


def _serve(pipe: Connection, contender: Contender, arguments: Mapping[str, Any]) -> None:
    try:
        workload = contender.build(**arguments)
        first, later = _time(workload, 1), _time(workload, 1)
        pipe.send(Built(workload.images, workload.flop, first, later))
        while (units := pipe.recv()) is not None:
            # Others have worked since: caches are cold, and a virtual machine may have taken back
            # free memory. In a training without pauses this does not happen.
            workload.run()
            pipe.send(_time(workload, units))
        pipe.send(_measure_peak_memory())
    except (EOFError, KeyboardInterrupt):
        pass  # the parent is gone
    except Exception as error:
        pipe.send(ContenderError(traceback.format_exception_only(error)[-1].strip()))


def _time(workload: Workload, units: int) -> float:
    begin = time.perf_counter()
    for _ in range(units):
        workload.run()
    return time.perf_counter() - begin


def _measure_peak_memory() -> int:
    """Return the accelerator's peak if this process has used one, otherwise the process's."""
    if "jax" in sys.modules:
        stats = sys.modules["jax"].local_devices()[0].memory_stats()
        if stats:
            return int(stats["peak_bytes_in_use"])
    elif "torch" in sys.modules and sys.modules["torch"].cuda.is_available():
        return int(sys.modules["torch"].cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _KIB
