"""How the learning rate changes while a network learns: a function of the number of updates.

The five schedules that Smaida et al. 2021 compare (IJITEE 10(4)) are constant, time-based, step,
exponential and adaptive. The first four are here, with the cosine with a warm-up and the reduction
on a plateau. The fifth is a choice of optimizer (`jaxgan.networks.optimizers`).

The state of an optimizer holds the *share* of the initial rate that the next update takes.
`follow_schedule` sets it before every step. So no step of any network knows of a schedule, and a
part of a network with a lower rate of its own keeps its proportion.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxgan.core.settings import check, check_choice
from jaxgan.core.types import Array, Batch, Key, Metrics
from jaxgan.devices.parallel import StepFn

RATE = "learning_rate"  # of a line of metrics
_LEAST_GAIN = 1e-4  # of the loss: a smaller one does not count as an improvement


@dataclass(frozen=True)
class Pace:
    """How long a training is: its updates, and the numbers of updates that complete each epoch.

    The last epoch may end after the last update.
    """

    epoch_ends: tuple[int, ...]
    num_steps: int

    def compute_epoch(self, step: Array | int) -> Array:
        """Return how many epochs are complete after `step` updates, exactly."""
        return jnp.searchsorted(np.array(self.epoch_ends, np.int32), step, side="right")


@dataclass(frozen=True, kw_only=True)
class ScheduleSettings:
    """How a rate changes over the updates: see configs/gmd.py for what each field means."""

    name: str = "constant"
    decay: float = 0.0
    final_share: float = 0.01
    factor: float = 0.5
    every_epochs: int = 10
    patience_epochs: int = 5
    warmup_epochs: int = 0

    def __post_init__(self) -> None:
        check_choice("name", self.name, SCHEDULES)
        check("decay", self.decay, self.decay >= 0.0, "0 (by the length of the run) or more")
        check("final_share", self.final_share, 0.0 <= self.final_share < 1.0, "0 to below 1")
        good = self.final_share > 0.0 or self.name != "exponential" or self.decay > 0.0
        check("final_share", self.final_share, good, "above 0 where name is exponential")
        check("factor", self.factor, 0.0 < self.factor < 1.0, "between 0 and 1")
        for name in ("every_epochs", "patience_epochs"):
            check(name, getattr(self, name), getattr(self, name) >= 1, "1 or more")
        check("warmup_epochs", self.warmup_epochs, self.warmup_epochs >= 0, "0 or more")

    @property
    def is_constant(self) -> bool:
        """Whether the rate never changes."""
        return self.name == "constant"

    def check_length(self, num_epochs: int, group: str) -> None:
        """Raise `UserError` if a run is too short; `group` is the name of the fields' group."""
        if self.name == "cosine":
            name, expected = f"{group}.warmup_epochs", f"fewer than the run has, {num_epochs}"
            check(name, self.warmup_epochs, self.warmup_epochs < num_epochs, expected)

    def find_unused(self) -> Mapping[str, str]:
        """Return which fields have no effect with the others as they are, each with the reason.

        The names begin with `schedule`, the group's name in the settings around it.
        """
        reason, used = f"config.schedule.name is {self.name}", _FIELDS[self.name]
        unused = {f"schedule.{name}": reason for name in _NUMBERS if name not in used}
        if self.name == "exponential" and self.decay > 0.0:
            unused["schedule.final_share"] = "config.schedule.decay says how fast the rate falls"
        return unused


_FIELDS: Mapping[str, tuple[str, ...]] = {
    "constant": (),
    "time": ("decay",),
    "step": ("factor", "every_epochs"),
    "exponential": ("decay", "final_share"),
    "cosine": ("final_share", "warmup_epochs"),
    "plateau": ("factor", "patience_epochs", "final_share"),
}
_NUMBERS = tuple(dict.fromkeys(name for names in _FIELDS.values() for name in names))
SCHEDULES = tuple(_FIELDS)

CONSTANT = ScheduleSettings()

ShareFn = Callable[[ScheduleSettings, float, Pace, Any], Array]


def compute_share(
    schedule: ScheduleSettings, learning_rate: float, pace: Pace, step: Array | int
) -> Array:
    """Return the share of the initial `learning_rate` that update `step`, from 0, takes.

    Not for a plateau, which depends on the loss.
    """
    return jnp.float32(_SHARES[schedule.name](schedule, learning_rate, pace, step))


def _share_of_time(
    schedule: ScheduleSettings, learning_rate: float, pace: Pace, step: Array
) -> Array:
    """1 / (1 + decay t) of update t: Keras' decay, by default the initial rate over the epochs.

    With a small rate the default hardly changes it: the usual tutorial begins with 0.1.
    """
    decay = schedule.decay or learning_rate / len(pace.epoch_ends)
    return 1.0 / (1.0 + decay * jnp.float32(step))


def _share_of_step(schedule: ScheduleSettings, _: float, pace: Pace, step: Array) -> Array:
    """factor^floor((1 + e) / every) in epoch e from 0: it first falls in the `every`-th epoch."""
    num_drops = (1 + pace.compute_epoch(step)) // schedule.every_epochs
    return jnp.power(schedule.factor, jnp.float32(num_drops))


def _share_of_exponential(schedule: ScheduleSettings, _: float, pace: Pace, step: Array) -> Array:
    """exp(-decay e) in epoch e from 0."""
    decay = schedule.decay or -math.log(schedule.final_share) / len(pace.epoch_ends)
    return jnp.exp(-decay * pace.compute_epoch(step))


def _share_of_cosine(schedule: ScheduleSettings, _: float, pace: Pace, step: Array) -> Array:
    """A straight rise over the warm-up, then half a cosine down to the final share."""
    num_warm = pace.epoch_ends[schedule.warmup_epochs - 1] if schedule.warmup_epochs else 0
    rising = (step + 1) / max(num_warm, 1)
    done = (step - num_warm) / (pace.num_steps - num_warm)
    falling = 0.5 * (1.0 + jnp.cos(jnp.pi * done))
    falling = schedule.final_share + (1.0 - schedule.final_share) * falling
    return jnp.where(step < num_warm, rising, falling)


_SHARES: Mapping[str, ShareFn] = {
    "constant": lambda schedule, learning_rate, pace, step: jnp.float32(1.0),
    "time": _share_of_time,
    "step": _share_of_step,
    "exponential": _share_of_exponential,
    "cosine": _share_of_cosine,
}


# Within the state of an optimizer -----------------------------------------------------------------


class ShareState(NamedTuple):
    """The share of the initial rate that the next update takes."""

    share: Array


class PlateauState(NamedTuple):
    """The share, and the numbers that show a plateau.

    `best` is the lowest mean loss of an epoch, `num_waited` the epochs since the last improvement.
    `total` and `num_updates` are of the current epoch. All are finite: checkpoints require it.
    """

    share: Array
    best: Array
    num_waited: Array
    total: Array
    num_updates: Array


def scale_by_share(schedule: ScheduleSettings) -> optax.GradientTransformation:
    """Return a scaling of updates by the share in its state, 1 until `follow_schedule` sets it."""

    def init(params: Any) -> ShareState | PlateauState:
        del params
        share, zero = jnp.ones((), jnp.float32), jnp.zeros((), jnp.float32)
        if schedule.name != "plateau":
            return ShareState(share)
        return PlateauState(
            share, jnp.float32(np.finfo(np.float32).max), jnp.int32(0), zero, jnp.int32(0)
        )

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        del params
        return jax.tree.map(lambda u: u * state.share.astype(u.dtype), updates), state

    return optax.GradientTransformation(init, update)


def follow_schedule(
    step_fn: StepFn, schedule: ScheduleSettings, learning_rate: float, pace: Pace
) -> StepFn:
    """Return the step at the rate of each update; its metrics get that rate as `learning_rate`.

    The state of `step_fn` has `step`, and optimizers that end with `scale_by_share`. The initial
    rate is `learning_rate`. For a plateau, `step_fn` must have the metric `loss`. If the rate is
    constant, the step itself is returned.
    """
    if schedule.is_constant:
        return step_fn
    if schedule.name == "plateau":
        return _follow_plateau(step_fn, schedule, learning_rate, pace)

    def step(state: Any, batch: Batch, key: Key) -> tuple[Any, Metrics]:
        share = compute_share(schedule, learning_rate, pace, state.step)
        state = _map_shares(lambda found: found._replace(share=share), state)
        state, metrics = step_fn(state, batch, key)
        return state, {**metrics, RATE: learning_rate * share}

    return step


def _follow_plateau(
    step_fn: StepFn, schedule: ScheduleSettings, learning_rate: float, pace: Pace
) -> StepFn:
    def step(state: Any, batch: Batch, key: Key) -> tuple[Any, Metrics]:
        share = _list_shares(state)[0].share
        is_end = pace.compute_epoch(state.step + 1) > pace.compute_epoch(state.step)
        state, metrics = step_fn(state, batch, key)

        def note(found: PlateauState) -> PlateauState:
            return note_loss(schedule, found, metrics["loss"], is_end)

        return _map_shares(note, state), {**metrics, RATE: learning_rate * share}

    return step


def note_loss(
    schedule: ScheduleSettings, state: PlateauState, loss: Array, is_end: Array
) -> PlateauState:
    """Add the loss of an update; if it ends an epoch, lower the rate on a plateau.

    A plateau is `patience_epochs` epochs in a row without an improvement. The mean loss of an epoch
    is an improvement if it is below the best one by a share of more than 1e-4. The rate never falls
    below `final_share` of the initial one.
    """
    total, num_updates = state.total + jnp.float32(loss), state.num_updates + 1
    mean = total / num_updates
    is_better = mean < state.best * (1.0 - _LEAST_GAIN)
    num_waited = jnp.where(is_better, 0, state.num_waited + 1)
    is_over = num_waited >= schedule.patience_epochs
    lowered = jnp.maximum(state.share * schedule.factor, schedule.final_share)
    ended = PlateauState(
        jnp.where(is_over, lowered, state.share),
        jnp.where(is_better, mean, state.best),
        jnp.where(is_over, 0, num_waited),
        jnp.zeros_like(total),
        jnp.zeros_like(num_updates),
    )
    going_on = state._replace(total=total, num_updates=num_updates)
    return jax.tree.map(lambda new, old: jnp.where(is_end, new, old), ended, going_on)


def _is_share(node: Any) -> bool:
    return isinstance(node, ShareState | PlateauState)


def _map_shares(change: Callable[[Any], Any], tree: Any) -> Any:
    """Return a training's state with every optimizer's share changed, however deep it lies."""
    return jax.tree.map(
        lambda node: change(node) if _is_share(node) else node, tree, is_leaf=_is_share
    )


def _list_shares(tree: Any) -> list[Any]:
    return [node for node in jax.tree.leaves(tree, is_leaf=_is_share) if _is_share(node)]
