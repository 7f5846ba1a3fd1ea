"""Launchers in processes of their own that begin where all they import has been imported.

A launcher that finds a mistake in its flags has spent nearly all of its time on imports. Here one
process imports the libraries, nothing of `launch/`, and becomes a launcher in a fork of it as often
as it is asked to: script, flags, streams and exit code are those of a process that a user starts.
What a user's environment or terminal does to a launcher needs such a process and not a fork.
"""

import atexit
import functools
import gc
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

_TOO_LONG = 300  # seconds
LAUNCH = Path(__file__).resolve().parents[1] / "launch"


def run(
    name: str, flags: Sequence[str], *, cwd: Path | None = None, before: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a launcher to its end, after the statements `before` if there are any."""
    command = [str(LAUNCH / f"{name}.py"), *flags]
    server = _start()
    assert server.stdin is not None and server.stdout is not None
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / stream for stream in ("stdout", "stderr")]
        task = {"command": command, "cwd": str(cwd or Path.cwd()), "before": before}
        server.stdin.write(json.dumps(task | {"files": [*map(str, files)]}) + "\n")
        server.stdin.flush()
        code = int(server.stdout.readline())
        return subprocess.CompletedProcess(command, code, *(file.read_text() for file in files))


@functools.cache
def _start() -> "subprocess.Popen[str]":
    """Start the process that has everything imported; it ends with this one."""
    from tests.helpers import make_environment

    # As launch/huge_pages.py has it, which then has nothing to do.
    environment = make_environment() | {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
    server = subprocess.Popen(
        [sys.executable, __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    atexit.register(_end, server)
    return server


def _end(server: "subprocess.Popen[str]") -> None:
    server.communicate()


def _import_libraries() -> None:
    from jaxgan.benchmark import run  # noqa: F401
    from jaxgan.experiments import train_classifier  # noqa: F401
    from jaxgan.study import coverage, page  # noqa: F401


def _serve(tasks: IO[str]) -> None:
    _import_libraries()
    gc.freeze()  # a fork that looks for garbage in it would copy all of it
    for line in tasks:
        task = json.loads(line)
        child = os.fork()
        if child == 0:
            _become(**task)
            return
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def _become(command: list[str], cwd: str, before: str, files: list[str]) -> None:
    """Be the launcher: its streams, its folder, its flags, and its modules first of all."""
    for number, path in enumerate([os.devnull, *files]):
        mode = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT
        os.dup2(os.open(path, mode), number)
    signal.alarm(_TOO_LONG)
    os.chdir(cwd)
    sys.argv = command
    sys.path[0] = str(LAUNCH)
    scope: dict[str, Any] = {}
    try:
        exec(before, scope)
        runpy.run_path(command[0], run_name="__main__")
    except SystemExit as end:
        _leave(end.code)
    except BaseException:
        traceback.print_exc()
        _leave(1)
    _leave(0)


def _leave(code: object) -> None:
    """End as Python does, but for taking apart all that is imported, which takes 0.2 s."""
    if isinstance(code, str):
        print(code, file=sys.stderr)
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


if __name__ == "__main__":
    _serve(sys.stdin)
