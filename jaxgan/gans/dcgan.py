"""DCGAN (Radford et al. 2016) as the paper's figures 2 and 5 draw it, for square images.

At 64x64x3 with the default width the generator has 3,576,704 parameters and the discriminator
2,765,568. Other sizes keep the plan: 4x4 features at the small end, twice the channels with every
halving of the image.

With `num_classes` both networks learn all classes, and take a label for each image. G uses batch
norms with a scale and bias per class, D uses a projection (Miyato & Koyama 2018, eq. 3). Without
`num_classes`, labels have no effect.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import flax.linen as nn
import jax.numpy as jnp

from jaxgan.core.errors import UserError
from jaxgan.core.settings import check, check_choice
from jaxgan.core.types import Array
from jaxgan.gans.protocol import Gan
from jaxgan.gans.recipe import RecipeSettings, create_gan
from jaxgan.gans.two_player import GanState
from jaxgan.networks.layers import (
    DTYPES,
    BatchNorm,
    ClassBatchNorm,
    Conv,
    ConvTranspose,
    DownConv,
    Dtype,
    UpConv,
    normal_init,
)

IMAGE_SIZES = (32, 64, 128)
DISCRIMINATOR_NORMS = ("batch", "spectral", "none")
_STEM_SIZE = 4


def compute_num_scales(image_size: int) -> int:
    """Return how many times a 4x4 map is doubled to reach `image_size`."""
    if image_size not in IMAGE_SIZES:
        raise ValueError(f"image_size is {image_size}, expected one of {IMAGE_SIZES}")
    return (image_size // _STEM_SIZE).bit_length() - 1


def check_labels(labels: Array | None) -> Array:
    """Return the labels; raise if a class-conditional network gets none."""
    if labels is None:
        raise ValueError("found no labels, expected one per image: the network has num_classes")
    return labels


class Generator(nn.Module):
    """Map latents [batch, latent_size] to images [batch, size, size, channels] in [-1, 1].

    `width` is the number of features in front of the last layer (64 in the paper: 512-256-128-64).
    With `axis_name`, batch norm uses the statistics of the whole batch over that mapped axis.
    With `dtype` bfloat16 all layers compute in it; parameters, statistics and images are float32.
    """

    image_size: int = 64
    channels: int = 3
    width: int = 64
    axis_name: str | None = None
    dtype: Dtype = None
    num_classes: int = 0

    @nn.compact
    def __call__(self, latents: Array, labels: Array | None = None, *, train: bool) -> Array:
        num_scales = compute_num_scales(self.image_size)
        features = self.width * 2 ** (num_scales - 1)
        x = latents[:, None, None, :]
        stem = ConvTranspose(features, _STEM_SIZE, padding="VALID", dtype=self.dtype, name="stem")
        x = stem(x)
        x = self._normalise(x, labels, train, "stem_norm")
        for i in range(1, num_scales):
            x = UpConv(features // 2**i, dtype=self.dtype, name=f"up{i}")(x)
            x = self._normalise(x, labels, train, f"up{i}_norm")
        x = UpConv(self.channels, dtype=self.dtype, name="image")(x)
        return jnp.tanh(x).astype(jnp.promote_types(x.dtype, jnp.float32))

    def _normalise(self, x: Array, labels: Array | None, train: bool, name: str) -> Array:
        options: dict[str, Any] = {
            "use_running_average": not train,
            "axis_name": self.axis_name,
            "dtype": self.dtype,
            "name": name,
        }
        if not self.num_classes:
            return nn.relu(BatchNorm(**options)(x))
        labels = check_labels(labels)
        return nn.relu(ClassBatchNorm(self.num_classes, **options)(x, labels))


class Discriminator(nn.Module):
    """Map images [batch, size, size, channels] in [-1, 1] to logits [batch] of being real.

    `width` is the number of features of the first layer (64 in the paper: 64-128-256-512-1).
    `norm` is the paper's 'batch'; 'spectral' divides every kernel by its largest singular value
    (Miyato et al. 2018; its power iteration is kept among the batch statistics); or 'none'.
    With `axis_name`, batch norm uses the statistics of the whole batch over that mapped axis.
    With `dtype` bfloat16 all layers compute in it; parameters, statistics and logits are float32.
    """

    image_size: int = 64
    width: int = 64
    norm: str = "batch"
    axis_name: str | None = None
    dtype: Dtype = None
    num_classes: int = 0

    @nn.compact
    def __call__(self, images: Array, labels: Array | None = None, *, train: bool) -> Array:
        use_bias = self.norm != "batch"
        x = images
        for i in range(compute_num_scales(self.image_size)):
            down = DownConv(self.width * 2**i, use_bias=use_bias, dtype=self.dtype, name=f"down{i}")
            x = self._apply(down, x, train)
            if self.norm == "batch" and i > 0:
                norm = BatchNorm(
                    use_running_average=not train,
                    axis_name=self.axis_name,
                    dtype=self.dtype,
                    name=f"down{i}_norm",
                )
                x = norm(x)
            x = nn.leaky_relu(x, 0.2)
        head = Conv(1, _STEM_SIZE, use_bias=use_bias, dtype=self.dtype, name="head")
        logits = self._apply(head, x, train)[:, 0, 0, 0]
        if self.num_classes:
            table = nn.Embed(
                self.num_classes,
                x.shape[-1],
                embedding_init=normal_init,
                dtype=self.dtype,
                name="projection",
            )
            # The features are summed over the 4x4 positions, as the head sums them.
            of_class = self._apply(table, check_labels(labels), train)
            logits = logits + jnp.sum(of_class * jnp.sum(x, axis=(1, 2)), axis=-1)
        return logits.astype(jnp.promote_types(logits.dtype, jnp.float32))

    def _apply(self, layer: Any, x: Array, train: bool) -> Array:
        if self.norm != "spectral":
            return layer(x)
        normalised = nn.SpectralNorm(
            layer, collection_name="batch_stats", name=f"{layer.name}_spectral"
        )
        return normalised(x, update_stats=train)


@dataclass(frozen=True, kw_only=True)
class DcganSettings(RecipeSettings):
    """A DCGAN: see configs/dcgan.py for each field."""

    takes_classes: ClassVar[bool] = True

    family: Literal["dcgan"] = "dcgan"
    generator_width: int
    discriminator_width: int
    discriminator_norm: str

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("image_size", self.image_size, IMAGE_SIZES)
        check_choice("discriminator_norm", self.discriminator_norm, DISCRIMINATOR_NORMS)
        for name in ("generator_width", "discriminator_width"):
            check(name, getattr(self, name), getattr(self, name) >= 1, "1 or more")
        for name in ("gradient_penalty_weight", "r1_weight", "r2_weight"):
            if getattr(self, name) and self.discriminator_norm == "batch":
                raise UserError(
                    f"config.{name} is {getattr(self, name)!r}: it needs the gradient of each "
                    "image alone, and batch norm mixes the images of a batch. Set "
                    "config.discriminator_norm to 'none' or 'spectral'."
                )

    def create(self, num_epochs: int) -> Gan[GanState]:
        """Return the GAN: one stage, by `jaxgan.gans.two_player`."""
        return create_gan(self, self.create_networks, num_epochs)

    def create_networks(self, axis_name: str | None = None) -> tuple[Generator, Discriminator]:
        """Return both networks as linen modules."""
        shared: dict[str, Any] = {
            "image_size": self.image_size,
            "axis_name": axis_name,
            "dtype": DTYPES[self.dtype],
            "num_classes": self.num_classes,
        }
        generator = Generator(channels=self.channels, width=self.generator_width, **shared)
        norm, width = self.discriminator_norm, self.discriminator_width
        return generator, Discriminator(width=width, norm=norm, **shared)
