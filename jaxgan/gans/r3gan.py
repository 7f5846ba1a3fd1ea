"""R3GAN (Huang et al. 2024, "The GAN is dead; long live the GAN! A modern GAN baseline").

Both networks are residual blocks without any normalisation, and G mirrors D. The objective is
"relativistic", with R1 and R2 at one weight, the paper's gamma: their gradients are at the images
as D sees them, after augmentation, the paper's before. Its largest networks are 64x64 with a width
of 384, at most 768 features, two blocks in a stage and groups of 16. Its run of 20 million images
changes gamma, beta2, the rate and the average slowly. Here only the rate can change
(`config.gan.schedule`): a run of 60,000 images would end in the first hundredth of theirs.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

import flax.linen as nn
import jax.numpy as jnp

from jaxgan.core.settings import check, check_choice
from jaxgan.core.types import Array
from jaxgan.gans.protocol import Gan
from jaxgan.gans.recipe import RecipeSettings, create_gan
from jaxgan.gans.two_player import GanState
from jaxgan.networks.layers import DTYPES, Conv, Dtype, spread
from jaxgan.ops.grouped import grouped_conv
from jaxgan.ops.resample import downsample, upsample

IMAGE_SIZES = (32, 64, 128)
_BASIS_SIZE = 4  # pixels on the side of the smallest maps
_EXPANSION = 2  # features within a block, for each of its input
_SLOPE = 0.2
_GAIN = math.sqrt(2.0 / (1.0 + _SLOPE**2))  # of a leaky ReLU: keeps the variance (He et al. 2015)


def list_features(image_size: int, width: int, max_features: int) -> tuple[int, ...]:
    """Return the features of each stage, from the image's size to 4x4; doubled, up to a maximum."""
    num_stages = (image_size // _BASIS_SIZE).bit_length()
    return tuple(min(width * 2**i, max_features) for i in range(num_stages))


def fan_in(gain: float = 1.0) -> nn.initializers.Initializer:
    """Return a function that draws a kernel [..., in, out] from N(0, gain / sqrt(place * in))."""

    def draw(key: Array, shape: tuple[int, ...], dtype: Dtype = float) -> Array:
        return spread(gain / math.sqrt(math.prod(shape[:-1])))(key, shape, dtype)

    return draw


class BiasedActivation(nn.Module):
    """Add a bias to each feature, then a leaky ReLU. No other layer has a bias."""

    @nn.compact
    def __call__(self, x: Array) -> Array:
        bias = self.param("bias", nn.initializers.zeros_init(), (x.shape[-1],))
        return nn.leaky_relu(x + bias.astype(x.dtype), _SLOPE)


class GroupedConv(nn.Module):
    """A 3x3 convolution of groups of `group_size` features, or of all if they are fewer."""

    group_size: int
    gain: float
    dtype: Dtype = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        features = x.shape[-1]
        shape = (3, 3, min(self.group_size, features), features)
        kernel = self.param("kernel", fan_in(self.gain), shape)
        x, kernel = nn.dtypes.promote_dtype(x, kernel, dtype=self.dtype)
        return grouped_conv(x, kernel)


class ResidualBlock(nn.Module):
    """Add to x [batch, h, w, features] what an inverted bottleneck makes of it: 1x1, 3x3, 1x1.

    The last kernel begins at zero, so a new block changes nothing. The first two are drawn smaller
    in a network of more blocks, `num_in_all` (Zhang et al. 2019, Fixup).
    """

    group_size: int
    num_in_all: int
    dtype: Dtype = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        features = x.shape[-1]
        gain = _GAIN * self.num_in_all ** (-1 / 4)
        y = _pixel_conv(features * _EXPANSION, self.dtype, "expand", fan_in(gain))(x)
        y = BiasedActivation(name="expand_bias")(y)
        y = GroupedConv(self.group_size, gain, self.dtype, name="groups")(y)
        y = BiasedActivation(name="groups_bias")(y)
        zeros = nn.initializers.zeros_init()
        return x + _pixel_conv(features, self.dtype, "project", zeros)(y)


def _pixel_conv(
    features: int, dtype: Dtype, name: str, init: nn.initializers.Initializer | None = None
) -> Conv:
    return Conv(features, 1, kernel_init=init or fan_in(), dtype=dtype, name=name)


class Basis(nn.Module):
    """Map latents [batch, size] to maps [batch, 4, 4, features]: each scales a learned map."""

    features: int
    dtype: Dtype = None

    @nn.compact
    def __call__(self, latents: Array) -> Array:
        shape = (_BASIS_SIZE, _BASIS_SIZE, self.features)
        basis = self.param("basis", spread(1.0), shape)
        scale = nn.Dense(self.features, use_bias=False, kernel_init=fan_in(), dtype=self.dtype)
        scales = scale(latents)
        return basis.astype(scales.dtype) * scales[:, None, None, :]


class Critic(nn.Module):
    """Map features [batch, 4, 4, features] to a logit [batch]: each map's weighted sum, then one.

    It mirrors `Basis`: a depthwise convolution of the whole map, and a linear layer.
    """

    dtype: Dtype = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        basis = self.param("basis", spread(1.0 / _BASIS_SIZE), x.shape[1:])
        x, basis = nn.dtypes.promote_dtype(x, basis, dtype=self.dtype)
        sums = jnp.sum(x * basis, axis=(1, 2))
        linear = nn.Dense(1, use_bias=False, kernel_init=fan_in(), dtype=self.dtype)
        return linear(sums)[:, 0]


class Generator(nn.Module):
    """Map latents [batch, latent_size] to images [batch, size, size, channels].

    `width` is the number of features of the largest maps; every smaller stage has twice as many, up
    to `max_features`. In training an image may leave [-1, 1], as the paper's; otherwise it is cut.
    """

    image_size: int
    channels: int
    width: int
    max_features: int
    num_blocks: int
    group_size: int
    dtype: Dtype = None

    @nn.compact
    def __call__(self, latents: Array, labels: Array | None = None, *, train: bool) -> Array:
        del labels  # only one class
        stages = list_features(self.image_size, self.width, self.max_features)[::-1]
        x = Basis(stages[0], self.dtype, name="basis")(latents)
        for i, features in enumerate(stages):
            if i > 0:
                if x.shape[-1] != features:
                    x = _pixel_conv(features, self.dtype, f"stage{i}_features")(x)
                x = upsample(x)
            x = apply_blocks(self, x, f"stage{i}", len(stages))
        x = _pixel_conv(self.channels, self.dtype, "image")(x)
        x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        return x if train else jnp.clip(x, -1.0, 1.0)


class Discriminator(nn.Module):
    """Map images [batch, size, size, channels] to logits [batch]: the mirrored `Generator`."""

    image_size: int
    width: int
    max_features: int
    num_blocks: int
    group_size: int
    dtype: Dtype = None

    @nn.compact
    def __call__(self, images: Array, labels: Array | None = None, *, train: bool) -> Array:
        del labels, train  # only one class, and no layer that differs in training
        stages = list_features(self.image_size, self.width, self.max_features)
        x = _pixel_conv(stages[0], self.dtype, "image")(images)
        for i, features in enumerate(stages):
            if i > 0:
                x = downsample(x)
                if x.shape[-1] != features:
                    x = _pixel_conv(features, self.dtype, f"stage{i}_features")(x)
            x = apply_blocks(self, x, f"stage{i}", len(stages))
        logits = Critic(self.dtype, name="critic")(x)
        return logits.astype(jnp.promote_types(logits.dtype, jnp.float32))


def apply_blocks(network: Generator | Discriminator, x: Array, name: str, num_stages: int) -> Array:
    """Apply the blocks of one stage of a network."""
    num_in_all = network.num_blocks * num_stages
    for i in range(network.num_blocks):
        block = ResidualBlock(
            network.group_size, num_in_all, network.dtype, name=f"{name}_block{i}"
        )
        x = block(x)
    return x


@dataclass(frozen=True, kw_only=True)
class R3ganSettings(RecipeSettings):
    """An R3GAN: see configs/r3gan.py for each field."""

    family: Literal["r3gan"] = "r3gan"
    generator_width: int
    discriminator_width: int
    max_features: int
    num_blocks: int
    group_size: int

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("image_size", self.image_size, IMAGE_SIZES)
        for name in ("max_features", "num_blocks", "group_size"):
            check(name, getattr(self, name), getattr(self, name) >= 1, "1 or more")
        for name in ("generator_width", "discriminator_width"):
            width = getattr(self, name)
            check(name, width, 1 <= width <= self.max_features, "1 to config.max_features")
            self._check_groups(width)

    def _check_groups(self, width: int) -> None:
        """Raise `UserError` if the features of a stage can not be divided into groups."""
        for features in list_features(self.image_size, width, self.max_features):
            inside = features * _EXPANSION
            good = inside <= self.group_size or inside % self.group_size == 0
            expected = (
                f"a divisor of {inside}, twice the features of a stage (config.generator_width, "
                f"config.discriminator_width, config.max_features)"
            )
            check("group_size", self.group_size, good, expected)

    def create(self, num_epochs: int) -> Gan[GanState]:
        """Return the GAN: one stage, by `jaxgan.gans.two_player`."""
        return create_gan(self, self.create_networks, num_epochs)

    def create_networks(self, axis_name: str | None = None) -> tuple[Generator, Discriminator]:
        """Return both networks as linen modules."""
        del axis_name  # no layer mixes the images of a batch
        shared: dict[str, Any] = {
            "image_size": self.image_size,
            "max_features": self.max_features,
            "num_blocks": self.num_blocks,
            "group_size": self.group_size,
            "dtype": DTYPES[self.dtype],
        }
        generator = Generator(channels=self.channels, width=self.generator_width, **shared)
        return generator, Discriminator(width=self.discriminator_width, **shared)
