"""What a run says where there is no terminal."""

import pytest

from jaxgan import console


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still unless it is moved."""
    now = [100.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    return now


def test_twenty_lines_a_run_and_one_after_two_silent_minutes(clock, capsys):
    with console.Progress("left", num_epochs=1000, num_examples=8) as progress:
        for epoch, seconds in ((49, 1.0), (50, 2.0), (51, 90.0), (52, 121.9), (53, 122.1)):
            clock[0] = 100.0 + seconds
            progress.update(epoch, {"loss_d": 0.5})
        clock[0] += 1.0
        progress.update(54, {"loss_d": 0.5})
    said = [line.split(":")[0] for line in capsys.readouterr().out.splitlines()]
    assert said == ["left epoch 50/1000", "left epoch 53/1000"]


def test_a_line_tells_metrics_speed_and_the_time_left(clock, capsys):
    progress = console.Progress("left", num_epochs=10, num_examples=30, start_epoch=4)
    clock[0] += 60.0
    assert progress.update(6, {"loss_d": 0.5, "d_fake": 0.25, "other": 1.0}) == 1.0
    first, line = capsys.readouterr().out.splitlines()
    assert first == "Going on after epoch 4 of 10."
    assert line == "left epoch 6/10: D 0.500, D(G(z)) 0.250, 1.0 images/s, 02:00 left"


def test_what_is_said_moves_no_terminal(capsys):
    console.say("a\x1b[2Jb")
    assert "\x1b" not in capsys.readouterr().out
