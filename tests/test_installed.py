"""A launcher that is started by a Python without jaxgan says so, and how to mend it."""

import subprocess
import sys
from pathlib import Path

import pytest

LAUNCH = Path(__file__).resolve().parents[1] / "launch"
LAUNCHERS = sorted(
    path.name for path in LAUNCH.glob("*.py") if "    cli.run(" in path.read_text("utf-8")
)


def test_the_launchers_are_found():
    assert {"train_dcgan.py", "train_gmd.py", "sample.py", "study.py"} <= set(LAUNCHERS)


@pytest.mark.parametrize("name", LAUNCHERS)
def test_without_jaxgan_a_launcher_says_what_to_do(name):
    # -S: without the packages of this environment, as in a shell where none is active.
    command = [sys.executable, "-S", str(LAUNCH / name)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("Error: jaxgan is not installed for this Python (")
    assert ". .venv/bin/activate" in done.stderr
    assert "Traceback" not in done.stderr
