"""What a GAN is to the rest of the house: one value, made once a run and passed on.

A family (`jaxgan.gans.families`) is one file: its networks, its settings, its state where
`two_player.GanState` does not do, its step, and `create`, which returns a `Gan`. Nothing else knows
which family a run is of.
"""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

import jax

from jaxgan.core.errors import UserError
from jaxgan.core.types import Array, Key
from jaxgan.devices.parallel import StepFn
from jaxgan.networks.schedules import Pace

State = TypeVar("State")


class Given(NamedTuple):
    """What a generator is given beside its latents; None: it takes none.

    `labels` int32 [batch] are of a class-conditional generator.
    """

    labels: Array | None = None


class Networks(NamedTuple):
    """What of a state is needed after training.

    `generator` has the variables to sample from (the moving average where one is kept), `critic`
    those of whatever gives scores; both are trees of arrays.
    """

    generator: Any
    critic: Any


@dataclass(frozen=True)
class Stage(Generic[State]):
    """A part of a run with a step of its own.

    `create_step` takes the name of the mapped axis (None: one device) and the number of the stage's
    first step. `begin` turns the state with which the stage before has ended into the one that this
    stage begins with: of the same structure, shapes and dtypes.
    """

    name: str
    num_epochs: int
    create_step: Callable[[str | None, int], StepFn]
    begin: Callable[[State], State] = lambda state: state

    def start_at(self, first_step: int) -> Callable[[str | None], StepFn]:
        """Return what makes the step for a mapped axis, where the stage has this first step."""
        return lambda axis_name: self.create_step(axis_name, first_step)


@dataclass(frozen=True)
class Augmentation(Generic[State]):
    """What is done to images before D sees them.

    `apply` takes a state, images [batch, h, w, c] in [-1, 1] and a key an image; `describe` says
    which changes it makes, and how often; `changes` names them.
    """

    changes: tuple[str, ...]
    apply: Callable[[State, Array, Key], Array]
    get_strength: Callable[[State], float]


@dataclass(frozen=True)
class Gan(Generic[State]):
    """A GAN: how it begins, how it learns, how images and scores come out of it.

    `create_state` is not traced: it may draw parameters one by one. `draw_latents` maps a key and
    seeds uint32 [batch] to any tree with one row a seed, each of its own seed alone. `generate`
    maps the generator's variables and latents to images [batch, h, w, c] in [-1, 1] of the final
    size. `score` maps the critic's variables and images to [batch], higher for more real, each of
    its image alone; `score_batch` does so by the statistics of the whole batch, as the paper's
    listing does. `to_probability` turns a score of `score` into the chance of being real; None
    where there is none, and then no rule that compares with a probability is allowed.
    `meaning` says how a score is to be read.
    """

    create_state: Callable[[Key], State]
    stages: tuple[Stage[State], ...]
    get_networks: Callable[[State], Networks]
    draw_latents: Callable[[Key, Array], Any]
    generate: Callable[[Any, Any, Given], Array]
    score: Callable[[Any, Array, Given], Array]
    score_batch: Callable[[Any, Array, Given], Array]
    to_probability: Callable[[Array], Array] | None = None
    meaning: str = "higher means more real"
    augmentation: Augmentation[State] | None = None

    def __post_init__(self) -> None:
        if self.borders and self.stages[-1].num_epochs < 1:
            first = self.borders[-1]
            raise UserError(
                f"The GAN is given {first + self.stages[-1].num_epochs} epochs, expected more than "
                f"{first}: its stages before the last one, {self.stages[-1].name!r}, take so many."
            )

    @property
    def borders(self) -> tuple[int, ...]:
        """The epochs with which all stages but the last end."""
        return tuple(itertools.accumulate(stage.num_epochs for stage in self.stages))[:-1]


@dataclass(frozen=True, kw_only=True)
class FamilySettings:
    """What every family's settings have; a family adds `family: Literal["its name"]` and its own.

    `image_size` is the side of the square images, `channels` 1 or 3, `num_classes` those of a
    class-conditional model (0: of one class alone, all that most families know).
    """

    takes_classes: ClassVar[bool] = False

    image_size: int
    channels: int
    num_classes: int = 0

    def create(self, num_epochs: int) -> Gan[Any]:
        """Return the GAN; the lengths of its stages add up to `num_epochs`.

        Of several stages all but the last are as long whatever `num_epochs` is, so that a run may
        be given more of them.
        """
        raise NotImplementedError

    @property
    def has_schedule(self) -> bool:
        """Whether the learning rate changes while the GAN learns."""
        return False

    def pace_step(self, step_fn: StepFn, pace: Pace) -> StepFn:
        """Return a stage's step at the rate of each update; itself where the rate is constant."""
        del pace
        return step_fn

    def find_unused(self) -> Mapping[str, str]:
        """Return which fields have no effect with the others as they are, each with the reason."""
        return {}

    def describe_job(self) -> Mapping[str, str]:
        """Return what a job's record has beside these fields, to tell it from jobs of before."""
        return {}


def describe_shapes(gan: Gan[State]) -> State:
    """Return the shapes and dtypes of a state: nothing is drawn, and nothing compiled."""
    return jax.eval_shape(gan.create_state, jax.random.key(0))
