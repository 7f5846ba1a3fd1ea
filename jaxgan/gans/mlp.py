"""The first GAN (Goodfellow et al. 2014): two networks without convolutions.

At 64x64x1 with the paper's widths the generator has 6,481,696 parameters and the discriminator
5,205,841. No layer knows which pixels are neighbours, so it is the baseline that shows the effect
of convolutions. The paper trains with SGD and a falling rate; here both networks use the recipe of
DCGAN.
"""

import math
from dataclasses import dataclass
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.core.settings import check
from jaxgan.core.types import Array
from jaxgan.gans.protocol import Gan
from jaxgan.gans.recipe import RecipeSettings, create_gan
from jaxgan.gans.two_player import GanState
from jaxgan.networks.layers import DTYPES, Dropout, Dtype, uniform


class Generator(nn.Module):
    """Map latents [batch, latent_size] from N(0, 1) to images [batch, size, size, channels].

    The paper's latents are uniform with variance 1: the distribution function of the normal
    distribution converts these to them. Two hidden layers of `width` units, ReLU.
    """

    image_size: int
    channels: int
    width: int = 1200
    dtype: Dtype = None

    @nn.compact
    def __call__(self, latents: Array, labels: Array | None = None, *, train: bool) -> Array:
        del labels, train  # only one class, and no layer that differs in training
        x = math.sqrt(3.0) * jax.lax.erf(latents / math.sqrt(2.0))
        for _ in range(2):
            x = nn.relu(nn.Dense(self.width, kernel_init=uniform(0.05), dtype=self.dtype)(x))
        num_pixels = self.image_size**2 * self.channels
        x = nn.Dense(num_pixels, kernel_init=uniform(0.05), dtype=self.dtype)(x)
        x = jnp.tanh(x).astype(jnp.promote_types(x.dtype, jnp.float32))
        return x.reshape(-1, self.image_size, self.image_size, self.channels)


class Discriminator(nn.Module):
    """Map images [batch, size, size, channels] in [-1, 1] to logits [batch] of being real.

    Two hidden layers of `width` maxout units, each the maximum of `pieces` linear units. With one
    piece, a leaky ReLU replaces the maximum. A share of the pixels and of the units is dropped in
    training: otherwise it memorises every image within tens of steps.
    """

    width: int = 240
    pieces: int = 5
    pixel_dropout: float = 0.2
    unit_dropout: float = 0.5
    axis_name: str | None = None
    dtype: Dtype = None

    @nn.compact
    def __call__(self, images: Array, labels: Array | None = None, *, train: bool) -> Array:
        del labels  # only one class
        x = images.reshape(len(images), -1)
        for rate in (self.pixel_dropout, self.unit_dropout):
            x = Dropout(rate, axis_name=self.axis_name)(x, train=train)
            x = nn.Dense(self.width * self.pieces, kernel_init=uniform(0.005), dtype=self.dtype)(x)
            x = compute_maxout(x, self.pieces)
        x = Dropout(self.unit_dropout, axis_name=self.axis_name)(x, train=train)
        logits = nn.Dense(1, kernel_init=uniform(0.005), dtype=self.dtype)(x)[:, 0]
        return logits.astype(jnp.promote_types(logits.dtype, jnp.float32))


def compute_maxout(x: Array, pieces: int) -> Array:
    """Return the largest of every `pieces` neighbours of x [batch, units * pieces]."""
    if pieces == 1:
        return nn.leaky_relu(x, 0.2)
    return jnp.max(x.reshape(len(x), -1, pieces), axis=-1)


@dataclass(frozen=True, kw_only=True)
class MlpSettings(RecipeSettings):
    """The first GAN: see configs/mlp.py for each field."""

    family: Literal["mlp"] = "mlp"
    generator_width: int
    discriminator_width: int
    maxout_pieces: int
    pixel_dropout: float
    unit_dropout: float

    def __post_init__(self) -> None:
        super().__post_init__()
        check("image_size", self.image_size, 16 <= self.image_size <= 128, "16 to 128")
        for name in ("generator_width", "discriminator_width", "maxout_pieces"):
            check(name, getattr(self, name), getattr(self, name) >= 1, "1 or more")
        for name in ("pixel_dropout", "unit_dropout"):
            check(name, getattr(self, name), 0.0 <= getattr(self, name) < 1.0, "0 to below 1")

    def create(self, num_epochs: int) -> Gan[GanState]:
        """Return the GAN: one stage, by `jaxgan.gans.two_player`."""
        return create_gan(self, self.create_networks, num_epochs)

    def create_networks(self, axis_name: str | None = None) -> tuple[Generator, Discriminator]:
        """Return both networks as linen modules."""
        dtype = DTYPES[self.dtype]
        generator = Generator(self.image_size, self.channels, self.generator_width, dtype)
        discriminator = Discriminator(
            self.discriminator_width,
            self.maxout_pieces,
            self.pixel_dropout,
            self.unit_dropout,
            axis_name,
            dtype,
        )
        return generator, discriminator
