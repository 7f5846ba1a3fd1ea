"""Runs that are killed at random moments end as if they had not been (see `tests.kills`)."""

import signal
import subprocess
import sys

import numpy as np
import pytest

from tests import kills


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    path = tmp_path_factory.mktemp("kills")
    kills.prepare(path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("launcher", "num_kills"), [("train_dcgan", 20), ("train_gmd", 20), ("study", 12)]
)
def test_fifty_kills_change_nothing(place, launcher, num_kills):
    ends = kills.run(kills.SUBJECTS[launcher], place, num_kills=num_kills, seed=1)
    assert kills.count_kills(ends) >= num_kills


def test_what_differs_is_found():
    assert kills.compare({"a": b"1", "b": b"2"}, {"a": b"1", "c": b"3"}) == ["b", "c"]
    assert kills.compare({"a": b"1"}, {"a": b"2"}) == ["a"]
    assert kills.compare({"a": b"1"}, {"a": b"1"}) == []


def test_a_ctrl_c_of_an_earlier_start_excuses_no_later_crash(tmp_path, monkeypatch):
    programs = ["print('KeyboardInterrupt'); raise SystemExit(1)", "raise SystemExit('a crash')"]

    def start(subject, place, workdir):
        with workdir.with_suffix(".txt").open("ab") as output:
            command = [sys.executable, "-c", programs.pop(0)]
            return subprocess.Popen(command, stdout=output, stderr=output)

    def wait_for_end(process, workdir, rng):
        process.wait()
        return "after it has ended"

    monkeypatch.setattr(kills, "start", start)
    monkeypatch.setattr(kills, "SIGNALS", (signal.SIGINT,))
    monkeypatch.setattr(kills, "_wait_for_moment", wait_for_end)
    subject, rng = kills.SUBJECTS["train_dcgan"], np.random.default_rng(0)
    with pytest.raises(AssertionError, match="a crash"):
        kills.kill_again_and_again(subject, tmp_path, tmp_path / "run", num_kills=2, rng=rng)
    assert not programs
