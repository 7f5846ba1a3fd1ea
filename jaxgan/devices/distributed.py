"""Several processes as one run: how they connect, agree, and leave.

Process 0 leads. All processes use what it has read (`share`), and only process 0 writes. The others
run the same program in step with it. Devices are described in `jaxgan.devices.parallel`.
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
class ProcessSpec:
    """One process of a run: its number among the others; `coordinator` is process 0's HOST:PORT."""

    coordinator: str
    num_processes: int
    process_id: int
    local_device_ids: tuple[int, ...] | None = None  # None: all devices of the machine


class _Run:
    """The state of this process in the run that it has joined."""

    relay: Relay | None = None
    last_acts: ClassVar[list[Callable[[], object]]] = []
    lost = threading.Event()


def find_place(
    coordinator: str | None, num_processes: int | None, process_id: int | None
) -> ProcessSpec | None:
    """Return the process that was given or, with nothing given, that a cluster's scheduler names.

    None for a run of one process.
    """
    given = (coordinator, num_processes, process_id)
    if given == (None, None, None):
        return _detect_place()
    if coordinator is None or num_processes is None or process_id is None:
        raise UserError(
            "--coordinator, --num_processes and --process_id belong together: give all three to "
            "every process, or none on a cluster that JAX knows, such as Slurm."
        )
    if not coordinator.rpartition(":")[0] or not coordinator.rpartition(":")[2].isdigit():
        raise UserError(
            f"--coordinator is {coordinator!r}, expected HOST:PORT: the machine of process 0 and "
            "a free port on it."
        )
    if not 0 <= process_id < num_processes:
        raise UserError(
            f"--process_id is {process_id}, expected 0 to {num_processes - 1} with "
            f"--num_processes={num_processes}: one number for each process."
        )
    return ProcessSpec(coordinator, num_processes, process_id) if num_processes > 1 else None


def _detect_place() -> ProcessSpec | None:
    # `jax.distributed.initialize` does the same detection. But it would raise without a cluster,
    # and use only one device in a job of one process.
    from jax._src.clusters import ClusterEnv

    coordinator, num_processes, process_id, device_ids = (
        ClusterEnv.auto_detect_unset_distributed_params(
            None, None, None, None, None, _MEETING_SECONDS
        )
    )
    if coordinator is None or process_id is None or (num_processes or 1) == 1:
        return None
    ids = None if device_ids is None else tuple(device_ids)
    return ProcessSpec(coordinator, int(num_processes or 1), process_id, ids)


def join(place: ProcessSpec) -> None:
    """Connect to the other processes; JAX then sees the devices of all of them.

    Call it before anything is computed. After it, the loss of a process ends this one too.
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
            f"Port {port} of this machine can not be used ({error.strerror}): give every process "
            "another port in --coordinator."
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
def _time_limit(place: ProcessSpec) -> Iterator[None]:
    """End the process with a message if the block, which waits in JAX, takes too long."""

    def end() -> None:
        sentence = (
            f"The {place.num_processes} processes of this run did not connect at "
            f"{place.coordinator} within {_MEETING_SECONDS} seconds: start each with its own "
            "--process_id, and make sure that the port can be reached."
        )
        print(f"Error: {sentence}", file=sys.stderr)
        _leave(2)

    timer = threading.Timer(_MEETING_SECONDS, end)
    timer.daemon = True
    timer.start()
    # Python would handle Ctrl-C only after JAX has returned.
    handler = signal.signal(signal.SIGINT, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGINT, handler)
    timer.cancel()


def _as_target(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, int(port)


def is_several() -> bool:
    """Whether this process belongs to a run of several."""
    return _Run.relay is not None


def leads() -> bool:
    """Whether this process reads and writes for all; True for a single process."""
    return not is_several() or jax.process_index() == 0


def share(tree: Tree) -> Tree:
    """Return process 0's numbers and arrays on every process; shapes are the same on all."""
    if not is_several():
        return tree

    def restore_type(old: Any, new: np.ndarray) -> Any:
        return type(old)(new) if isinstance(old, bool | int | float) else new

    shared = multihost_utils.broadcast_one_to_all(tree)
    return jax.tree.map(restore_type, tree, shared)


def agree(number: int) -> int:
    """Return the largest of the processes' numbers on each process; all must call it."""
    if not is_several():
        return number
    return int(np.max(multihost_utils.process_allgather(np.int32(number))))


@contextlib.contextmanager
def leader_first() -> Iterator[None]:
    """Run the block on process 0, then on the others: they find what it has prepared."""
    if not leads():
        agree(0)
    yield
    if leads():
        agree(0)


def check_alike(record: Mapping[str, Any]) -> None:
    """Raise `UserError` if the processes' runs have different records."""
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
    """Call `act` when this process leaves the run, also after an error; not after a kill."""
    _Run.last_acts.append(act)


@contextlib.contextmanager
def parting() -> Iterator[None]:
    """Leave the run at the end of the block: after the others are done too, or at once on an error.

    A process that fails does not wait long for the others: they notice it, and end too.
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
        # A broken collective operation raises here, often before the relay has seen the cause.
        if _Run.lost.wait(5.0):
            _leave(LOST_EXIT_CODE)
        traceback.print_exc()
        _leave(1)
    part()


def _let_others_end() -> None:
    """Give the others time to find the same error, and to end for that reason.

    Wrong settings, data or numbers are wrong in every process. Without this wait, a process that
    still computes would report this one as lost, and advise to start again.
    """
    if _Run.relay is None:
        return
    _Run.relay.disarm()
    if leads():
        _Run.relay.wait_for_end(_ENDING_SECONDS)
    else:
        _Run.lost.wait(_ENDING_SECONDS / 10)  # process 0 may be slightly later


def part() -> None:
    """Wait until every process has reached this line, then leave the run."""
    if _Run.relay is None:
        return
    agree(0)
    _Run.relay.disarm()
    jax.distributed.shutdown()
    _Run.relay.close()
    _Run.relay = None
    _do_last_acts()


def _end_on_loss() -> None:
    """Say that a process was lost, and end this one, even if a collective operation never ends."""
    lost = "another process of this run" if leads() else "process 0 of this run"
    print(
        f"Error: {lost} has ended or can not be reached any more. Start the same commands again: "
        "they continue from the last checkpoint.",
        file=sys.stderr,
        flush=True,
    )
    _Run.lost.set()
    if leads():
        threading.Event().wait(_SAVING_SECONDS)
    _leave(LOST_EXIT_CODE)


def _leave(code: int) -> NoReturn:
    _do_last_acts()
    # Not `sys.exit`: JAX's work at the end of an interpreter waits for the other processes.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _do_last_acts() -> None:
    for act in _Run.last_acts:
        act()
