"""EfficientNet-Lite as a fixed feature network: its maps at strides 4, 8, 16 and 32.

Nothing in it learns, and batch norm uses its running statistics. So each norm is merged into the
convolution before it. That, and the gradient of `phased_depthwise_conv`, make it three times as
fast on a CPU as the network that learns.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxgan.classifiers.efficientnet import create_published, plan_stages
from jaxgan.classifiers.weight_packages import IMAGENET, INSTALL, is_packaged
from jaxgan.classifiers.weights import create_shapes, read_start
from jaxgan.core.errors import UserError
from jaxgan.core.types import Array, Params
from jaxgan.ops import conv
from jaxgan.ops.depthwise import phased_depthwise_conv

RANDOM = "random"
_EPSILON = 1e-3  # of its batch norm
_SEEN_STAGES = (1, 2, 4, 6)  # of `plan_stages`: the last ones of strides 4, 8, 16 and 32


class Layer(NamedTuple):
    """A convolution with its batch norm: `kernel` as in `Conv`, `bias` [features]."""

    kernel: np.ndarray
    bias: np.ndarray


class Block(NamedTuple):
    """The layers of a block; the kernels of `expand` and `project` are matrices [in, out]."""

    expand: Layer | None
    depthwise: Layer
    project: Layer


class Weights(NamedTuple):
    """All layers; `record` says in the record of a run where they are from."""

    stem: Layer
    blocks: tuple[Block, ...]
    record: Mapping[str, Any]


@dataclass(frozen=True)
class FeatureNetwork:
    """EfficientNet-Lite `variant` with the weights of ImageNet, or with random ones.

    Random weights need no package. They are the same in every run.
    """

    variant: Literal[0, 1, 2]
    weights: Literal["imagenet", "random"]

    @property
    def num_features(self) -> tuple[int, ...]:
        """The number of features of each map."""
        plan = plan_stages(self.variant, 1.0)
        return tuple(plan[stage][0].features for stage in _SEEN_STAGES)

    def load(self) -> Weights:
        """Return the weights, read once. Raises `UserError` if their package is not installed."""
        return _load(self.variant, self.weights)

    def compute_maps(self, images: Array) -> tuple[Array, ...]:
        """Return the maps [batch, size / stride, size / stride, features] of all four strides.

        `images` are float [batch, size, size, 1 or 3] around [-1, 1]; the size is a multiple of 32.
        """
        weights = self.load()
        kernel, bias = weights.stem
        if images.shape[-1] == 1:  # three equal channels
            kernel = kernel.sum(axis=2, keepdims=True)
        x = images * (127.5 / 128.0) + 0.5 / 128.0  # (bytes - 127) / 128
        x = _relu6(conv(x, jnp.asarray(kernel), strides=2, padding="SAME") + bias)
        maps, rest = [], iter(weights.blocks)
        for number, stage in enumerate(plan_stages(self.variant, 1.0)):
            for shape in stage:
                x = _apply(next(rest), x, shape.strides)
            if number in _SEEN_STAGES:
                maps.append(x)
        return tuple(maps)


# Traced once for equal blocks: there are a hundred operations in one.
@functools.partial(jax.jit, static_argnames="strides")
def _apply(block: Block, x: Array, strides: int) -> Array:
    block = jax.tree.map(lambda leaf: jnp.asarray(leaf, x.dtype), block)
    y = x
    if block.expand is not None:
        y = _relu6(y @ block.expand.kernel + block.expand.bias)
    kernel, bias = block.depthwise
    y = _relu6(phased_depthwise_conv(y, kernel, strides) + bias)
    y = y @ block.project.kernel + block.project.bias
    return x + y if strides == 1 and x.shape == y.shape else y


def _relu6(x: Array) -> Array:
    return jnp.clip(x, 0.0, 6.0)


@functools.cache
def _load(variant: Literal[0, 1, 2], weights: str) -> Weights:
    network = create_published(variant, image_size=32)  # the weights fit every size
    shapes = create_shapes(network)
    if weights == RANDOM:
        return _merge(_draw(shapes), {"file": RANDOM})
    if not is_packaged(network):
        raise UserError(
            f"config.gan.eye_weights is {IMAGENET!r}, which needs the package {network.package}: "
            f"{INSTALL}"
        )
    start = read_start(IMAGENET, network)
    assert start is not None
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    flat = {**flatten_dict(zeros), **start.arrays}
    record = {"file": start.file.name, "sha256": start.file.sha256}
    return _merge(unflatten_dict(flat), record)


def _draw(shapes: Params) -> Params:
    """Return kernels from N(0, 2 / inputs), and norms that change nothing."""
    rng, ones = np.random.default_rng(0), ("scale", "var")

    def draw(path: tuple[str, ...], shape: tuple[int, ...]) -> np.ndarray:
        if path[-1] != "kernel":
            return np.full(shape, path[-1] in ones, np.float32)
        return rng.normal(0.0, (2.0 / np.prod(shape[:-1])) ** 0.5, shape).astype(np.float32)

    return unflatten_dict({path: draw(path, a.shape) for path, a in flatten_dict(shapes).items()})


def _merge(variables: Params, record: Mapping[str, Any]) -> Weights:
    """Merge every batch norm into the convolution before it."""
    params, stats = variables["params"], variables["batch_stats"]

    def merge(conv: Params, norm: Params, seen: Params) -> Layer:
        scale = np.asarray(norm["scale"]) / np.sqrt(np.asarray(seen["var"]) + _EPSILON)
        bias = np.asarray(norm["bias"]) - np.asarray(seen["mean"]) * scale
        return Layer(np.asarray(conv["kernel"]) * scale, bias)

    def merge_block(name: str) -> Block:
        def merge_layer(layer: str, norm: str) -> Layer:
            return merge(params[name][layer], params[name][norm], stats[name][norm])

        expand = merge_layer("expand_conv", "bn0") if "expand_conv" in params[name] else None
        project = merge_layer("project_conv", "bn2")
        return Block(
            None if expand is None else expand._replace(kernel=expand.kernel[0, 0]),
            merge_layer("depthwise_conv", "bn1"),
            project._replace(kernel=project.kernel[0, 0]),
        )

    num = sum(name.startswith("blocks_") for name in params)
    blocks = tuple(merge_block(f"blocks_{i}") for i in range(num))
    return Weights(merge(params["conv_stem"], params["bn0"], stats["bn0"]), blocks, record)
