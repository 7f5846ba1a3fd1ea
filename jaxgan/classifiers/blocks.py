"""The parts of the published networks, and the input of their published weights."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from jaxgan.core.settings import check, check_choice
from jaxgan.core.types import Array
from jaxgan.networks.layers import DTYPES, Conv, Dtype, he_init, spread
from jaxgan.ops import pooling
from jaxgan.ops.geometry import Padding
from jaxgan.ops.pixels import scale_to_unit

ImageScale = Callable[[Array], Array]

dense_init = spread(0.01)


@dataclass(frozen=True)
class Style:
    """What the layers of one network have in common.

    `axis_name` is the mapped axis over which devices share a batch. `momentum` is linen's: the
    share of the old statistics that batch norm keeps (PyTorch names the other part).
    """

    axis_name: str | None = None
    dtype: Dtype = None
    epsilon: float = 1e-5
    momentum: float = 0.9
    kernel_init: nn.initializers.Initializer = he_init

    def create_conv(self, features: int, kernel_size: int | tuple[int, int], **more: Any) -> Conv:
        """Return a convolution; `more` are further fields of `Conv`."""
        init = functools.partial(Conv, kernel_init=self.kernel_init, dtype=self.dtype)
        return init(features, kernel_size, **more)

    def create_norm(self, name: str) -> nn.BatchNorm:
        """Return batch norm that starts at scale 1 and bias 0."""
        return nn.BatchNorm(
            momentum=self.momentum,
            epsilon=self.epsilon,
            axis_name=self.axis_name,
            dtype=self.dtype,
            name=name,
        )

    def create_dense(self, features: int, name: str) -> nn.Dense:
        """Return a dense layer, drawn from N(0, 0.01)."""
        return nn.Dense(features, kernel_init=dense_init, dtype=self.dtype, name=name)


class ConvNorm(nn.Module):
    """Convolution, batch norm, ReLU; or, if `norm` is False, convolution with a bias, ReLU."""

    style: Style
    features: int
    kernel_size: int | tuple[int, int]
    strides: int = 1
    padding: Padding = "VALID"
    norm: bool = True

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        size = {"strides": self.strides, "padding": self.padding}
        create = functools.partial(self.style.create_conv, self.features, self.kernel_size, **size)
        x = create(use_bias=not self.norm, name="conv")(x)
        if self.norm:
            x = self.style.create_norm("bn")(x, use_running_average=not train)
        return nn.relu(x)


def pad(height: int, width: int | None = None) -> Padding:
    """Return the padding of `height` rows above and below, and `width` columns on both sides."""
    width = height if width is None else width
    return (height, height), (width, width)


def scale_filters(num: int, width: float) -> int:
    """Return `num` times `width`, as a multiple of 8 (and `num` itself if `width` is 1).

    The nearest multiple, at least 8, and never less than nine tenths of the product: the rule of
    MobileNet and EfficientNet.
    """
    if width == 1.0:
        return num
    nearest = max(8, int(num * width + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * num * width else nearest


def to_logits(x: Array) -> Array:
    """Return logits in float32 at least."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


# Pooling -----------------------------------------------------------------------------------------


def max_pool(x: Array, size: int, strides: int, *, padding: int = 0, ceil: bool = False) -> Array:
    """Take the maximum of every window of `size` x `size` pixels of [batch, h, w, features].

    With `ceil` the last window may reach beyond the image, but not begin there, as with PyTorch's
    `ceil_mode`.
    """
    pads = []
    for n in x.shape[1:3]:
        high = padding
        if ceil:
            num = -(-(n + 2 * padding - size) // strides) + 1
            num -= (num - 1) * strides >= n + padding
            high = max(padding, (num - 1) * strides + size - n - padding)
        pads.append((padding, high))
    return pooling.max_pool(x, size, strides, tuple(pads))


def adaptive_average_pool(x: Array, num: int) -> Array:
    """Average [batch, h, w, features] over num x num windows that cover the maps: PyTorch's.

    Window i of n pixels is from floor(i n / num) to ceil((i + 1) n / num).
    """
    rows, columns = (_create_windows(n, num) for n in x.shape[1:3])
    rows, columns = rows.astype(x.dtype), columns.astype(x.dtype)
    return jnp.einsum("ih,bhwc,jw->bijc", rows, x, columns)


def _create_windows(size: int, num: int) -> np.ndarray:
    windows = np.zeros((num, size))
    for i in range(num):
        begin, end = i * size // num, -(-(i + 1) * size // num)
        windows[i, begin:end] = 1.0 / (end - begin)
    return windows


# Input -------------------------------------------------------------------------------------------
# These networks always see three channels: gray is repeated. So published weights always fit.

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_SPREAD = (0.229, 0.224, 0.225)


def scale_by_channel(images: Array) -> Array:
    """Map uint8 to what torchvision's VGG and ResNet were trained on.

    Each channel of [0, 1] less ImageNet's mean, divided by ImageNet's standard deviation.
    """
    mean, stddev = (jnp.asarray(row, jnp.float32) for row in (IMAGENET_MEAN, IMAGENET_SPREAD))
    return (images.astype(jnp.float32) / 255.0 - mean) / stddev


def scale_to_unit_color(images: Array) -> Array:
    """Map uint8 to [-1, 1] in three channels: what GoogLeNet and Inception v3 were trained on."""
    return _repeat_gray(scale_to_unit(images))


def scale_about_127(images: Array) -> Array:
    """Map uint8 to (images - 127) / 128 in three channels: EfficientNet-Lite's input."""
    return _repeat_gray((images.astype(jnp.float32) - 127.0) / 128.0)


def _repeat_gray(images: Array) -> Array:
    return jnp.broadcast_to(images, (*images.shape[:-1], 3))


# Settings ----------------------------------------------------------------------------------------

_MOST_SIDE = 1024


def check_common(image_size: int, least: int, channels: int, width: float, dtype: str) -> None:
    """Raise if a field that all these families have is out of its range."""
    good = least <= image_size <= _MOST_SIDE
    check("image_size", image_size, good, f"{least} to {_MOST_SIDE}")
    check_choice("channels", channels, (1, 3))
    check("width", width, 0.0 < width <= 4.0, "above 0, at most 4")
    check_choice("dtype", dtype, tuple(DTYPES))


def check_share(name: str, share: float) -> None:
    """Raise if the share that dropout removes is not from 0 to below 1."""
    check(name, share, 0.0 <= share < 1.0, "0 to below 1")
