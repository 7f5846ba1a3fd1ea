"""Projected GAN (Sauer et al. 2021): D sees images through a network that knows ImageNet.

D's eye is an EfficientNet-Lite with published weights, which never change. Its maps at strides 4,
8, 16 and 32 are mixed by fixed random convolutions: over the features of each map, and from every
map to the next finer one (the paper's section 3.2). Each of the four mixed maps has a small
discriminator of its own; the loss is the sum of theirs.

Two things differ from the authors' code, both to save time on a CPU. The 3x3 convolution that mixes
scales stands before the bilinear enlargement. And G learns from the same augmented images as D, so
that the eye sees them once.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.classifiers.feature_network import FeatureNetwork
from jaxgan.core.errors import UserError
from jaxgan.core.settings import check, check_choice
from jaxgan.core.types import Array, Key, Params
from jaxgan.devices.parallel import StepFn
from jaxgan.gans import recipe, two_player
from jaxgan.gans.dcgan import IMAGE_SIZES, Generator
from jaxgan.gans.objectives import Objective
from jaxgan.gans.protocol import Gan, Given, Networks, Stage
from jaxgan.gans.recipe import RecipeSettings
from jaxgan.gans.two_player import GanState, Player
from jaxgan.networks.layers import DTYPES, BatchNorm, Conv, DownConv, Dtype, spread
from jaxgan.ops import conv

_STRIDES = (4, 8, 16, 32)  # of the eye's maps
_HEAD_SIZE = 4  # of the last convolution of each discriminator
_MOST_DOWNS = 4  # blocks of the discriminator of the finest map, as in the paper
_PROJECTION = "projection"  # the name of the random kernels among D's statistics
_SAME = ((1, 1), (1, 1))


# The fixed random projections ---------------------------------------------------------------------


def list_mixed(width: int) -> list[tuple[int, int]]:
    """Return (features mixed over channels, features mixed over scales), from fine to coarse."""
    return [(width * 2**i, width * 2 ** max(i - 1, 0)) for i in range(len(_STRIDES))]


def create_projection(key: Key, num_features: Sequence[int], width: int) -> dict[str, Any]:
    """Draw the kernels for maps with so many features; `width` is that of the finest mixed map.

    A scale has a kernel over `features` [1, 1, in, out] and one over `scales` [3, 3, in, out], both
    from N(0, 2 / inputs) (He et al. 2015, eq. 10).
    """
    drawn = {}
    for i, (num, (mixed, out)) in enumerate(zip(num_features, list_mixed(width), strict=True)):
        first, second = jax.random.split(jax.random.fold_in(key, i))
        drawn[f"scale{i}"] = {
            "features": spread((2.0 / num) ** 0.5)(first, (1, 1, num, mixed)),
            "scales": spread((2.0 / (9 * mixed)) ** 0.5)(second, (3, 3, mixed, out)),
        }
    return drawn


def project(projection: Params, maps: Sequence[Array]) -> tuple[Array, ...]:
    """Mix the maps [batch, side, side, features] of all scales, each to twice its side."""
    mixed: list[Array] = []
    for i in reversed(range(len(maps))):
        kernels = projection[f"scale{i}"]
        x = conv(maps[i], kernels["features"], strides=1, padding="VALID")
        if mixed:
            x = x + mixed[0]
        mixed.insert(0, double(conv(x, kernels["scales"], strides=1, padding=_SAME)))
    return tuple(mixed)


def double(x: Array) -> Array:
    """Enlarge maps [batch, side, side, features] to twice their side, bilinearly."""
    return resize(x, 2 * x.shape[1])


def resize(images: Array, side: int) -> Array:
    """Scale [batch, side, side, channels] bilinearly; the image itself if it has that side."""
    if images.shape[1] == side:
        return images
    shape = (len(images), side, side, images.shape[3])
    return jax.image.resize(images, shape, "bilinear", antialias=False)


# The discriminators -------------------------------------------------------------------------------


class Head(nn.Module):
    """Map one mixed map [batch, side, side, in] to logits [batch, positions].

    `features` are those of its blocks: each halves the side by a 4x4 convolution, with batch norm
    and a leaky ReLU. Every convolution has spectral norm.
    """

    features: Sequence[int]
    axis_name: str | None = None
    dtype: Dtype = None

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        for i, num in enumerate(self.features):
            x = self._apply(DownConv(num, dtype=self.dtype, name=f"down{i}"), x, train)
            norm = BatchNorm(
                use_running_average=not train,
                axis_name=self.axis_name,
                dtype=self.dtype,
                name=f"down{i}_norm",
            )
            x = nn.leaky_relu(norm(x), 0.2)
        x = self._apply(Conv(1, _HEAD_SIZE, dtype=self.dtype, name="head"), x, train)
        return x.reshape(len(x), -1).astype(jnp.promote_types(x.dtype, jnp.float32))

    def _apply(self, layer: Any, x: Array, train: bool) -> Array:
        normalised = nn.SpectralNorm(
            layer, collection_name="batch_stats", name=f"{layer.name}_spectral"
        )
        return normalised(x, update_stats=train)


class Discriminator(nn.Module):
    """Map mixed maps of four scales, from fine to coarse, to logits [batch, scale, positions].

    Each scale has one block less than the one before, so all end at the same side with 8 `width`
    features. At `eye_size` 128 the finest has the paper's four blocks.
    """

    eye_size: int
    width: int
    axis_name: str | None = None
    dtype: Dtype = None

    @nn.compact
    def __call__(self, maps: Sequence[Array], labels: Array | None = None, *, train: bool) -> Array:
        del labels  # only one class
        most = count_downs(self.eye_size)
        logits = []
        for i, x in enumerate(maps):
            features = [8 * self.width // 2 ** (most - 1 - j) for j in range(i, most)]
            head = Head(features, self.axis_name, self.dtype, name=f"scale{i}")
            logits.append(head(x, train=train))
        return jnp.stack(logits, axis=1)


def count_downs(eye_size: int) -> int:
    """Return the number of blocks of the finest scale: 3 below 128 pixels, otherwise 4."""
    return min(_MOST_DOWNS, (eye_size // 32).bit_length() + 1)


def sum_over_scales(objective: Objective) -> Objective:
    """Return the losses [batch] of logits [batch, scale, positions].

    They are means over the positions and sums over the scales (the paper's section 3.1).
    """

    def reduce(losses: Array) -> Array:
        return jnp.sum(jnp.mean(losses, axis=2), axis=1)

    def discriminator_loss(*, real_logits: Array, fake_logits: Array) -> tuple[Array, Array]:
        real, fake = objective.discriminator_loss(real_logits=real_logits, fake_logits=fake_logits)
        return reduce(real), reduce(fake)

    def generator_loss(**logits: Array) -> Array:
        return reduce(objective.generator_loss(**logits))

    return objective._replace(discriminator_loss=discriminator_loss, generator_loss=generator_loss)


# The family ---------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class ProjectedSettings(RecipeSettings):
    """A projected GAN: see configs/projected.py for each field."""

    family: Literal["projected"] = "projected"
    generator_width: int
    eye_variant: Literal[0, 1, 2]
    eye_weights: Literal["imagenet", "random"]
    eye_size: int
    projection_width: int
    discriminator_width: int

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("image_size", self.image_size, IMAGE_SIZES)
        good = 64 <= self.eye_size <= 256 and self.eye_size % 32 == 0
        check("eye_size", self.eye_size, good, "a multiple of 32 from 64 to 256")
        for name in ("generator_width", "projection_width", "discriminator_width"):
            check(name, getattr(self, name), getattr(self, name) >= 1, "1 or more")
        for name in ("gradient_penalty_weight", "r1_weight", "r2_weight"):
            if getattr(self, name):
                raise UserError(
                    f"config.{name} is {getattr(self, name)!r}: it needs D's slope at the images, "
                    "and this D sees maps of a fixed network. Set it to 0."
                )

    @property
    def eye(self) -> FeatureNetwork:
        """The network through which D sees."""
        return FeatureNetwork(self.eye_variant, self.eye_weights)

    def describe_weights(self) -> Mapping[str, Any]:
        """Return which weights the eye has. Raises `UserError` if they are not installed."""
        return self.eye.load().record

    def describe_job(self) -> Mapping[str, str]:
        """Return also which weights the eye has."""
        sha256 = self.describe_weights().get("sha256")
        return {**super().describe_job(), **({"eye": sha256} if sha256 else {})}

    def create(self, num_epochs: int) -> Gan[GanState]:
        """Return the GAN: one stage, by `jaxgan.gans.two_player`."""
        self.schedule.check_length(num_epochs, "gan.schedule")
        generator, discriminator = self.create_networks()

        def generate(variables: Params, latents: Array, given: Given) -> Array:
            images: Any = generator.apply(variables, latents, given.labels, train=False)
            return images

        def score(variables: Params, images: Array, given: Given, *, train: bool = False) -> Array:
            del given
            maps = self.see(variables["batch_stats"], images)
            logits, _ = discriminator.apply(variables, maps, train=train, mutable=["batch_stats"])
            return jnp.mean(logits, axis=(1, 2))

        return Gan(
            create_state=self._create_state,
            stages=(Stage("all", num_epochs, lambda axis_name, _: self.create_step(axis_name)),),
            get_networks=lambda state: Networks(
                state.sampling_variables, state.discriminator.variables
            ),
            draw_latents=functools.partial(two_player.draw_latents, latent_size=self.num_latents),
            draw_truncated=functools.partial(
                two_player.draw_truncated, latent_size=self.num_latents
            ),
            generate=generate,
            score=score,
            score_batch=functools.partial(score, train=True),
            meaning=recipe.create_objective(self).meaning,
            augmentation=recipe.create_augmentation(self),
        )

    def create_networks(self, axis_name: str | None = None) -> tuple[Generator, Discriminator]:
        """Return both networks as linen modules; D's input is that of `see`."""
        dtype = DTYPES[self.dtype]
        generator = Generator(
            image_size=self.image_size,
            channels=self.channels,
            width=self.generator_width,
            axis_name=axis_name,
            dtype=dtype,
        )
        return generator, Discriminator(self.eye_size, self.discriminator_width, axis_name, dtype)

    def see(self, statistics: Params, images: Array) -> tuple[Array, ...]:
        """Return what D sees of images: the mixed maps, by the projection among its statistics."""
        return project(
            statistics[_PROJECTION], self.eye.compute_maps(resize(images, self.eye_size))
        )

    def create_step(self, axis_name: str | None) -> StepFn:
        """Bind the settings to `two_player.train_step`."""
        generator, discriminator = self.create_networks(axis_name)
        plan = recipe.create_recipe(self)
        return functools.partial(
            two_player.train_step,
            generator=Player(generator, recipe.create_optimizer(self)),
            discriminator=Player(discriminator, recipe.create_discriminator_optimizer(self)),
            recipe=plan._replace(objective=sum_over_scales(plan.objective), see_fn=self.see),
            axis_name=axis_name,
        )

    def _create_state(self, key: Key) -> GanState:
        networks_key, projection_key = jax.random.split(key)
        sides = [2 * self.eye_size // stride for stride in _STRIDES]
        shapes = zip(sides, list_mixed(self.projection_width), strict=True)
        seen = tuple((side, side, num) for side, (_, num) in shapes)
        state = recipe.create_state(self, *self.create_networks(), networks_key, seen)
        projection = create_projection(projection_key, self.eye.num_features, self.projection_width)
        statistics = {**state.discriminator.batch_stats, _PROJECTION: projection}
        return state.replace(discriminator=state.discriminator.replace(batch_stats=statistics))
