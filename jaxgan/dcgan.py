"""The typed parts of a DCGAN experiment, made from its settings."""

import functools
from dataclasses import dataclass

import jax
import optax

from jaxgan import gan, losses
from jaxgan.augment import diffaugment
from jaxgan.models.dcgan import Discriminator, Generator
from jaxgan.models.layers import DTYPES
from jaxgan.parallel import StepFn
from jaxgan.schedule import Schedule
from jaxgan.settings import DcganSettings
from jaxgan.types import Key

_GENERATOR_LOSSES = {
    "non_saturating": losses.non_saturating_generator_loss,
    "saturating": losses.saturating_generator_loss,
}


@dataclass(frozen=True)
class Keys:
    """The run's keys, each for one purpose; nothing random is saved."""

    init: Key
    data: Key
    steps: Key
    latents: Key


def create_keys(seed: int) -> Keys:
    """Derive the run's keys from its seed."""
    return Keys(*jax.random.split(jax.random.key(seed), 4))


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
        ),
        Discriminator(
            image_size=settings.image_size,
            width=settings.discriminator_width,
            axis_name=axis_name,
            dtype=DTYPES[settings.dtype],
        ),
    )


def create_optimizer(settings: DcganSettings) -> optax.GradientTransformation:
    """Return Adam with the run's rates (the paper's section 4.1)."""
    return optax.adam(settings.learning_rate, b1=settings.beta1, b2=settings.beta2)


def create_state(settings: DcganSettings, key: Key) -> gan.GanState:
    """Return the state a run begins with."""
    generator, discriminator = create_networks(settings)
    optimizer = create_optimizer(settings)
    return gan.create_gan_state(
        key,
        generator=generator,
        discriminator=discriminator,
        generator_optimizer=optimizer,
        discriminator_optimizer=optimizer,
        latent_size=settings.latent_size,
        image_shape=(settings.image_size, settings.image_size, settings.channels),
        keep_ema=settings.ema_decay > 0.0,
    )


def create_step(settings: DcganSettings, axis_name: str | None) -> StepFn:
    """Bind the settings to `gan.train_step`."""
    generator, discriminator = create_networks(settings, axis_name)
    optimizer = create_optimizer(settings)
    return functools.partial(
        gan.train_step,
        generator=generator,
        discriminator=discriminator,
        generator_optimizer=optimizer,
        discriminator_optimizer=optimizer,
        generator_loss_fn=_GENERATOR_LOSSES[settings.generator_loss],
        augment_fn=diffaugment if settings.diffaugment else lambda images, keys: images,
        latent_size=settings.latent_size,
        ema_decay=settings.ema_decay,
        axis_name=axis_name,
    )


def create_schedule(settings: DcganSettings, num_examples: int) -> Schedule:
    """Return when what happens in a run over `num_examples` images."""
    return Schedule(
        num_examples=num_examples,
        batch_size=settings.batch_size,
        num_epochs=settings.num_epochs,
        max_steps=settings.max_steps_per_dispatch,
        epochs_per_dispatch=settings.epochs_per_dispatch,
    )
