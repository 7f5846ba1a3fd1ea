"""The interface of a GAN to the rest of the code: one value, created once per run.

A family (`jaxgan.gans.families`) is one file. It holds its networks, its settings, its state (if it
does not use `two_player.GanState`), its step, and `create`, which returns a `Gan`. No other code
depends on the family of a run.
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
    """The inputs of a generator in addition to its latents; None: it takes none.

    `labels` int32 [batch] are for a class-conditional generator.
    """

    labels: Array | None = None


class Networks(NamedTuple):
    """The parts of a state that are needed after training.

    `generator` has the variables to sample from (the moving average if there is one). `critic` has
    the variables of the network that gives scores. Both are trees of arrays.
    """

    generator: Any
    critic: Any


@dataclass(frozen=True)
class Stage(Generic[State]):
    """A part of a run with its own training step.

    `create_step` takes the name of the mapped axis (None: one device) and the number of the stage's
    first step. `begin` turns the final state of the previous stage into the first state of this
    stage, with the same structure, shapes and dtypes.
    """

    name: str
    num_epochs: int
    create_step: Callable[[str | None, int], StepFn]
    begin: Callable[[State], State] = lambda state: state

    def start_at(self, first_step: int) -> Callable[[str | None], StepFn]:
        """Return the function that creates the step for a mapped axis, given its first step."""
        return lambda axis_name: self.create_step(axis_name, first_step)


@dataclass(frozen=True)
class Augmentation(Generic[State]):
    """The changes to images before D sees them.

    `changes` names them. `apply` takes a state, images float [batch, h, w, c] in [-1, 1] and keys
    [batch], one for each image; it returns images of the same shape, which may leave that range.
    `get_strength` takes a state and returns the probability of each change, 0 to 1.
    """

    changes: tuple[str, ...]
    apply: Callable[[State, Array, Key], Array]
    get_strength: Callable[[State], float]


@dataclass(frozen=True)
class Gan(Generic[State]):
    """A GAN: how it begins, how it learns, and how to get images and scores from it.

    `create_state` takes a key. It is not traced: it may draw parameters one by one.

    A training step takes a state, a `Batch` and a key. The batch has `images` uint8 [batch, h, w,
    c] and `labels` int32 [batch]. The step returns the new state, and metrics by name: means over
    the whole batch, float []. `draw_latents` maps a key and seeds
    uint32 [batch] to any tree with one row per seed; each row depends only on its own seed.
    `draw_truncated` does the same, and takes a truncation above 0 and below 1: the smaller it is,
    the nearer latents are to the middle of their distribution. If it is None, truncation does not
    apply to the latents of the family.

    `generate` is the generator: it maps its variables, latents and `Given` to images float
    [batch, h, w, c] in [-1, 1] of the final size. `score` is the critic: it maps its variables,
    images float [batch, h, w, c] in [-1, 1] and `Given` to float [batch]. A higher score is more
    real. Each score depends only on its image. `score_batch` does the same with the statistics of
    the batch, as in the paper's listing. `to_probability` turns scores [batch] of `score` into the
    probability that an image is real, 0 to 1. If it is None, no rule may compare with a
    probability. `meaning` says how to read a score.
    """

    create_state: Callable[[Key], State]
    stages: tuple[Stage[State], ...]
    get_networks: Callable[[State], Networks]
    draw_latents: Callable[[Key, Array], Any]
    generate: Callable[[Any, Any, Given], Array]
    score: Callable[[Any, Array, Given], Array]
    score_batch: Callable[[Any, Array, Given], Array]
    to_probability: Callable[[Array], Array] | None = None
    draw_truncated: Callable[[Key, Array, float], Any] | None = None
    meaning: str = "higher means more real"
    augmentation: Augmentation[State] | None = None

    def __post_init__(self) -> None:
        if self.borders and self.stages[-1].num_epochs < 1:
            first = self.borders[-1]
            raise UserError(
                f"The GAN is given {first + self.stages[-1].num_epochs} epochs, expected more than "
                f"{first}: the stages before the last one, {self.stages[-1].name!r}, take {first}."
            )

    @property
    def borders(self) -> tuple[int, ...]:
        """The last epoch of every stage except the last stage."""
        return tuple(itertools.accumulate(stage.num_epochs for stage in self.stages))[:-1]


@dataclass(frozen=True, kw_only=True)
class FamilySettings:
    """The settings of every family; a family adds `family: Literal["its name"]` and its own.

    `image_size` is the side of the square images in pixels, `channels` is 1 or 3. `num_classes` is
    for a class-conditional model (0: only one class; most families support only this).
    """

    takes_classes: ClassVar[bool] = False

    image_size: int
    channels: int
    num_classes: int = 0

    def create(self, num_epochs: int) -> Gan[Any]:
        """Return the GAN; the lengths of its stages add up to `num_epochs`.

        Only the length of the last stage depends on `num_epochs`, so that a run can get more
        epochs.
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

    def describe_weights(self) -> Mapping[str, Any]:
        """Return which published weights a run reads, for its record: file and sha256."""
        return {}

    def describe_job(self) -> Mapping[str, str]:
        """Return additions to a job's record, to distinguish it from jobs of earlier versions."""
        return {}


def describe_shapes(gan: Gan[State]) -> State:
    """Return the shapes and dtypes of a state, without drawing or compiling."""
    return jax.eval_shape(gan.create_state, jax.random.key(0))
