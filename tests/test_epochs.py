"""Steps, epochs and cadences."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxgan.training.epochs import EpochPlan

schedules = st.builds(
    EpochPlan,
    num_examples=st.integers(1, 300),
    batch_size=st.integers(1, 200),
    num_epochs=st.integers(1, 30),
    max_steps=st.integers(1, 50),
    epochs_per_dispatch=st.integers(1, 7),
    borders=st.lists(st.integers(1, 30), max_size=3).map(lambda epochs: tuple(sorted(epochs))),
)


def walk(plan, step=0):
    steps = [step]
    while steps[-1] < plan.num_steps:
        steps.append(plan.compute_next(steps[-1]))
    return steps


@given(schedules)
def test_dispatches_cover_the_run_and_fit(plan):
    steps = walk(plan)
    assert steps[-1] == plan.num_steps
    for begin, end in itertools.pairwise(steps):
        assert 0 < end - begin <= plan.max_steps


@given(schedules, st.data())
def test_a_resumed_run_makes_the_same_dispatches(plan, data):
    steps = walk(plan)
    middle = data.draw(st.sampled_from(steps))
    assert walk(plan, middle) == steps[steps.index(middle) :]


@given(schedules)
def test_no_dispatch_reaches_over_a_border(plan):
    steps = walk(plan)
    for epoch in plan.borders:
        assert plan.compute_end_of_epoch(epoch) in steps or epoch > plan.num_epochs


@given(schedules)
def test_every_image_is_seen_once_an_epoch(plan):
    for epoch in range(plan.num_epochs + 1):
        seen = plan.compute_end_of_epoch(epoch) * plan.batch_size
        assert 0 <= seen - epoch * plan.num_examples < plan.batch_size
        assert plan.compute_epoch(plan.compute_end_of_epoch(epoch)) >= epoch


@given(schedules, st.integers(1, 10))
def test_what_is_due_every_so_many_epochs_is_due_that_often(plan, every):
    steps = walk(plan)
    due = [end for begin, end in itertools.pairwise(steps) if plan.is_due(every, begin, end)]
    assert due[-1] == plan.num_steps
    reached = {plan.compute_epoch(end) // every for _, end in itertools.pairwise(steps)} - {0}
    last_is_extra = plan.compute_epoch(steps[-1]) // every == (
        plan.compute_epoch(steps[-2]) // every
    )
    assert len(due) == len(reached) + last_is_extra


def test_a_batch_larger_than_the_class_reaches_over_epochs():
    plan = EpochPlan(num_examples=104, batch_size=128, num_epochs=4000, max_steps=50)
    assert plan.num_steps == 3250
    assert plan.compute_epoch(1) == 1
    assert plan.compute_epoch(5) == 6


def test_cadence_zero_is_never():
    plan = EpochPlan(10, 5, 2, 4)
    assert not plan.is_due(0, 0, plan.num_steps)


@pytest.mark.parametrize(
    ("max_steps", "expected"), [(50, [0, 4, 7, 10]), (2, [0, 2, 4, 6, 7, 9, 10])]
)
def test_long_epochs_are_cut(max_steps, expected):
    assert walk(EpochPlan(104, 32, 3, max_steps)) == expected


def test_a_border_ends_a_dispatch_of_several_epochs_and_the_next_end_stays_where_it_was():
    without = EpochPlan(16, 8, 6, 50, epochs_per_dispatch=4)
    assert walk(without) == [0, 8, 12]
    assert walk(EpochPlan(16, 8, 6, 50, epochs_per_dispatch=4, borders=(1, 5))) == [0, 2, 8, 10, 12]
