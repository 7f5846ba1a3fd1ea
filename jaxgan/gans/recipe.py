"""The typed parts of a DCGAN experiment, made from its settings."""

import functools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import optax

from jaxgan.core.seeds import wrap_seed
from jaxgan.core.types import Array, Key, Params
from jaxgan.devices.parallel import StepFn
from jaxgan.gans import objectives, penalties, two_player
from jaxgan.gans.dcgan import Discriminator, Generator
from jaxgan.networks.layers import DTYPES
from jaxgan.ops.augment import diffaugment
from jaxgan.settings import DcganSettings
from jaxgan.training.epochs import EpochPlan


@dataclass(frozen=True)
class Keys:
    """The run's keys, each for one purpose; nothing random is saved."""

    init: Key
    data: Key
    steps: Key
    latents: Key


def create_keys(seed: int) -> Keys:
    """Derive the run's keys from its seed."""
    return Keys(*jax.random.split(jax.random.key(wrap_seed(seed)), 4))


def create_networks(
    settings: DcganSettings, axis_name: str | None = None
) -> tuple[Generator, Discriminator]:
    """Return both networks as linen modules."""
    return (
        Generator(
            image_size=settings.image_size,
            channels=settings.channels,
            width=settings.generator_width,
            axis_name=axis_name,
            dtype=DTYPES[settings.dtype],
            num_classes=settings.num_classes,
        ),
        Discriminator(
            image_size=settings.image_size,
            width=settings.discriminator_width,
            norm=settings.discriminator_norm,
            axis_name=axis_name,
            dtype=DTYPES[settings.dtype],
            num_classes=settings.num_classes,
        ),
    )


def create_optimizer(settings: DcganSettings) -> optax.GradientTransformation:
    """Return Adam with the run's rates (the paper's section 4.1)."""
    return _create_adam(settings.learning_rate, settings.beta1, settings.beta2)


# One of equal rates: what is compiled for an optimizer belongs to that very object.
_create_adam = functools.cache(optax.adam)


def create_discriminator_optimizer(settings: DcganSettings) -> optax.GradientTransformation:
    """Return G's optimizer, followed by the clipping of D's weights where that is on."""
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


def create_penalty(settings: DcganSettings) -> two_player.PenaltyFn | None:
    """Return the sum of the weighted penalties of D's loss, None where there are none."""
    r1_weight, gp_weight = settings.r1_weight, settings.gradient_penalty_weight
    if r1_weight == 0.0 and gp_weight == 0.0:
        return None

    def penalise(score_fn: penalties.ScoreFn, real: Array, fake: Array, keys: Key) -> Array:
        total = jnp.zeros(len(real))
        if r1_weight:
            total = total + r1_weight * penalties.r1_penalty(score_fn, real)
        if gp_weight:
            total = total + gp_weight * penalties.gradient_penalty(score_fn, real, fake, keys)
        return total

    return penalise


def create_objective(settings: DcganSettings) -> objectives.Objective:
    """Return what D and G descend."""
    objective = objectives.OBJECTIVES[settings.objective]
    if settings.label_smoothing == 0.0:
        return objective
    smooth = functools.partial(
        objectives.smooth_discriminator_loss, smoothing=settings.label_smoothing
    )
    return objective._replace(discriminator_loss=smooth)


def create_augment(settings: DcganSettings) -> two_player.AugmentFn:
    """Return what is done to real and generated images alike before D sees them."""
    if not settings.diffaugment:
        return lambda images, keys, strength: images
    augment = functools.partial(diffaugment, policy=settings.augment_policy)
    if settings.augment_target == 0.0:
        return lambda images, keys, strength: augment(images, keys)
    return augment


def create_state(settings: DcganSettings, key: Key) -> two_player.GanState:
    """Return the state a run begins with."""
    generator, discriminator = create_networks(settings)
    return two_player.create_gan_state(
        key,
        generator=generator,
        discriminator=discriminator,
        generator_optimizer=create_optimizer(settings),
        discriminator_optimizer=create_discriminator_optimizer(settings),
        latent_size=settings.latent_size,
        image_shape=(settings.image_size, settings.image_size, settings.channels),
        keep_ema=settings.ema_decay > 0.0,
        augment_strength=1.0 if settings.augment_target == 0.0 else 0.0,
    )


def create_step(settings: DcganSettings, axis_name: str | None) -> StepFn:
    """Bind the settings to `gan.train_step`."""
    generator, discriminator = create_networks(settings, axis_name)
    adaptation = two_player.Adaptation(settings.augment_target, settings.augment_ramp_images)
    return functools.partial(
        two_player.train_step,
        generator=generator,
        discriminator=discriminator,
        generator_optimizer=create_optimizer(settings),
        discriminator_optimizer=create_discriminator_optimizer(settings),
        objective=create_objective(settings),
        augment_fn=create_augment(settings),
        latent_size=settings.latent_size,
        ema_decay=settings.ema_decay,
        penalty_fn=create_penalty(settings),
        num_critic_steps=settings.num_critic_steps,
        adaptation=None if settings.augment_target == 0.0 else adaptation,
        axis_name=axis_name,
    )


def create_plan(settings: DcganSettings, num_examples: int) -> EpochPlan:
    """Return when what happens in a run over `num_examples` images."""
    return EpochPlan(
        num_examples=num_examples,
        batch_size=settings.batch_size,
        num_epochs=settings.num_epochs,
        max_steps=settings.max_steps_per_dispatch,
        epochs_per_dispatch=settings.epochs_per_dispatch,
    )
