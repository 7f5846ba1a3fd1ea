"""How the parameters of a network follow their gradients."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import optax

from jaxgan.core.settings import check, check_choice
from jaxgan.devices.parallel import StepFn
from jaxgan.networks.schedules import (
    CONSTANT,
    Pace,
    ScheduleSettings,
    follow_schedule,
    scale_by_share,
)


@dataclass(frozen=True, kw_only=True)
class OptimizerSettings:
    """An optimizer and how its rate changes; see `OPTIMIZERS` for the names."""

    name: str
    learning_rate: float
    momentum: float
    schedule: ScheduleSettings = CONSTANT

    def __post_init__(self) -> None:
        check_choice("name", self.name, tuple(OPTIMIZERS))
        check("learning_rate", self.learning_rate, self.learning_rate > 0.0, "above 0")
        check("momentum", self.momentum, 0.0 <= self.momentum < 1.0, "0 to below 1")

    def create(self) -> optax.GradientTransformation:
        """Return the optimizer, the same object for equal settings."""
        return _create(self)

    def pace_step(self, step_fn: StepFn, pace: Pace) -> StepFn:
        """Return the step at the rate of each update; the step itself if the rate is constant."""
        return follow_schedule(step_fn, self.schedule, self.learning_rate, pace)

    def find_unused(self) -> Mapping[str, str]:
        """Return which fields have no effect with the others as they are, each with the reason."""
        unused = self.schedule.find_unused()
        if self.name == "sgd":
            return unused
        reason = "which has its own moments" if self.name == "adam" else "which has no momentum"
        return {"momentum": f"config.name is {self.name}, {reason}", **unused}


# The constants of the last three are those of Keras, as in the paper of the five schedules.
OPTIMIZERS: Mapping[str, Callable[[OptimizerSettings], optax.GradientTransformation]] = {
    "adam": lambda settings: optax.adam(settings.learning_rate),
    # Of the paper, section 4.2: without momentum. The rate is applied after the momentum. Keras
    # keeps the rates of earlier updates in its velocity: that differs if the rate changes.
    "sgd": lambda settings: optax.sgd(settings.learning_rate, momentum=settings.momentum or None),
    "adagrad": lambda settings: optax.adagrad(
        settings.learning_rate, initial_accumulator_value=0.1, eps=1e-7
    ),
    "adadelta": lambda settings: optax.adadelta(settings.learning_rate, rho=0.95, eps=1e-7),
    "rmsprop": lambda settings: optax.rmsprop(
        settings.learning_rate, decay=0.9, eps=1e-7, eps_in_sqrt=False
    ),
}


# One object for equal settings: a compiled program belongs to one optimizer object.
@functools.cache
def _create(settings: OptimizerSettings) -> optax.GradientTransformation:
    return add_schedule(OPTIMIZERS[settings.name](settings), settings.schedule)


def add_schedule(
    optimizer: optax.GradientTransformation, schedule: ScheduleSettings
) -> optax.GradientTransformation:
    """Return an optimizer with a rate that `follow_schedule` can change; itself if constant."""
    return optimizer if schedule.is_constant else optax.chain(optimizer, scale_by_share(schedule))
