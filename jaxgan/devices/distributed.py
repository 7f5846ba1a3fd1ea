"""Several processes as one run: how they meet, agree, and part.

Process 0 leads: what it has read counts on all of them (`share`), and it alone writes. The others
run the same program in step with it. What is said here of devices is in `jaxgan.devices.parallel`.
"""

import contextlib
import hashlib
import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NoReturn, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from jaxgan.core.errors import UserError
from jaxgan.devices.relay import Relay, find_free_port

LOST_EXIT_CODE = 75  # EX_TEMPFAIL of sysexits.h: try again
_MEETING_SECONDS = 300
_SAVING_SECONDS = 60  # for a checkpoint that is being written when a process is lost
_ENDING_SECONDS = 10  # for the others to find the same mistake
_NEVER_SECONDS = 10**6  # in place of JAX's own time limits, which abort the process

Tree = TypeVar("Tree")


@dataclass(frozen=True)
class Place:
    """Where a process stands among those of its run; `coordinator` is HOST:PORT of process 0."""

    coordinator: str
    num_processes: int
    process_id: int
    local_device_ids: tuple[int, ...] | None = None  # None: all devices of the machine


class _Run:
    """What this process holds of the run it has joined."""

    relay: Relay | None = None
    last_acts: ClassVar[list[Callable[[], object]]] = []
    lost = threading.Event()


def find_place(
    coordinator: str | None, num_processes: int | None, process_id: int | None
) -> Place | None:
    """Return the place that was given or, with nothing given, that a cluster's scheduler tells.

    None for a run of one process.
    """
    given = (coordinator, num_processes, process_id)
    if given == (None, None, None):
        return _detect_place()
    if coordinator is None or num_processes is None or process_id is None:
        raise UserError(
            "--coordinator, --num_processes and --process_id belong together: give all three to "
            "every process (or none on a cluster that JAX knows, such as Slurm)."
        )
    if not coordinator.rpartition(":")[0] or not coordinator.rpartition(":")[2].isdigit():
        raise UserError(
            f"--coordinator is {coordinator!r}, expected HOST:PORT: the machine of process 0 and "
            "a free port of it."
        )
    if not 0 <= process_id < num_processes:
        raise UserError(
            f"--process_id is {process_id}, expected 0 to {num_processes - 1} with "
            f"--num_processes={num_processes}: one number for each process."
        )
    return Place(coordinator, num_processes, process_id) if num_processes > 1 else None


def _detect_place() -> Place | None:
    # What `jax.distributed.initialize` asks itself: it would raise where there is no cluster, and
    # take one device of a job of one process.
    from jax._src.clusters import ClusterEnv

    coordinator, num_processes, process_id, device_ids = (
        ClusterEnv.auto_detect_unset_distributed_params(
            None, None, None, None, None, _MEETING_SECONDS
        )
    )
    if coordinator is None or process_id is None or (num_processes or 1) == 1:
        return None
    ids = None if device_ids is None else tuple(device_ids)
    return Place(coordinator, int(num_processes or 1), process_id, ids)


def join(place: Place) -> None:
    """Meet the other processes; JAX then sees the devices of all of them.

    Has to come before anything is computed. From here on a lost process ends this one too.
    """
    host, _, port = place.coordinator.rpartition(":")
    leads_run = place.process_id == 0
    try:
        if leads_run:
            service = f"127.0.0.1:{find_free_port()}"
            relay = Relay("", int(port), _as_target(service), _end_on_loss)
        else:
            relay = Relay("127.0.0.1", 0, (host.strip("[]"), int(port)), _end_on_loss)
            service = f"127.0.0.1:{relay.port}"
    except OSError as error:
        raise UserError(
            f"Nothing can listen at port {port} of this machine ({error.strerror}): give every "
            "process another port in --coordinator."
        ) from None
    with _time_limit(place):
        jax.distributed.initialize(
            service,
            place.num_processes,
            place.process_id,
            local_device_ids=place.local_device_ids,
            cluster_detection_method="deactivate",
            coordinator_bind_address=service if leads_run else None,
            initialization_timeout=_NEVER_SECONDS,
            heartbeat_timeout_seconds=_NEVER_SECONDS,
            shutdown_timeout_seconds=_NEVER_SECONDS,
        )
    _Run.relay = relay
    relay.arm()


@contextlib.contextmanager
def _time_limit(place: Place) -> Iterator[None]:
    """End the process with a sentence where the block, which waits in JAX, takes too long."""

    def end() -> None:
        sentence = (
            f"The {place.num_processes} processes of this run did not meet at {place.coordinator} "
            f"within {_MEETING_SECONDS} seconds: start each with its own --process_id, and make "
            "sure that the port can be reached."
        )
        print(f"Error: {sentence}", file=sys.stderr)
        _leave(2)

    timer = threading.Timer(_MEETING_SECONDS, end)
    timer.daemon = True
    timer.start()
    # Python would look at a Ctrl-C when JAX has returned, and no sooner.
    handler = signal.signal(signal.SIGINT, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGINT, handler)
    timer.cancel()


def _as_target(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, int(port)


def is_several() -> bool:
    """Whether this process has joined others."""
    return _Run.relay is not None


def leads() -> bool:
    """Whether this process reads and writes for all; true of a process alone."""
    return not is_several() or jax.process_index() == 0


def share(tree: Tree) -> Tree:
    """Return process 0's numbers and arrays on every process; of the same shapes everywhere."""
    if not is_several():
        return tree

    def restore_type(old: Any, new: np.ndarray) -> Any:
        return type(old)(new) if isinstance(old, bool | int | float) else new

    shared = multihost_utils.broadcast_one_to_all(tree)
    return jax.tree.map(restore_type, tree, shared)


def agree(number: int) -> int:
    """Return the largest of the processes' numbers, on each; all have to call it."""
    if not is_several():
        return number
    return int(np.max(multihost_utils.process_allgather(np.int32(number))))


@contextlib.contextmanager
def leader_first() -> Iterator[None]:
    """Run the block on process 0, and then on the others: they find what it has prepared."""
    if not leads():
        agree(0)
    yield
    if leads():
        agree(0)


def check_alike(record: Mapping[str, Any]) -> None:
    """Raise where the processes' runs are described by different records."""
    if not is_several():
        return
    digest = hashlib.sha256(json.dumps(record, sort_keys=True).encode()).digest()[:8]
    digests = multihost_utils.process_allgather(np.frombuffer(digest, np.uint32))
    if np.any(digests != digests[0]):
        raise UserError(
            "The processes of this run have different settings or data: start each with the same "
            "command, on the same images, except for --process_id."
        )


def at_end(act: Callable[[], object]) -> None:
    """Have something done when this process parts, in good order or not (but for a kill)."""
    _Run.last_acts.append(act)


@contextlib.contextmanager
def parting() -> Iterator[None]:
    """End this process's part in the run with the block: in good order, or at once.

    A process that fails does not wait long for the others: they notice, and end too.
    """
    try:
        yield
    except SystemExit as end:
        if is_several():
            _let_others_end()
            _leave(end.code if isinstance(end.code, int) else 1)
        raise
    except Exception:
        if not is_several():
            raise
        # A collective that breaks raises here, often before the relay has noticed why.
        if _Run.lost.wait(5.0):
            _leave(LOST_EXIT_CODE)
        traceback.print_exc()
        _leave(1)
    part()


def _let_others_end() -> None:
    """Give the others time to find what this process has found, and to end for that reason.

    What is wrong with settings, data or numbers is wrong in all of them. One that still computes
    would take the end of this process for a loss, and advise to start again.
    """
    if _Run.relay is None:
        return
    _Run.relay.disarm()
    if leads():
        _Run.relay.wait_for_end(_ENDING_SECONDS)
    else:
        _Run.lost.wait(_ENDING_SECONDS / 10)  # process 0 may be a little behind


def part() -> None:
    """Wait until every process has come here, and part."""
    if _Run.relay is None:
        return
    agree(0)
    _Run.relay.disarm()
    jax.distributed.shutdown()
    _Run.relay.close()
    _Run.relay = None
    _do_last_acts()


def _end_on_loss() -> None:
    """Say that a process was lost, and end this one even where a collective hangs for ever."""
    whose = "another process of this run" if leads() else "process 0 of this run"
    print(
        f"Error: {whose} has ended or can not be reached any more: the same commands, started "
        "again, go on from the last checkpoint.",
        file=sys.stderr,
        flush=True,
    )
    _Run.lost.set()
    if leads():
        threading.Event().wait(_SAVING_SECONDS)
    _leave(LOST_EXIT_CODE)


def _leave(code: int) -> NoReturn:
    _do_last_acts()
    # Not `sys.exit`: what JAX does at the end of an interpreter waits for the other processes.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _do_last_acts() -> None:
    for act in _Run.last_acts:
        act()
