"""The layers of the networks.

Parameters have the names, shapes and meaning of linen's `Conv` and `ConvTranspose`, so checkpoints
go both ways; the arithmetic is `jaxgan.ops`'. With `dtype` bfloat16 a layer computes and returns
that; its parameters, and the statistics of batch norm, stay float32.
"""

import functools
import math
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.core.types import Array, Key
from jaxgan.devices.parallel import compute_whole_batch_size, take_part
from jaxgan.ops import conv, conv_transpose
from jaxgan.ops.depthwise import depthwise_conv
from jaxgan.ops.geometry import Padding

Dtype = Any  # any argument of `jnp.dtype`; None: the dtype of parameters and input

# The values of a setting. Nothing is cast for float32, so float64 stays float64.
DTYPES: Mapping[str, Dtype] = {"float32": None, "bfloat16": jnp.bfloat16}


def normal(mean: float, stddev: float) -> nn.initializers.Initializer:
    """Return a function that draws an array from N(mean, stddev); one program serves many sizes."""

    def draw(key: Key, shape: tuple[int, ...], dtype: Dtype = float) -> Array:
        with jax.disable_jit(False):  # see networks.state
            return _take(shape, _draw_normal(key, _choose_num(key, shape), mean, stddev, dtype))

    return draw


def uniform(limit: float | Array) -> nn.initializers.Initializer:
    """Return a function that draws an array from U(-limit, limit), with such a program."""

    def draw(key: Key, shape: tuple[int, ...], dtype: Dtype = float) -> Array:
        with jax.disable_jit(False):
            return _take(shape, _draw_uniform(key, _choose_num(key, shape), limit, dtype))

    return draw


def glorot_init(key: Key, shape: tuple[int, ...], dtype: Dtype = float) -> Array:
    """Draw a kernel [..., in, out] as in Glorot & Bengio 2010 (eq. 16), with such a program.

    It is the default of Keras, so most likely the paper uses it for GMD.
    """
    place = math.prod(shape[:-2])
    variance = jnp.asarray(2.0 / (place * (shape[-2] + shape[-1])), dtype)
    return uniform(jnp.sqrt(3 * variance))(key, shape, dtype)


def spread(stddev: float | Array) -> nn.initializers.Initializer:
    """Return a function that draws from N(0, stddev); one program serves all values of `stddev`."""

    def draw(key: Key, shape: tuple[int, ...], dtype: Dtype = float) -> Array:
        with jax.disable_jit(False):
            return _take(shape, _draw_spread(key, _choose_num(key, shape), stddev, dtype))

    return draw


def he_init(key: Key, shape: tuple[int, ...], dtype: Dtype = float) -> Array:
    """Draw a kernel [..., in, out] from N(0, 2 / (place * out)), by such a program.

    He et al. 2015, eq. 14: it keeps the variance of the gradients. The published networks use it.
    """
    return spread(math.sqrt(2.0 / (math.prod(shape[:-2]) * shape[-1])))(key, shape, dtype)


def _choose_num(key: Key, shape: tuple[int, ...]) -> int:
    """Return how many numbers to draw for an array; it takes the first of them.

    XLA needs a second to compile normal numbers for each size of array. A number depends only on
    the key and its position (`jax_threefry_partitionable`). So the numbers of a smaller array are
    the first of a larger one, and without tracing only a few sizes are compiled. A size is the
    smallest power of 8, at least 4,096, that holds the array.
    """
    num = math.prod(shape)
    if isinstance(key, jax.core.Tracer):
        return num
    return int(8 ** max(4, math.ceil((num - 1).bit_length() / 3)))


def _take(shape: tuple[int, ...], numbers: Array) -> Array:
    num = math.prod(shape)
    if isinstance(numbers, jax.core.Tracer):
        return numbers[:num].reshape(shape)
    return jnp.asarray(np.asarray(numbers)[:num].reshape(shape))  # numpy compiles nothing


@functools.partial(jax.jit, static_argnames=("num", "mean", "stddev", "dtype"))
def _draw_normal(key: Key, num: int, mean: float, stddev: float, dtype: Dtype) -> Array:
    numbers = jax.random.normal(key, (num,), dtype) * stddev
    return numbers + mean if mean else numbers


@functools.partial(jax.jit, static_argnames=("num", "dtype"))
def _draw_spread(key: Key, num: int, stddev: float | Array, dtype: Dtype) -> Array:
    return jax.random.normal(key, (num,), dtype) * stddev


@functools.partial(jax.jit, static_argnames=("num", "dtype"))
def _draw_uniform(key: Key, num: int, limit: float | Array, dtype: Dtype) -> Array:
    return jax.random.uniform(key, (num,), dtype, -1) * limit


# DCGAN, section 4: all weights are drawn from N(0, 0.02).
normal_init = normal(0.0, 0.02)
# Scales of batch norm from N(1, 0.02), as the DCGAN reference implementation draws them.
scale_init = normal(1.0, 0.02)


class Conv(nn.Module):
    """Convolution of images [batch, h, w, in] to [batch, h', w', `features`].

    `kernel_size` is the side of a square kernel, or (height, width).
    """

    features: int
    kernel_size: int | tuple[int, int]
    strides: int = 1
    padding: Padding = "VALID"
    use_bias: bool = False
    kernel_init: nn.initializers.Initializer = normal_init
    dtype: Dtype = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        size = self.kernel_size
        sides = (size, size) if isinstance(size, int) else size
        kernel = self.param("kernel", self.kernel_init, (*sides, x.shape[-1], self.features))
        x, kernel = nn.dtypes.promote_dtype(x, kernel, dtype=self.dtype)
        y = conv(x, kernel, strides=self.strides, padding=self.padding)
        if not self.use_bias:
            return y
        bias = self.param("bias", nn.initializers.zeros_init(), (self.features,))
        return y + bias.astype(y.dtype)


class DepthwiseConv(nn.Module):
    """Convolution of each feature by itself: images [batch, h, w, c] to [batch, h', w', c].

    The kernel is [size, size, 1, c], drawn as `he_init` draws the kernel of a single feature.
    Padding is 'SAME'.
    """

    size: int
    strides: int = 1
    dtype: Dtype = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        shape = (self.size, self.size, 1, x.shape[-1])
        kernel = self.param("kernel", spread(math.sqrt(2.0) / self.size), shape)
        x, kernel = nn.dtypes.promote_dtype(x, kernel, dtype=self.dtype)
        return depthwise_conv(x, kernel, strides=self.strides)


class ConvTranspose(nn.Module):
    """Square transposed convolution of images [batch, h, w, in] to [batch, h', w', `features`]."""

    features: int
    kernel_size: int
    strides: int = 1
    padding: Padding = "SAME"
    kernel_init: nn.initializers.Initializer = normal_init
    dtype: Dtype = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        shape = (self.kernel_size, self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape)
        x, kernel = nn.dtypes.promote_dtype(x, kernel, dtype=self.dtype)
        return conv_transpose(x, kernel, strides=self.strides, padding=self.padding)


# A 4x4 kernel with stride 2 halves an even image exactly when one pixel is padded on every side.
DownConv = functools.partial(Conv, kernel_size=4, strides=2, padding=((1, 1), (1, 1)))

# The adjoint of DownConv. linen's 'SAME' is what PyTorch calls padding=1 (with the kernel flipped).
UpConv = functools.partial(ConvTranspose, kernel_size=4, strides=2, padding="SAME")

# linen's momentum 0.9 is PyTorch's default of 0.1.
BatchNorm = functools.partial(nn.BatchNorm, momentum=0.9, epsilon=1e-5, scale_init=scale_init)


class ClassBatchNorm(nn.Module):
    """Batch norm with a scale and a bias for each class (de Vries et al. 2017).

    It takes features [batch, h, w, features] and labels [batch]. The statistics are those of the
    whole batch, also over the mapped axis `axis_name` if one is given.
    """

    num_classes: int
    use_running_average: bool
    axis_name: str | None = None
    dtype: Dtype = None

    @nn.compact
    def __call__(self, x: Array, labels: Array) -> Array:
        shape = (self.num_classes, x.shape[-1])
        scale = self.param("scale", scale_init, shape)
        bias = self.param("bias", nn.initializers.zeros_init(), shape)
        x = BatchNorm(
            use_running_average=self.use_running_average,
            axis_name=self.axis_name,
            dtype=self.dtype,
            use_scale=False,
            use_bias=False,
            name="norm",
        )(x)
        scale, bias = (table[labels][:, None, None, :].astype(x.dtype) for table in (scale, bias))
        return x * scale + bias


class Dropout(nn.Module):
    """Set features to 0 with the chance `rate` in training, and scale up the others.

    It takes features [batch, ...]. The key `dropout` and the position in the whole batch decide
    which features are 0. Every device over the mapped axis `axis_name` has a part of that batch.
    """

    rate: float
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        if not train or self.rate == 0.0 or self.is_initializing():
            return x
        num = compute_whole_batch_size(len(x), self.axis_name)
        key = self.make_rng("dropout")
        keeps = jax.random.bernoulli(key, 1.0 - self.rate, (num, *x.shape[1:]))
        return jnp.where(take_part(keeps, self.axis_name), x / (1.0 - self.rate), 0.0)
