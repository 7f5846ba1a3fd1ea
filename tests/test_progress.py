"""What a run says: how fast it is of late, how long it still takes, and what it compiles."""

import io
import sys
import threading

import jax
import pytest

from jaxgan.core.console import say
from jaxgan.training import progress
from jaxgan.training.epochs import EpochPlan

COMPILING = "/jax/core/compile/backend_compile_duration"


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still unless it is moved."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def compile_for(clock, seconds):
    """Compile as JAX does: it takes its time, and is told to whoever listens."""
    clock[0] += seconds
    jax.monitoring.record_event_duration_secs(COMPILING, seconds)


def make_plan(num_epochs, num_examples=8, batch_size=8, max_steps=50):
    return EpochPlan(num_examples, batch_size, num_epochs, max_steps)


def test_twenty_lines_a_run_and_one_after_two_silent_minutes(clock, capsys):
    with progress.Progress("left", make_plan(1000)) as shown:
        shown.update(1, {"loss_d": 0.5})
        for epoch, seconds in ((49, 1.0), (50, 2.0), (51, 90.0), (52, 121.9), (53, 122.1)):
            clock[0] = 100.0 + seconds
            shown.update(epoch, {"loss_d": 0.5})
        clock[0] += 1.0
        shown.update(54, {"loss_d": 0.5})
    said = [line.split(":")[0] for line in capsys.readouterr().out.splitlines()]
    assert said == ["left", "left epoch 1/1000", "left epoch 50/1000", "left epoch 53/1000"]


def test_a_line_tells_metrics_speed_and_the_time_left(clock, capsys):
    plan = make_plan(10, num_examples=30, batch_size=10)
    with progress.Progress("left", plan) as shown:
        shown.start(12)
        clock[0] += 5.0
        assert shown.update(15, {"loss_d": 0.5}) is None
        clock[0] += 30.0
        assert shown.update(18, {"loss_d": 0.5, "d_fake": 0.25, "other": 1.0}) == 1.0
    assert capsys.readouterr().out.splitlines() == [
        "left: compiling, about 20 s the first time.",
        "Going on after epoch 4 of 10.",
        "left epoch 5/10: D 0.500, compiled in 0 s",
        "left epoch 6/10: D 0.500, D(G(z)) 0.250, 1.0 images/s, 02:00 left",
    ]


def test_what_is_compiled_is_told_before_and_never_counted(clock, capsys):
    """Twenty seconds for the first dispatch, ten in the middle; two seconds an epoch of work."""
    with progress.Progress("left", make_plan(20)) as shown:
        assert capsys.readouterr().out == "left: compiling, about 20 s the first time.\n"
        compile_for(clock, 12.0)  # what makes the state
        shown.start(0)
        compile_for(clock, 8.0)
        clock[0] += 2.0
        shown.update(1, {})
        for epoch in range(2, 20):
            if epoch == 9:
                compile_for(clock, 10.0)
            clock[0] += 2.0
            assert shown.update(epoch, {}) == pytest.approx(4.0)
    first, second, *_, last = capsys.readouterr().out.splitlines()
    assert first == "left epoch 1/20: compiled in 20 s"
    assert second == "left epoch 2/20: 4.0 images/s, 00:36 left"
    assert last == "left epoch 19/20: 4.0 images/s, 00:02 left"


def test_speed_and_time_left_are_of_the_last_minute(clock):
    """An epoch a second for an hour, then one in ten seconds: a minute later all is of the new."""
    with progress.Progress("left", make_plan(4000)) as shown:
        for epoch in range(1, 3601):
            clock[0] += 1.0
            shown.update(epoch, {})
        for epoch in range(3601, 3608):
            clock[0] += 10.0
            speed = shown.update(epoch, {})
    assert speed == pytest.approx(0.8)


def test_there_is_a_speed_before_the_first_epoch_ends(clock, capsys):
    """An epoch of 100 steps is several dispatches: none of them says 0.0 images/s."""
    with progress.Progress("left", make_plan(2, num_examples=800)) as shown:
        for step in (50, 80):
            clock[0] += 10.0
            speed = shown.update(step, {})
    assert speed == pytest.approx(24.0)
    out = capsys.readouterr().out
    assert "left epoch 0/2: compiled in 0 s" in out and "0.0 images/s" not in out


def test_a_terminal_gets_a_bar_with_the_same_numbers(clock, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress.Progress("left", make_plan(20)) as shown:
        compile_for(clock, 20.0)
        shown.update(1, {"loss_d": 0.5})
        clock[0] += 2.0
        shown.update(2, {"loss_d": 0.5})
    drawn = terminal.getvalue()
    assert "compiled in 20 s, D 0.500" in drawn
    assert "2/20 epochs" in drawn and "00:36 left, 4.0 images/s, D 0.500" in drawn


def test_what_another_thread_or_a_run_that_is_over_compiles_counts_for_nobody(clock):
    with progress.Progress("left", make_plan(20)) as shown:
        other = threading.Thread(target=compile_for, args=(clock, 7.0))
        other.start()
        other.join()
    compile_for(clock, 7.0)
    assert shown._clock.compiled == 0.0


def test_what_is_said_moves_no_terminal(capsys):
    say("a\x1b[2Jb")
    assert "\x1b" not in capsys.readouterr().out
