"""Rates over updates: tables by hand, plateaus, how a step follows them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxgan.classifiers.step import ClassifierState, train_step
from jaxgan.core.errors import UserError
from jaxgan.networks.optimizers import OPTIMIZERS, OptimizerSettings
from jaxgan.networks.schedules import (
    SCHEDULES,
    Pace,
    PlateauState,
    ScheduleSettings,
    compute_share,
    note_loss,
    scale_by_share,
)
from jaxgan.training.epochs import EpochPlan
from tests.helpers import make_dcgan_settings, make_gmd_settings


def create_pace(num_epochs, num_examples=10, batch_size=10):
    """By default of one update an epoch."""
    plan = EpochPlan(num_examples, batch_size, num_epochs, 50)
    return Pace(plan.list_ends(), plan.num_steps)


def compute_rates(rate, steps, pace, **fields):
    schedule = ScheduleSettings(**fields)
    share = jax.jit(lambda step: compute_share(schedule, rate, pace, step))
    return [rate * float(share(step)) for step in steps]


# By hand, of one update an epoch: the rate in the epochs on the left.
TABLES = {
    "constant": ({}, 1e-3, {0: 1e-3, 199: 1e-3}),
    "step": ({}, 0.1, {0: 0.1, 8: 0.1, 9: 0.05, 18: 0.05, 19: 0.025, 28: 0.025, 29: 0.0125}),
    "exponential": ({"decay": 0.1}, 0.1, {0: 0.1, 1: 0.090484, 10: 0.036788, 50: 0.000674}),
    # The decay of the tutorial, 0.1 / 60, in the update that ends 60 epochs of 782.
    "time": ({"decay": 0.1 / 60}, 0.1, {0: 0.1, 60: 0.0909, 60 * 782: 0.00126}),
    "cosine": ({"final_share": 0.0}, 0.1, {0: 0.1, 50: 0.0853553, 100: 0.05, 150: 0.0146447}),
}


@pytest.mark.parametrize("name", TABLES)
def test_the_rates_are_those_by_hand(name):
    fields, rate, table = TABLES[name]
    rates = compute_rates(rate, table, create_pace(200), name=name, **fields)
    np.testing.assert_allclose(rates, [*table.values()], rtol=3e-3 if name == "time" else 1e-3)


def test_the_speed_follows_the_length_where_none_is_given():
    """An exponential one ends at the final share; time-based decay at 0.001 does nothing."""
    rates = compute_rates(1.0, [0, 100, 200], create_pace(200), name="exponential")
    np.testing.assert_allclose(rates, [1.0, 0.1, 0.01], rtol=1e-5)
    rates = compute_rates(1e-3, [0, 2800], create_pace(200, 427, 32), name="time")
    np.testing.assert_allclose(rates, [1e-3, 0.000986], rtol=1e-3)


def test_a_cosine_rises_in_a_straight_line_first():
    fields = {"name": "cosine", "warmup_epochs": 4, "final_share": 0.1}
    rates = compute_rates(1.0, [0, 1, 3, 4, 7, 10], create_pace(10), **fields)
    np.testing.assert_allclose(rates, [0.25, 0.5, 1.0, 1.0, 0.55, 0.1], rtol=1e-6)


def test_an_epoch_is_that_of_the_plan_where_batches_reach_over_its_end():
    """14 updates an epoch but for every third: 427 images in batches of 32."""
    fields = {"name": "step", "every_epochs": 2, "factor": 0.1}
    rates = compute_rates(1.0, [0, 13, 14, 26, 27], create_pace(5, 427, 32), **fields)
    np.testing.assert_allclose(rates, [1.0, 1.0, 0.1, 0.1, 0.1], rtol=1e-5)
    rates = compute_rates(1.0, [39, 40, 41], create_pace(5, 427, 32), **fields)
    np.testing.assert_allclose(rates, [0.1, 0.1, 0.01], rtol=1e-5)


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 9), st.data())
def test_the_pace_counts_epochs_as_the_plan_does(num_examples, batch_size, num_epochs, data):
    plan = EpochPlan(num_examples, batch_size, num_epochs, 50)
    pace = Pace(plan.list_ends(), plan.num_steps)
    step = data.draw(st.integers(0, plan.num_steps))
    assert int(pace.compute_epoch(step)) == plan.compute_epoch(step)


# Plateaus ----------------------------------------------------------------------------------------


def follow_losses(losses, updates_each=2, **fields):
    """The share after each epoch of these mean losses."""
    schedule = ScheduleSettings(name="plateau", **fields)
    state, shares = scale_by_share(schedule).init({}), []
    assert isinstance(state, PlateauState)
    for loss in losses:
        for number in range(updates_each):
            away = 0.5 if number % 2 else -0.5  # the mean of an epoch counts
            is_end = jnp.bool_(number == updates_each - 1)
            state = note_loss(schedule, state, jnp.float32(loss + away), is_end)
        shares.append(float(state.share))
    return shares


def test_a_plateau_lowers_the_rate_after_its_patience():
    losses = [3.0, 2.0, 2.0, 2.1, 1.0, 1.0, 1.0, 1.0, 1.0]
    shares = follow_losses(losses, factor=0.5, patience_epochs=2)
    assert shares == [1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.25, 0.25, 0.125]


def test_a_plateau_stops_at_the_final_share_and_a_tiny_gain_is_none():
    losses = [1.0 - 1e-6 * epoch for epoch in range(9)]
    shares = follow_losses(losses, factor=0.1, patience_epochs=2, final_share=0.05)
    assert shares[2] == pytest.approx(0.1) and shares[-1] == pytest.approx(0.05)
    assert follow_losses([2.0, 1.0, 0.9, 0.8], patience_epochs=1) == [1.0] * 4


# Within a training -------------------------------------------------------------------------------


def take_steps(settings, num_steps, pace):
    """The moves of a parameter whose gradient is 1, and the rates that are noted."""
    optimizer = settings.create()

    def plain(state, batch, key):
        del batch, key
        updates, opt_state = optimizer.update({"w": jnp.ones(())}, state.opt_state, {"w": 0.0})
        new = state.replace(opt_state=opt_state, step=state.step + 1)
        return new, {"loss": jnp.float32(1.0), "move": updates["w"]}

    step = settings.pace_step(plain, pace)
    state, rows = create_tiny_state(optimizer), []
    for _ in range(num_steps):
        state, metrics = step(state, None, None)
        rows.append(metrics)
    return [float(row["move"]) for row in rows], [float(row["learning_rate"]) for row in rows]


def create_tiny_state(optimizer):
    params = {"w": jnp.zeros(())}
    return ClassifierState(params, {}, optimizer.init(params), step=jnp.int32(0))


def test_an_update_is_scaled_by_the_rate_of_its_own_number():
    schedule = ScheduleSettings(name="step", every_epochs=2)
    settings = OptimizerSettings(name="sgd", learning_rate=0.1, momentum=0.0, schedule=schedule)
    moves, rates = take_steps(settings, 4, create_pace(4))
    np.testing.assert_allclose(rates, [0.1, 0.05, 0.05, 0.025], rtol=1e-6)
    np.testing.assert_allclose(moves, -np.array(rates), rtol=1e-6)


def test_the_rate_is_applied_behind_the_momentum():
    """The velocity has gradients alone: Keras keeps the rates of earlier updates in it."""
    schedule = ScheduleSettings(name="step", every_epochs=1, factor=0.1)
    settings = OptimizerSettings(name="sgd", learning_rate=1.0, momentum=0.5, schedule=schedule)
    moves, _ = take_steps(settings, 3, create_pace(9))
    np.testing.assert_allclose(moves, [-0.1, -0.01 * 1.5, -0.001 * 1.75], rtol=1e-5)


def test_a_plateau_is_known_by_the_loss_of_the_steps():
    schedule = ScheduleSettings(name="plateau", patience_epochs=2)
    settings = OptimizerSettings(name="sgd", learning_rate=0.1, momentum=0.0, schedule=schedule)
    moves, rates = take_steps(settings, 6, create_pace(6))
    np.testing.assert_allclose(rates, [0.1, 0.1, 0.1, 0.05, 0.05, 0.025], rtol=1e-6)
    np.testing.assert_allclose(moves, -np.array(rates), rtol=1e-6)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_share_of_1_is_the_optimizer_itself(name):
    rule = {"name": name, "learning_rate": 0.1, "momentum": 0.0}
    # Never lowered within these updates.
    schedule = ScheduleSettings(name="step", every_epochs=99)
    varied = OptimizerSettings(**rule, schedule=schedule)
    moves, _ = take_steps(varied, 3, create_pace(3))
    optimizer, params = OptimizerSettings(**rule).create(), {"w": jnp.zeros(())}
    state, expected = optimizer.init(params), []
    for _ in range(3):
        updates, state = optimizer.update({"w": jnp.ones(())}, state, params)
        expected.append(float(updates["w"]))
    assert moves == expected


def test_a_constant_rate_changes_neither_step_nor_state():
    settings = OptimizerSettings(name="adam", learning_rate=1e-3, momentum=0.0)
    assert settings.pace_step(train_step, create_pace(3)) is train_step
    states = [made.init({"w": jnp.zeros(2)}) for made in (settings.create(), optax.adam(1e-3))]
    assert jax.tree.structure(states[0]) == jax.tree.structure(states[1])


# What may be told --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"name": "linear"}, "config.name is 'linear', expected one of constant, time, step"),
        ({"factor": 1.0}, "config.factor is 1.0, expected between 0 and 1"),
        ({"name": "exponential", "final_share": 0.0}, "final_share is 0.0, expected above 0 where"),
        ({"every_epochs": 0}, "config.every_epochs is 0, expected 1 or more"),
        ({"decay": -1.0}, "config.decay is -1.0, expected 0"),
        ({"warmup_epochs": -1}, "config.warmup_epochs is -1, expected 0 or more"),
    ],
)
def test_a_wrong_field_is_named(fields, sentence):
    with pytest.raises(UserError, match=sentence):
        ScheduleSettings(**fields)


def test_a_warm_up_as_long_as_the_run_is_refused():
    schedule = {"name": "cosine", "warmup_epochs": 2}
    sentence = "config.optimizer.schedule.warmup_epochs is 2, expected fewer than the run has, 2"
    with pytest.raises(UserError, match=sentence):
        make_gmd_settings(schedule=schedule)
    gan = make_dcgan_settings(schedule=schedule, num_epochs=2, selection={"rule": "none"})
    with pytest.raises(UserError, match=r"config.gan.schedule.warmup_epochs is 2, expected fewer"):
        gan.create_gan()


def test_a_plateau_of_two_players_is_refused():
    with pytest.raises(UserError, match=r"config.*schedule.name is 'plateau': the losses of two"):
        make_dcgan_settings(schedule={"name": "plateau"})


@pytest.mark.parametrize("name", SCHEDULES)
def test_fields_without_effect_are_told_and_the_others_change_the_rates(name):
    """Each field that is not told changes the rate of some update, or the state on a plateau."""
    values = {
        **{"decay": 0.3, "final_share": 0.5, "factor": 0.9},
        **{"every_epochs": 3, "patience_epochs": 1, "warmup_epochs": 2},
    }
    unused = ScheduleSettings(name=name).find_unused()
    assert set(unused.values()) <= {f"config.schedule.name is {name}"}
    losses = [1.0] * 12
    for field, value in values.items():
        given = {field: value}
        if name == "plateau":
            found, usual = (follow_losses(losses, **extra) for extra in (given, {}))
            if field == "final_share":
                found, usual = (follow_losses(losses, factor=0.1, **extra) for extra in (given, {}))
        else:
            pace = create_pace(12)
            found, usual = (
                compute_rates(1.0, range(12), pace, name=name, **extra) for extra in (given, {})
            )
        assert (found == usual) == (f"schedule.{field}" in unused), field


def test_a_given_decay_leaves_no_use_for_the_final_share():
    schedule = ScheduleSettings(name="exponential", decay=0.1)
    reason = "config.schedule.decay says how fast the rate falls"
    assert schedule.find_unused()["schedule.final_share"] == reason
    optimizer = OptimizerSettings(name="adam", learning_rate=1, momentum=0, schedule=schedule)
    assert optimizer.find_unused()["schedule.final_share"] == reason
