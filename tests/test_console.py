"""What a run says: how fast it is of late, how long it still takes, and what it compiles."""

import io
import threading

import jax
import pytest

from jaxgan import console
from jaxgan.schedule import Schedule

COMPILING = "/jax/core/compile/backend_compile_duration"


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still unless it is moved."""
    now = [100.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    return now


def compile_for(clock, seconds):
    """Compile as JAX does: it takes its time, and is told to whoever listens."""
    clock[0] += seconds
    jax.monitoring.record_event_duration_secs(COMPILING, seconds)


def make_schedule(num_epochs, num_examples=8, batch_size=8, max_steps=50):
    return Schedule(num_examples, batch_size, num_epochs, max_steps)


def test_twenty_lines_a_run_and_one_after_two_silent_minutes(clock, capsys):
    with console.Progress("left", make_schedule(1000)) as progress:
        progress.update(1, {"loss_d": 0.5})
        for epoch, seconds in ((49, 1.0), (50, 2.0), (51, 90.0), (52, 121.9), (53, 122.1)):
            clock[0] = 100.0 + seconds
            progress.update(epoch, {"loss_d": 0.5})
        clock[0] += 1.0
        progress.update(54, {"loss_d": 0.5})
    said = [line.split(":")[0] for line in capsys.readouterr().out.splitlines()]
    assert said == ["left", "left epoch 1/1000", "left epoch 50/1000", "left epoch 53/1000"]


def test_a_line_tells_metrics_speed_and_the_time_left(clock, capsys):
    schedule = make_schedule(10, num_examples=30, batch_size=10)
    with console.Progress("left", schedule) as progress:
        progress.start(12)
        clock[0] += 5.0
        assert progress.update(15, {"loss_d": 0.5}) is None
        clock[0] += 30.0
        assert progress.update(18, {"loss_d": 0.5, "d_fake": 0.25, "other": 1.0}) == 1.0
    assert capsys.readouterr().out.splitlines() == [
        "left: compiling, about 20 s the first time.",
        "Going on after epoch 4 of 10.",
        "left epoch 5/10: D 0.500, compiled in 0 s",
        "left epoch 6/10: D 0.500, D(G(z)) 0.250, 1.0 images/s, 02:00 left",
    ]


def test_what_is_compiled_is_told_before_and_never_counted(clock, capsys):
    """Twenty seconds for the first dispatch, ten in the middle; two seconds an epoch of work."""
    with console.Progress("left", make_schedule(20)) as progress:
        assert capsys.readouterr().out == "left: compiling, about 20 s the first time.\n"
        compile_for(clock, 12.0)  # what makes the state
        progress.start(0)
        compile_for(clock, 8.0)
        clock[0] += 2.0
        progress.update(1, {})
        for epoch in range(2, 20):
            if epoch == 9:
                compile_for(clock, 10.0)
            clock[0] += 2.0
            assert progress.update(epoch, {}) == pytest.approx(4.0)
    first, second, *_, last = capsys.readouterr().out.splitlines()
    assert first == "left epoch 1/20: compiled in 20 s"
    assert second == "left epoch 2/20: 4.0 images/s, 00:36 left"
    assert last == "left epoch 19/20: 4.0 images/s, 00:02 left"


def test_speed_and_time_left_are_of_the_last_minute(clock):
    """An epoch a second for an hour, then one in ten seconds: a minute later all is of the new."""
    with console.Progress("left", make_schedule(4000)) as progress:
        for epoch in range(1, 3601):
            clock[0] += 1.0
            progress.update(epoch, {})
        for epoch in range(3601, 3608):
            clock[0] += 10.0
            speed = progress.update(epoch, {})
    assert speed == pytest.approx(0.8)


def test_there_is_a_speed_before_the_first_epoch_ends(clock, capsys):
    """An epoch of 100 steps is several dispatches: none of them says 0.0 images/s."""
    with console.Progress("left", make_schedule(2, num_examples=800)) as progress:
        for step in (50, 80):
            clock[0] += 10.0
            speed = progress.update(step, {})
    assert speed == pytest.approx(24.0)
    out = capsys.readouterr().out
    assert "left epoch 0/2: compiled in 0 s" in out and "0.0 images/s" not in out


def test_a_terminal_gets_a_bar_with_the_same_numbers(clock, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(console.sys, "stderr", terminal)
    with console.Progress("left", make_schedule(20)) as progress:
        compile_for(clock, 20.0)
        progress.update(1, {"loss_d": 0.5})
        clock[0] += 2.0
        progress.update(2, {"loss_d": 0.5})
    drawn = terminal.getvalue()
    assert "compiled in 20 s, D 0.500" in drawn
    assert "2/20 epochs" in drawn and "00:36 left, 4.0 images/s, D 0.500" in drawn


def test_what_another_thread_or_a_run_that_is_over_compiles_counts_for_nobody(clock):
    with console.Progress("left", make_schedule(20)) as progress:
        other = threading.Thread(target=compile_for, args=(clock, 7.0))
        other.start()
        other.join()
    compile_for(clock, 7.0)
    assert progress._clock.compiled == 0.0


def test_what_is_said_moves_no_terminal(capsys):
    console.say("a\x1b[2Jb")
    assert "\x1b" not in capsys.readouterr().out
