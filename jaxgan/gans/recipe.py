"""How two players learn: settings that families share, and the GAN of two networks with them.

A family that differs from DCGAN only in its networks uses `RecipeSettings` and `create_gan`.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from jaxgan.core.errors import UserError
from jaxgan.core.settings import check, check_choice
from jaxgan.core.types import Array, Key, Params
from jaxgan.devices.parallel import StepFn
from jaxgan.gans import objectives, penalties, two_player
from jaxgan.gans.protocol import Augmentation, FamilySettings, Gan, Given, Networks, Stage
from jaxgan.gans.two_player import GanState
from jaxgan.networks.layers import DTYPES
from jaxgan.networks.optimizers import add_schedule
from jaxgan.networks.schedules import CONSTANT, Pace, ScheduleSettings, follow_schedule
from jaxgan.ops.augment import PARTS, diffaugment

Players = Callable[[str | None], tuple[nn.Module, nn.Module]]


@dataclass(frozen=True, kw_only=True)
class RecipeSettings(FamilySettings):
    """Losses, learning rates and augmentation of G and D: see configs/dcgan.py for each field."""

    dtype: str
    latent_size: int
    objective: str
    label_smoothing: float
    num_critic_steps: int
    clip_weights: float
    gradient_penalty_weight: float
    r1_weight: float
    learning_rate: float
    beta1: float
    beta2: float
    diffaugment: bool
    augment_policy: tuple[str, ...]
    augment_target: float
    augment_ramp_images: int
    ema_decay: float
    schedule: ScheduleSettings = CONSTANT  # of G and of D
    r2_weight: float = 0.0
    lecam_weight: float = 0.0

    def __post_init__(self) -> None:
        check_choice("dtype", self.dtype, tuple(DTYPES))
        check_choice("channels", self.channels, (1, 3))
        check("latent_size", self.latent_size, self.latent_size >= 1, "1 or more")
        self._check_objective()
        self._check_augmentation()
        check("learning_rate", self.learning_rate, self.learning_rate > 0.0, "above 0")
        for name in ("beta1", "beta2"):
            check(name, getattr(self, name), 0.0 <= getattr(self, name) < 1.0, "0 to below 1")
        check("ema_decay", self.ema_decay, 0.0 <= self.ema_decay < 1.0, "0 (off) to below 1")
        if self.schedule.name == "plateau":
            raise UserError(
                "config.schedule.name is 'plateau': the losses of two players do not say whether "
                "the images get better. Expected another schedule."
            )

    def _check_objective(self) -> None:
        check_choice("objective", self.objective, tuple(objectives.OBJECTIVES))
        smoothing, names = self.label_smoothing, objectives.CROSS_ENTROPY_OBJECTIVES
        good = 0.0 <= smoothing < 0.5 and (smoothing == 0.0 or self.objective in names)
        of = " or ".join(names)
        check("label_smoothing", smoothing, good, f"0 (off), or below 0.5 with objective {of}")
        weights = ("gradient_penalty_weight", "r1_weight", "r2_weight", "lecam_weight")
        for name in ("clip_weights", *weights):
            check(name, getattr(self, name), getattr(self, name) >= 0.0, "0 (off) or more")
        check("num_critic_steps", self.num_critic_steps, self.num_critic_steps >= 1, "1 up")

    def _check_augmentation(self) -> None:
        unknown = [part for part in self.augment_policy if part not in PARTS]
        check("augment_policy", self.augment_policy, not unknown, f"some of {', '.join(PARTS)}")
        target, ramp = self.augment_target, self.augment_ramp_images
        good = 0.0 <= target < 1.0 and (target == 0.0 or self.diffaugment)
        check("augment_target", target, good, "0 (off), or below 1 with config.diffaugment")
        check("augment_ramp_images", ramp, ramp >= 1, "1 or more")
        if target and self.objective not in objectives.SIGNED_OBJECTIVES:
            raise UserError(
                f"config.augment_target is {target!r}: adaptive strength measures D's overfitting "
                f"by the sign of its logits. That is valid only with config.objective "
                f"{', '.join(objectives.SIGNED_OBJECTIVES)}, not with {self.objective!r}. Set "
                "config.augment_target to 0 or choose one of them."
            )

    def find_unused(self) -> Mapping[str, str]:
        """Return which fields have no effect with the others as they are, each with the reason."""
        unused = dict(self.schedule.find_unused())
        if not self.diffaugment:
            unused["augment_policy"] = "config.diffaugment is off"
        if not self.augment_target:
            unused["augment_ramp_images"] = "config.augment_target is 0, so the strength is fixed"
        return unused

    @property
    def has_schedule(self) -> bool:
        """Whether the learning rate changes while the GAN learns."""
        return not self.schedule.is_constant

    def pace_step(self, step_fn: StepFn, pace: Pace) -> StepFn:
        """Return the step at the rate of each update, the same for G and D."""
        return follow_schedule(step_fn, self.schedule, self.learning_rate, pace)

    @property
    def num_latents(self) -> int:
        """How many numbers from N(0, 1) the generator makes an image from."""
        return self.latent_size

    def create_supervision(self) -> two_player.SuperviseFn | None:
        """Return what D learns from real images in addition to its objective; here nothing."""
        return None

    def describe_job(self) -> Mapping[str, str]:
        """Return a mark for jobs in which the average changes only with G: earlier jobs differ."""
        return {"averaged": "at updates of G"} if self.num_critic_steps > 1 else {}


def create_gan(settings: RecipeSettings, create_players: Players, num_epochs: int) -> Gan[GanState]:
    """Return the GAN of two linen modules, G and D; `create_players` takes the axis's name.

    G is applied to latents [batch, num_latents], D to images [batch, h, w, c]; both take labels
    [batch] or None as the next argument, and `train`. In training, D may give several logits for
    each image, [batch, num].
    """
    settings.schedule.check_length(num_epochs, "gan.schedule")
    generator, discriminator = create_players(None)
    objective = create_objective(settings)

    def generate(variables: Params, latents: Array, given: Given) -> Array:
        images: Any = generator.apply(variables, latents, given.labels, train=False)
        return images

    def score(variables: Params, images: Array, given: Given) -> Array:
        logits: Any = discriminator.apply(variables, images, given.labels, train=False)
        return logits

    def score_batch(variables: Params, images: Array, given: Given) -> Array:
        # A D of all classes has not learned the statistics of a batch of one class. And a D without
        # statistics scores every image separately.
        train = given.labels is None and bool(jax.tree.leaves(variables["batch_stats"]))
        logits, _ = discriminator.apply(
            variables,
            images,
            given.labels,
            train=train,
            mutable=["batch_stats"],
            rngs={"dropout": jax.random.key(0)},  # a D with dropout drops the same units each time
        )
        return logits if logits.ndim == 1 else jnp.mean(logits, axis=1)

    def to_probability(logits: Array) -> Array:
        return jax.nn.sigmoid(logits)

    return Gan(
        create_state=functools.partial(create_state, settings, generator, discriminator),
        stages=(
            Stage(
                "all",
                num_epochs,
                lambda axis_name, _: create_step(settings, create_players, axis_name),
            ),
        ),
        get_networks=lambda state: Networks(
            state.sampling_variables, state.discriminator.variables
        ),
        draw_latents=functools.partial(two_player.draw_latents, latent_size=settings.num_latents),
        generate=generate,
        score=score,
        score_batch=score_batch,
        to_probability=to_probability if objective.is_probability else None,
        draw_truncated=functools.partial(
            two_player.draw_truncated, latent_size=settings.num_latents
        ),
        meaning=objective.meaning,
        augmentation=create_augmentation(settings),
    )


def create_state(
    settings: RecipeSettings,
    generator: nn.Module,
    discriminator: nn.Module,
    key: Key,
    seen: tuple[two_player.Shape, ...] | None = None,
) -> GanState:
    """Draw both networks; `seen` are the shapes of D's input if that is not the images."""
    image_shape = (settings.image_size, settings.image_size, settings.channels)
    return two_player.create_gan_state(
        key,
        generator=two_player.Player(generator, create_optimizer(settings)),
        discriminator=two_player.Player(discriminator, create_discriminator_optimizer(settings)),
        latent_size=settings.num_latents,
        image_shape=image_shape if seen is None else seen,
        keep_ema=settings.ema_decay > 0.0,
        augment_strength=1.0 if settings.augment_target == 0.0 else 0.0,
        keep_logit_averages=settings.lecam_weight > 0.0,
    )


def create_step(settings: RecipeSettings, create_players: Players, axis_name: str | None) -> StepFn:
    """Bind the settings to `two_player.train_step`."""
    generator, discriminator = create_players(axis_name)
    return functools.partial(
        two_player.train_step,
        generator=two_player.Player(generator, create_optimizer(settings)),
        discriminator=two_player.Player(discriminator, create_discriminator_optimizer(settings)),
        recipe=create_recipe(settings),
        axis_name=axis_name,
    )


def create_recipe(settings: RecipeSettings) -> two_player.Recipe:
    """Return the recipe of the two players."""
    adaptation = two_player.Adaptation(settings.augment_target, settings.augment_ramp_images)
    return two_player.Recipe(
        create_objective(settings),
        create_augment(settings),
        settings.num_latents,
        settings.ema_decay,
        create_penalty(settings),
        settings.num_critic_steps,
        None if settings.augment_target == 0.0 else adaptation,
        None if settings.lecam_weight == 0.0 else two_player.Lecam(settings.lecam_weight),
        supervise_fn=settings.create_supervision(),
    )


def create_optimizer(settings: RecipeSettings) -> optax.GradientTransformation:
    """Return Adam with the run's rates (the paper's section 4.1)."""
    return _create_adam(settings.learning_rate, settings.beta1, settings.beta2, settings.schedule)


# One object for equal rates: a compiled program belongs to one optimizer object.
@functools.cache
def _create_adam(
    learning_rate: float, beta1: float, beta2: float, schedule: ScheduleSettings
) -> optax.GradientTransformation:
    return add_schedule(optax.adam(learning_rate, beta1, beta2), schedule)


def create_discriminator_optimizer(settings: RecipeSettings) -> optax.GradientTransformation:
    """Return G's optimizer, followed by the clipping of D's weights if that is on."""
    optimizer = create_optimizer(settings)
    if settings.clip_weights == 0.0:
        return optimizer
    return optax.chain(optimizer, clip_weights(settings.clip_weights))


def clip_weights(limit: float) -> optax.GradientTransformation:
    """Shorten updates so that no parameter leaves [-limit, limit] (Arjovsky et al. 2017)."""

    def shorten(updates: Params, params: Params | None) -> Params:
        return jax.tree.map(
            lambda update, param: jnp.clip(param + update, -limit, limit) - param, updates, params
        )

    return optax.stateless(shorten)


def create_penalty(settings: RecipeSettings) -> two_player.PenaltyFn | None:
    """Return the sum of the weighted penalties of D's loss, None if there are none."""
    r1_weight, r2_weight = settings.r1_weight, settings.r2_weight
    gp_weight = settings.gradient_penalty_weight
    if r1_weight == r2_weight == gp_weight == 0.0:
        return None

    def penalise(score_fn: penalties.ScoreFn, real: Array, fake: Array, keys: Key) -> Array:
        total = jnp.zeros(len(real))
        if r1_weight:
            total = total + r1_weight * penalties.r1_penalty(score_fn, real)
        if r2_weight:
            total = total + r2_weight * penalties.r2_penalty(score_fn, fake)
        if gp_weight:
            total = total + gp_weight * penalties.gradient_penalty(score_fn, real, fake, keys)
        return total

    return penalise


def create_objective(settings: RecipeSettings) -> objectives.Objective:
    """Return the losses of D and G."""
    objective = objectives.OBJECTIVES[settings.objective]
    if settings.label_smoothing == 0.0:
        return objective
    smooth = functools.partial(
        objectives.smooth_discriminator_loss, smoothing=settings.label_smoothing
    )
    return objective._replace(discriminator_loss=smooth)


def create_augment(settings: RecipeSettings) -> two_player.AugmentFn:
    """Return the augmentation of real and generated images before D sees them."""
    if not settings.diffaugment:
        return lambda images, keys, strength: images
    augment = functools.partial(diffaugment, policy=settings.augment_policy)
    if settings.augment_target == 0.0:
        return lambda images, keys, strength: augment(images, keys)
    return augment


def create_augmentation(settings: RecipeSettings) -> Augmentation[GanState] | None:
    """Return the augmentation of D's input, None if there is none."""
    if not settings.diffaugment:
        return None
    augment = create_augment(settings)
    return Augmentation(
        settings.augment_policy,
        lambda state, images, keys: augment(images, keys, state.augment_strength),
        lambda state: float(state.augment_strength),
    )
