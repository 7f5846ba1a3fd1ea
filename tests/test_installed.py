"""A launcher that is started by a Python without jaxgan says so, and how to mend it."""

import importlib.util
import runpy
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


def test_windows_is_named_with_the_way_out(monkeypatch, capsys):
    """Where Python has no `fcntl`, whose locks keep two runs from one folder."""
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda n: None if n == "fcntl" else found(n))
    with pytest.raises(SystemExit, match="2"):
        runpy.run_path(str(LAUNCH / "installed.py"))["check_installed"]()
    assert "WSL2" in capsys.readouterr().err
