"""How the parameters of a network follow their gradients."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import optax

from jaxgan.core.settings import check, check_choice


@dataclass(frozen=True, kw_only=True)
class OptimizerSettings:
    """An optimizer with a constant rate; see `OPTIMIZERS` for the names."""

    name: str
    learning_rate: float
    momentum: float

    def __post_init__(self) -> None:
        check_choice("name", self.name, tuple(OPTIMIZERS))
        check("learning_rate", self.learning_rate, self.learning_rate > 0.0, "above 0")
        check("momentum", self.momentum, 0.0 <= self.momentum < 1.0, "0 to below 1")

    def create(self) -> optax.GradientTransformation:
        """Return the optimizer, the same object for equal settings."""
        return _create(self)

    def find_unused(self) -> Mapping[str, str]:
        """Return which fields have no effect with the others as they are, each with the reason."""
        if self.name == "adam":
            return {"momentum": "config.name is adam, which has its own moments"}
        return {}


OPTIMIZERS: Mapping[str, Callable[[OptimizerSettings], optax.GradientTransformation]] = {
    "adam": lambda settings: optax.adam(settings.learning_rate),
    # Of the paper, section 4.2: without momentum.
    "sgd": lambda settings: optax.sgd(settings.learning_rate, momentum=settings.momentum or None),
}


# One object for equal settings: a compiled program belongs to one optimizer object.
@functools.cache
def _create(settings: OptimizerSettings) -> optax.GradientTransformation:
    return OPTIMIZERS[settings.name](settings)
