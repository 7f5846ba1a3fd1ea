"""A small convolutional network whose activations describe an image."""

from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp

from jaxgan.core.types import Array
from jaxgan.networks.layers import DownConv

WIDTHS = (16, 32, 48, 64)


class Encoder(nn.Module):
    """Map images [batch, h, w, c] in [-1, 1] to the mean activations of every stage [batch, sum].

    The last stage's activations [batch, h / 16, w / 16, last] are returned as well. Each stage
    halves the image. There is no normalisation: the features must describe contrast and brightness.
    """

    widths: Sequence[int] = WIDTHS

    @nn.compact
    def __call__(self, x: Array) -> tuple[Array, Array]:
        means = []
        for index, width in enumerate(self.widths):
            x = DownConv(
                width,
                use_bias=True,
                kernel_init=nn.initializers.he_normal(),
                name=f"stage{index}",
            )(x)
            x = nn.leaky_relu(x, 0.2)
            means.append(jnp.mean(x, axis=(1, 2)))
        return jnp.concatenate(means, axis=-1), x


class EncoderHeads(nn.Module):
    """An encoder with heads for training: a projection [batch, 32] of views, and class logits."""

    num_classes: int
    projection: int = 32

    @nn.compact
    def __call__(self, x: Array) -> tuple[Array, Array]:
        _, last = Encoder(name="encoder")(x)
        flat = last.reshape(len(last), -1)
        hidden = nn.relu(nn.Dense(WIDTHS[-1], name="hidden")(flat))
        views = nn.Dense(self.projection, name="views")(hidden)
        return views, nn.Dense(self.num_classes, name="logits")(flat)
