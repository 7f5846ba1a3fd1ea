"""FastGAN (Liu et al. 2021) for few images, cut to 32, 64 and 128 pixels.

G has skip-layer excitation, gated linear units and injected noise. D also reconstructs the real
images from its features, so that it must see all of an image. Both have spectral norm and batch
norm. It differs from the paper, whose networks begin at 256 pixels:

- G ends at the image's size, with the paper's features of each size. A map of 4 pixels excites that
  of 64, one of 8 that of 128; at 32 pixels, where the paper's has none, 4 excites 32.
- D begins at the image's size and ends with 8x8 maps and 25 logits, as the paper's. Its second
  branch, which sees a smaller copy made by a second output of G, is left out.
- The reconstructions are compared by pixels at three scales (`compute_reconstruction_loss`). The
  paper compares them by LPIPS, which needs a network trained on other images.
- Both are half as large as the image: the whole at half the resolution, and a quarter.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.core.errors import UserError
from jaxgan.core.settings import check, check_choice
from jaxgan.core.types import Array, Key, Params
from jaxgan.gans.protocol import Gan
from jaxgan.gans.recipe import RecipeSettings, create_gan
from jaxgan.gans.two_player import GanState, SuperviseFn
from jaxgan.networks.layers import DTYPES, BatchNorm, Conv, ConvTranspose, Dtype

IMAGE_SIZES = (32, 64, 128)
_STEM_SIZE = 4  # pixels on the side of G's first map
_LAST_SIZE = 8  # of D's last map, and of what a decoder begins with
# Features of G's map of each size, for each of the width.
_FEATURES = {4: 16, 8: 8, 16: 4, 32: 2, 64: 2, 128: 1}
_NOISY_SIZES = (8, 32, 128)  # of maps that two convolutions make, each with noise
_RATIO = 8  # of the size of the map that excites another one, to the size of that, in D
_SCALES = (1, 2, 4)  # of the reconstruction's loss


def list_sizes(image_size: int) -> tuple[int, ...]:
    """Return the sizes of G's maps, from 4 to the image's."""
    return tuple(size for size in _FEATURES if size <= image_size)


def list_exciting(image_size: int) -> Mapping[int, int]:
    """Return the sizes of G's maps that another one excites, each with the size of that one."""
    return {32: {32: 4}, 64: {64: 4}, 128: {64: 4, 128: 8}}[image_size]


def count_noise(image_size: int) -> int:
    """Return how many numbers of noise an image needs: one for each pixel of the noisy maps."""
    return sum(2 * size**2 for size in _NOISY_SIZES if size <= image_size)


# Layers -------------------------------------------------------------------------------------------


def compute_glu(x: Array) -> Array:
    """Gate the first half of the features of x [..., 2 * features] by the second."""
    values, gates = jnp.split(x, 2, axis=-1)
    return values * nn.sigmoid(gates)


def double_size(x: Array) -> Array:
    """Repeat every pixel of x [batch, h, w, features] in both directions."""
    return jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)


def average_blocks(x: Array, size: int) -> Array:
    """Return the means of all blocks of `size` x `size` pixels of x [batch, h, w, features]."""
    batch, height, width, features = x.shape
    blocks = x.reshape(batch, height // size, size, width // size, size, features)
    return jnp.mean(blocks, axis=(2, 4))


def take_quarter(x: Array, quarter: Array | int) -> Array:
    """Return one quarter of the area of x [batch, n, n, features]: 0 to 3, in reading order."""
    half = x.shape[1] // 2
    begin = (0, quarter // 2 * half, quarter % 2 * half, 0)
    return jax.lax.dynamic_slice(x, begin, (len(x), half, half, x.shape[3]))


def compute_reconstruction_loss(found: Array, wanted: Array) -> Array:
    """Return the mean absolute difference [batch] of images, averaged over three scales.

    They are the images [batch, h, w, channels], and the means of blocks of 2x2 and of 4x4 pixels.
    So a shift of all grays counts more than one of single pixels.
    """
    total = jnp.zeros(len(found), found.dtype)
    for scale in _SCALES:
        difference = average_blocks(found - wanted, scale)
        total = total + jnp.mean(jnp.abs(difference), axis=(1, 2, 3))
    return total / len(_SCALES)


class SpectralConv(nn.Module):
    """A convolution with spectral norm, without a bias."""

    features: int
    kernel_size: int
    strides: int = 1
    padding: Any = "SAME"
    dtype: Dtype = None

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        conv = Conv(
            self.features,
            self.kernel_size,
            self.strides,
            self.padding,
            dtype=self.dtype,
            name="conv",
        )
        return apply_spectral_norm(conv, x, train)


def apply_spectral_norm(layer: nn.Module, x: Array, train: bool) -> Array:
    """Apply a layer with its kernel divided by the largest singular value (Miyato et al. 2018)."""
    normalised = nn.SpectralNorm(layer, collection_name="batch_stats", name="spectral")
    y: Array = normalised(x, update_stats=train)
    return y


class Excitation(nn.Module):
    """Scale each feature of a map by what a smaller or larger map says (section 3.1).

    It takes the other map [batch, h, w, features], of at least 4x4, and the map to change.
    """

    dtype: Dtype = None

    @nn.compact
    def __call__(self, other: Array, x: Array, *, train: bool) -> Array:
        features = x.shape[-1]
        seen = average_blocks(other, other.shape[1] // 4)
        seen = SpectralConv(features, 4, padding="VALID", dtype=self.dtype, name="squeeze")(
            seen, train=train
        )
        gate = SpectralConv(features, 1, dtype=self.dtype, name="excite")(
            nn.swish(seen), train=train
        )
        return x * nn.sigmoid(gate)


class Noise(nn.Module):
    """Add noise [batch, h, w, 1] to every feature of a map, by one learned weight, 0 at first."""

    @nn.compact
    def __call__(self, x: Array, noise: Array) -> Array:
        weight = self.param("weight", nn.initializers.zeros_init(), (1,))
        return x + (weight * noise).astype(x.dtype)


class UpBlock(nn.Module):
    """Double a map's size, then convolve it; with two arrays of noise [batch, h, w, 1], twice."""

    features: int
    axis_name: str | None = None
    dtype: Dtype = None

    @nn.compact
    def __call__(self, x: Array, noise: tuple[Array, ...] = (), *, train: bool) -> Array:
        x = double_size(x)
        for i in range(max(len(noise), 1)):
            conv = SpectralConv(2 * self.features, 3, dtype=self.dtype, name=f"conv{i}")
            x = conv(x, train=train)
            if noise:
                x = Noise(name=f"noise{i}")(x, noise[i])
            x = _normalise(self, x, train, f"norm{i}")
            x = compute_glu(x)
        return x


class DownBlock(nn.Module):
    """Halve a map's size: the mean of two convolutions and of a single one of 2x2 means."""

    features: int
    axis_name: str | None = None
    dtype: Dtype = None

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        pads = ((1, 1), (1, 1))
        main = SpectralConv(self.features, 4, 2, pads, dtype=self.dtype, name="halve")
        y = nn.leaky_relu(_normalise(self, main(x, train=train), train, "halve_norm"), 0.2)
        conv = SpectralConv(self.features, 3, dtype=self.dtype, name="conv")
        y = nn.leaky_relu(_normalise(self, conv(y, train=train), train, "conv_norm"), 0.2)
        direct = SpectralConv(self.features, 1, dtype=self.dtype, name="direct")
        means = direct(average_blocks(x, 2), train=train)
        means = nn.leaky_relu(_normalise(self, means, train, "direct_norm"), 0.2)
        return (y + means) / 2


class Decoder(nn.Module):
    """Make an image [batch, size, size, channels] from a map of 8x8, for the reconstruction."""

    size: int
    channels: int
    width: int
    axis_name: str | None = None
    dtype: Dtype = None

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        size = _LAST_SIZE
        while size < self.size:
            size *= 2
            features = self.width * _FEATURES[size]
            block = UpBlock(features, self.axis_name, self.dtype, name=f"up{size}")
            x = block(x, train=train)
        image = SpectralConv(self.channels, 3, dtype=self.dtype, name="image")
        return jnp.tanh(image(x, train=train))


def _normalise(block: Any, x: Array, train: bool, name: str) -> Array:
    """Apply batch norm, of the whole batch over the block's mapped axis."""
    norm = BatchNorm(
        use_running_average=not train, axis_name=block.axis_name, dtype=block.dtype, name=name
    )
    y: Array = norm(x)
    return y


# Networks -----------------------------------------------------------------------------------------


class Stem(nn.Module):
    """Map latents [batch, latent_size] to maps [batch, 4, 4, features]."""

    features: int
    axis_name: str | None = None
    dtype: Dtype = None

    @nn.compact
    def __call__(self, latents: Array, *, train: bool) -> Array:
        conv = ConvTranspose(
            2 * self.features, _STEM_SIZE, padding="VALID", dtype=self.dtype, name="conv"
        )
        x = apply_spectral_norm(conv, latents[:, None, None, :], train)
        return compute_glu(_normalise(self, x, train, "norm"))


class Generator(nn.Module):
    """Map latents to images [batch, size, size, channels] in [-1, 1].

    The latents [batch, latent_size + noise] also hold all noise, so that an image depends on
    nothing else: the numbers of `count_noise` are the last ones.
    """

    image_size: int
    channels: int
    latent_size: int
    width: int
    axis_name: str | None = None
    dtype: Dtype = None

    @nn.compact
    def __call__(self, latents: Array, labels: Array | None = None, *, train: bool) -> Array:
        del labels  # only one class
        noise = split_noise(latents[:, self.latent_size :], self.image_size)
        exciting, maps = list_exciting(self.image_size), {}
        stem = Stem(self.width * _FEATURES[4], self.axis_name, self.dtype, name="stem")
        x = maps[_STEM_SIZE] = stem(latents[:, : self.latent_size], train=train)
        for size in list_sizes(self.image_size)[1:]:
            features = self.width * _FEATURES[size]
            block = UpBlock(features, self.axis_name, self.dtype, name=f"up{size}")
            x = block(x, noise.get(size, ()), train=train)
            if size in exciting:
                excite = Excitation(self.dtype, name=f"excite{size}")
                x = excite(maps[exciting[size]], x, train=train)
            maps[size] = x
        x = SpectralConv(self.channels, 3, dtype=self.dtype, name="image")(x, train=train)
        return jnp.tanh(x).astype(jnp.promote_types(x.dtype, jnp.float32))


def split_noise(numbers: Array, image_size: int) -> dict[int, tuple[Array, Array]]:
    """Return two maps [batch, size, size, 1] for each noisy size, of numbers [batch, all]."""
    noise, begin = {}, 0
    for size in _NOISY_SIZES:
        if size <= image_size:
            own = numbers[:, begin : begin + 2 * size**2].reshape(-1, 2, size, size, 1)
            noise[size] = own[:, 0], own[:, 1]
            begin += 2 * size**2
    return noise


class Discriminator(nn.Module):
    """Map images [batch, size, size, channels] in [-1, 1] to logits of being real.

    In training there are 25 logits for each image, [batch, 25]: each sees another part. Otherwise
    the logit is their mean, [batch]. With a `quarter`, 0 to 3, it also returns what it
    reconstructs: two images [batch, size / 2, size / 2, channels]. The first is the whole at half
    the resolution, the second is that quarter.
    """

    image_size: int
    channels: int
    width: int
    axis_name: str | None = None
    dtype: Dtype = None

    @nn.compact
    def __call__(
        self,
        images: Array,
        labels: Array | None = None,
        *,
        train: bool,
        quarter: Array | None = None,
    ) -> Any:
        del labels  # only one class
        maps = self._create_maps(images, train)
        logits = self._create_logits(maps[_LAST_SIZE], train)
        logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
        logits = logits if train else jnp.mean(logits, axis=1)
        if quarter is None and not self.is_initializing():
            return logits
        decode = functools.partial(
            Decoder,
            self.image_size // 2,
            self.channels,
            2 * self.width,
            self.axis_name,
            self.dtype,
        )
        part = take_quarter(maps[2 * _LAST_SIZE], 0 if quarter is None else quarter)
        whole = decode(name="decode_whole")(maps[_LAST_SIZE], train=train)
        return logits, (whole, decode(name="decode_part")(part, train=train))

    def _create_maps(self, images: Array, train: bool) -> dict[int, Array]:
        """Return the maps of every size from the image's to 8, with twice the features each."""
        first = SpectralConv(self.width, 3, dtype=self.dtype, name="first")
        maps = {self.image_size: nn.leaky_relu(first(images, train=train), 0.2)}
        size, features = self.image_size, self.width
        while size > _LAST_SIZE:
            larger, size, features = maps[size], size // 2, 2 * features
            block = DownBlock(features, self.axis_name, self.dtype, name=f"down{size}")
            x = block(larger, train=train)
            if size * _RATIO in maps:
                excite = Excitation(self.dtype, name=f"excite{size}")
                x = excite(maps[size * _RATIO], x, train=train)
            maps[size] = x
        return maps

    def _create_logits(self, x: Array, train: bool) -> Array:
        conv = SpectralConv(2 * x.shape[-1], 1, dtype=self.dtype, name="mix")
        x = _normalise(self, conv(x, train=train), train, "mix_norm")
        head = SpectralConv(1, 4, padding="VALID", dtype=self.dtype, name="head")
        logits = head(nn.leaky_relu(x, 0.2), train=train)
        return logits.reshape(len(logits), -1)


def reconstruct(
    network: nn.Module, variables: Params, images: Array, labels: Array, key: Key, *, weight: float
) -> tuple[Array, Params, Array]:
    """Return D's logits of real images, its new statistics, and its loss of reconstruction.

    The loss [batch] is of both reconstructions. The key draws the quarter, one for the batch.
    """
    quarter = jax.random.randint(key, (), 0, 4)
    (logits, (whole, part)), updates = network.apply(
        variables, images, labels, train=True, quarter=quarter, mutable=["batch_stats"]
    )
    loss = compute_reconstruction_loss(whole, average_blocks(images, 2))
    loss = loss + compute_reconstruction_loss(part, take_quarter(images, quarter))
    return logits, updates["batch_stats"], weight * loss


@dataclass(frozen=True, kw_only=True)
class FastganSettings(RecipeSettings):
    """A FastGAN: see configs/fastgan.py for each field."""

    family: Literal["fastgan"] = "fastgan"
    generator_width: int
    discriminator_width: int
    reconstruction_weight: float

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("image_size", self.image_size, IMAGE_SIZES)
        for name in ("generator_width", "discriminator_width"):
            check(name, getattr(self, name), getattr(self, name) >= 1, "1 or more")
        weight = self.reconstruction_weight
        check("reconstruction_weight", weight, weight >= 0.0, "0 (off) or more")
        for name in ("gradient_penalty_weight", "r1_weight", "r2_weight"):
            if getattr(self, name):
                raise UserError(
                    f"config.{name} is {getattr(self, name)!r}: it needs the gradient of each "
                    f"image alone, and the batch norm of this D mixes the images of a batch. Set "
                    f"config.{name} to 0, or choose another family."
                )

    @property
    def num_latents(self) -> int:
        """How many numbers an image is made from: its latents and its noise."""
        return self.latent_size + count_noise(self.image_size)

    def create_supervision(self) -> SuperviseFn | None:
        """Return what D learns from real images in addition: to reconstruct them."""
        weight = self.reconstruction_weight
        return functools.partial(reconstruct, weight=weight) if weight else None

    def create(self, num_epochs: int) -> Gan[GanState]:
        """Return the GAN: one stage, by `jaxgan.gans.two_player`."""
        return create_gan(self, self.create_networks, num_epochs)

    def create_networks(self, axis_name: str | None = None) -> tuple[Generator, Discriminator]:
        """Return both networks as linen modules."""
        generator = Generator(
            self.image_size,
            self.channels,
            self.latent_size,
            self.generator_width,
            axis_name,
            DTYPES[self.dtype],
        )
        discriminator = Discriminator(
            self.image_size,
            self.channels,
            self.discriminator_width,
            axis_name,
            DTYPES[self.dtype],
        )
        return generator, discriminator
