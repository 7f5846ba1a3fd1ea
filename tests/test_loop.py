"""The loop with a toy step: when it saves, and what it does with numbers that are not finite."""

import contextlib
import itertools
import os
import signal
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.core.errors import DivergedError
from jaxgan.training import loop
from jaxgan.training.checkpoint import Checkpoints
from jaxgan.training.epochs import EpochPlan
from jaxgan.training.loop import Loop, LoopStage, Stopped, catch_stop_signals
from jaxgan.training.run_folder import open_run_folder, read_metrics

RECORD = {"kind": "toy", "settings": {"num_epochs": 3}}
SCHEDULE = EpochPlan(num_examples=16, batch_size=2, num_epochs=3, max_steps=3)
# Its dispatches end after 3, 6, 8, 11, 14, 16, 19, 22 and 24 steps: epochs of eight, cut.


class ToyDispatcher:
    """Adds one a step; the loss of step `bad` is `value`."""

    def __init__(self, bad=0, value=np.nan, broken_state=0):
        self.bad, self.value, self.broken_state = bad, value, broken_state
        self.steps = []

    def to_devices(self, state):
        return state

    def to_host(self, state):
        return state

    def __call__(self, state, begin, end):
        self.steps.append((begin, end))
        losses = np.zeros(3)
        losses[: end - begin] = np.arange(begin + 1, end + 1)
        if begin < self.bad <= end:
            losses[self.bad - begin - 1] = self.value
        state = state + (end - begin)
        if self.broken_state and end >= self.broken_state:
            state = state * np.nan
        return state, {"loss": jnp.array(losses)}


def resume(checkpoints):
    return checkpoints.resume(lambda: np.float32(0))


def run(path, dispatcher, **options):
    return run_stages(path, SCHEDULE, [LoopStage(0, 24, dispatcher)], **options)


def run_stages(path, plan, stages, *, every_epochs=1, every_seconds=0.0, hooks=()):
    progress = SimpleNamespace(update=lambda epoch, line: 0.0)
    with open_run_folder(path, RECORD) as folder, Checkpoints(path / "c") as checkpoints:
        step, state = resume(checkpoints)
        folder.rewind(step)
        saved, save = [], checkpoints.save

        def note(step, state, metrics):
            saved.append((step, "loss" in metrics))
            save(step, state, metrics)

        checkpoints.save = note
        todo = Loop(plan, hooks, folder, checkpoints, every_epochs, every_seconds, progress)
        state = loop.run_loop(todo, stages, state, start_step=step)
        return float(state), saved


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes on by ten seconds whenever it is read."""
    now = [0.0]

    def read():
        now[0] += 10.0
        return now[0]

    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=read))


def test_by_epochs_alone_it_saves_at_their_ends(tmp_path, clock):
    assert run(tmp_path, ToyDispatcher()) == (24.0, [(8, True), (16, True), (24, True)])


def test_by_time_it_saves_in_the_middle_and_such_a_checkpoint_can_not_be_the_best(tmp_path, clock):
    _, saved = run(tmp_path, ToyDispatcher(), every_epochs=3, every_seconds=15.0)
    assert saved == [(6, False), (11, False), (16, False), (22, False), (24, True)]


# Stages -------------------------------------------------------------------------------------------

BORDERS = EpochPlan(num_examples=16, batch_size=2, num_epochs=3, max_steps=3, borders=(1, 2))
FIRST, SECOND, THIRD = (
    [(0, 3), (3, 6), (6, 8)],
    [(8, 11), (11, 14), (14, 16)],
    [(16, 19), (19, 22), (22, 24)],
)


def make_stages(begun):
    """Of an epoch each: the second begins with ten times the state, the third with ten more."""

    def begin(name, change):
        def note(state):
            begun.append((name, float(state)))
            return np.float32(change(state))

        return note

    return [
        LoopStage(0, 8, ToyDispatcher(), begin("first", lambda state: state)),
        LoopStage(8, 16, ToyDispatcher(), begin("second", lambda state: 10 * state)),
        LoopStage(16, 24, ToyDispatcher(), begin("third", lambda state: state + 10)),
    ]


def test_every_stage_begins_once_with_what_the_one_before_has_left(tmp_path):
    begun = []
    stages = make_stages(begun)
    assert run_stages(tmp_path, BORDERS, stages)[0] == 10 * 8 + 8 + 10 + 8
    assert begun == [("first", 0), ("second", 8), ("third", 88)]
    steps = [stage.dispatcher.steps for stage in stages]
    assert steps == [FIRST, SECOND, THIRD]


@pytest.mark.parametrize(
    ("num_dispatches", "step", "begins"),
    [
        (2, 6, [("second", 8), ("third", 88)]),
        (3, 8, [("second", 8), ("third", 88)]),  # exactly at a border
        (4, 11, [("third", 88)]),
        (6, 16, [("third", 88)]),
        (7, 19, []),
    ],
)
def test_a_run_that_was_stopped_begins_each_stage_that_it_had_not(
    tmp_path, monkeypatch, num_dispatches, step, begins
):
    """What is saved at a border is what the stage before has left, and the next begins anew."""
    with monkeypatch.context() as patch:
        signals = [0] * (num_dispatches - 1) + [15]
        caught = contextlib.nullcontext(lambda: signals.pop(0))
        patch.setattr(loop, "catch_stop_signals", lambda: caught)
        with pytest.raises(Stopped):
            run_stages(tmp_path, BORDERS, make_stages([]))
    begun = []
    stages = make_stages(begun)
    with Checkpoints(tmp_path / "c") as checkpoints:
        assert resume(checkpoints)[0] == step
    assert run_stages(tmp_path, BORDERS, stages)[0] == 106.0
    assert begun == begins
    assert next(s for stage in stages for s in stage.dispatcher.steps)[0] == step
    assert [line["step"] for line in read_metrics(tmp_path)] == [3, 6, 8, 11, 14, 16, 19, 22, 24]


def test_a_finished_run_begins_no_stage(tmp_path):
    run_stages(tmp_path, BORDERS, make_stages([]))
    begun = []
    assert run_stages(tmp_path, BORDERS, make_stages(begun)) == (106.0, [])
    assert begun == []


def test_a_stage_that_has_no_step_of_its_own_begins_all_the_same(tmp_path):
    """Where a batch is larger than the set, one step may end the epochs of two stages."""
    plan = EpochPlan(num_examples=2, batch_size=4, num_epochs=4, max_steps=3, borders=(1, 2))
    ends = [plan.compute_end_of_epoch(epoch) for epoch in (0, 1, 2, 4)]
    assert ends == [0, 1, 1, 2]
    stages = [
        LoopStage(*border, ToyDispatcher(), begin)
        for border, begin in zip(
            itertools.pairwise(ends),
            (lambda s: s, lambda s: np.float32(10 * s), lambda s: np.float32(s + 10)),
            strict=True,
        )
    ]
    assert run_stages(tmp_path, plan, stages)[0] == 10 * 1 + 10 + 1
    assert [stage.dispatcher.steps for stage in stages] == [[(0, 1)], [], [(1, 2)]]


# Time, and numbers that are not finite -----------------------------------------------------------


def test_patience_is_over_after_its_seconds_and_not_before(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: now[0]))
    timer, never = loop.SaveTimer(60.0), loop.SaveTimer(0.0)
    for seconds, over in ((0.0, False), (59.9, False), (60.0, True), (1e6, True)):
        now[0] = 100.0 + seconds
        assert timer.is_over() is over
        assert never.is_over() is False
    timer.renew()
    assert not timer.is_over()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_step(tmp_path, value):
    with pytest.raises(DivergedError, match=rf"loss is {value} at step 13: the training has"):
        run(tmp_path, ToyDispatcher(bad=13, value=value))
    assert [line["step"] for line in read_metrics(tmp_path)] == [3, 6, 8, 11]
    with Checkpoints(tmp_path / "c") as checkpoints:
        assert resume(checkpoints) == (8, 8.0)
    assert run(tmp_path, ToyDispatcher())[0] == 24.0


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_measure_that_is_not_finite_stops_the_run_and_is_named(tmp_path, value):
    """The last update has broken the parameters, which only a hook sees; its losses are good."""
    measure = loop.Hook(1, lambda moment: {"val_loss": 1.0 if moment.epoch < 2 else value})
    with pytest.raises(DivergedError, match=rf"val_loss is {value} at step 16: the training has"):
        run(tmp_path, ToyDispatcher(), hooks=[measure])
    assert [line["step"] for line in read_metrics(tmp_path)] == [3, 6, 8, 11, 14]
    with Checkpoints(tmp_path / "c") as checkpoints:
        assert resume(checkpoints) == (8, 8.0)


def test_a_state_that_is_not_finite_is_not_saved_though_its_losses_are(tmp_path):
    with pytest.raises(DivergedError, match="no longer finite after step 16"):
        run(tmp_path, ToyDispatcher(broken_state=16))
    with Checkpoints(tmp_path / "c") as checkpoints:
        assert resume(checkpoints) == (8, 8.0)


def test_what_process_0_alone_has_found_ends_the_others_for_the_same_reason(tmp_path, monkeypatch):
    """They have no hooks and save nothing, and hear of it where all agree on signals."""
    asked = []

    def agree(number):
        asked.append(number)
        return max(number, loop._TROUBLE if len(asked) == 3 else 0)

    monkeypatch.setattr(loop, "agree", agree)
    with pytest.raises(DivergedError, match="Process 0 found a value that is not finite: "):
        run(tmp_path / "other", ToyDispatcher())
    assert asked == [0, 0, 0]
    asked.clear()
    measure = loop.Hook(1, lambda moment: {"val_loss": np.nan})
    with pytest.raises(DivergedError, match="val_loss is nan"):
        run(tmp_path / "leading", ToyDispatcher(), hooks=[measure])
    assert asked == [0, 0, loop._TROUBLE]  # it has told them


def test_rows_behind_the_last_step_do_not_count():
    """A dispatch returns as many rows as the longest one has."""
    loop.check_finite({"loss": jnp.array([1.0, 2.0, jnp.nan])}, 0, 2)
    with pytest.raises(DivergedError, match="at step 3:"):
        loop.check_finite({"loss": jnp.array([1.0, 2.0, jnp.nan])}, 0, 3)


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="a system without terminals")
def test_a_closed_terminal_is_a_reason_to_stop_but_not_under_nohup():
    old = signal.getsignal(signal.SIGHUP)
    try:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        with catch_stop_signals() as get_signal:
            assert get_signal() == 0
            os.kill(os.getpid(), signal.SIGHUP)
            assert get_signal() == signal.SIGHUP
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_DFL
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        with catch_stop_signals() as get_signal:
            os.kill(os.getpid(), signal.SIGHUP)
            assert get_signal() == 0
    finally:
        signal.signal(signal.SIGHUP, old)
