"""ResNet-18 and ResNet-50 (He et al. 2016), as torchvision builds them.

ResNet-50 is the form called v1.5: a block of three convolutions has its stride in the 3x3 one.
"""

from dataclasses import dataclass
from typing import Literal

import flax.linen as nn

from jaxgan.classifiers import blocks
from jaxgan.classifiers.blocks import Style, pad, scale_filters
from jaxgan.classifiers.protocol import Classifier, ClassifierModule, FamilySettings, InputForm
from jaxgan.classifiers.torch_names import TorchNames
from jaxgan.core.types import Array
from jaxgan.networks.layers import DTYPES
from jaxgan.ops.geometry import Padding

_FEATURES = (64, 128, 256, 512)
_NUM_BLOCKS = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3)}
_EXPANSION = 4  # of the last convolution in a block of three


class Block(nn.Module):
    """Add the result of two or three convolutions to the input; ReLU follows the sum.

    `features` are those of the first convolution. If shapes differ, a 1x1 convolution changes the
    input to the shape of the result.
    """

    style: Style
    features: int
    strides: int
    is_deep: bool

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        plan = self._plan()
        y = x
        for i, (features, size, strides, padding) in enumerate(plan, 1):
            conv = self.style.create_conv(
                features, size, strides=strides, padding=padding, name=f"conv{i}"
            )
            y = self.style.create_norm(f"bn{i}")(conv(y), use_running_average=not train)
            y = nn.relu(y) if i < len(plan) else y
        return nn.relu(y + self._shorten(x, y, train=train))

    def _plan(self) -> list[tuple[int, int, int, Padding]]:
        """Return features, kernel size, stride and padding of each convolution."""
        n, strides = self.features, self.strides
        if not self.is_deep:
            return [(n, 3, strides, pad(1)), (n, 3, 1, pad(1))]
        return [(n, 1, 1, pad(0)), (n, 3, strides, pad(1)), (n * _EXPANSION, 1, 1, pad(0))]

    def _shorten(self, x: Array, y: Array, *, train: bool) -> Array:
        if x.shape == y.shape:
            return x
        conv = self.style.create_conv(y.shape[-1], 1, strides=self.strides, name="downsample_0")
        return self.style.create_norm("downsample_1")(conv(x), use_running_average=not train)


class Resnet(ClassifierModule):
    """Map images [batch, size, size, 3], of any size, to logits [batch, num_outputs].

    `depth` is 18 or 50: 11,689,512 or 25,557,032 parameters for 1,000 outputs.
    """

    num_outputs: int
    depth: int = 18
    width: float = 1.0
    style: Style = Style()

    def setup(self) -> None:
        stem = scale_filters(_FEATURES[0], self.width)
        self.conv = self.style.create_conv(stem, 7, strides=2, padding=pad(3), name="conv1")
        self.norm = self.style.create_norm("bn1")
        self.blocks = [
            Block(
                self.style,
                scale_filters(_FEATURES[stage], self.width),
                strides=2 if stage and i == 0 else 1,
                is_deep=self.depth == 50,
                name=name,
            )
            for stage, names in enumerate(_name_blocks(self.depth))
            for i, name in enumerate(names)
        ]
        self.output = self.style.create_dense(self.num_outputs, "fc")

    def extract_early(self, images: Array, *, train: bool) -> tuple[Array, tuple[Array, ...]]:
        x = nn.relu(self.norm(self.conv(images), use_running_average=not train))
        x = blocks.max_pool(x, 3, 2, padding=1)
        for block in self.blocks[: -self._num_late]:
            x = block(x, train=train)
        return x, ()

    def extract_late(self, maps: Array, *, train: bool) -> Array:
        for block in self.blocks[-self._num_late :]:
            maps = block(maps, train=train)
        return maps

    @property
    def _num_late(self) -> int:
        """The number of blocks in the last stage."""
        return _NUM_BLOCKS[self.depth][-1]

    def classify_maps(self, maps: Array, *, train: bool) -> Array:
        del train  # without dropout both are the same
        return blocks.to_logits(self.output(maps.mean(axis=(1, 2))))


def _name_blocks(depth: int) -> list[tuple[str, ...]]:
    """Return the names of the blocks, one row for each stage."""
    return [
        tuple(f"layer{stage}_{i}" for i in range(num))
        for stage, num in enumerate(_NUM_BLOCKS[depth], 1)
    ]


@dataclass(frozen=True, kw_only=True)
class ResnetSettings(FamilySettings):
    """The settings of a ResNet: see configs/classifier.py for what each field means."""

    family: Literal["resnet"] = "resnet"
    depth: Literal[18, 50]
    width: float
    dtype: str

    def __post_init__(self) -> None:
        blocks.check_common(self.image_size, 1, self.channels, self.width, self.dtype)

    @property
    def title(self) -> str:
        """The name of the network for reports."""
        return f"ResNet-{self.depth}"

    def create(self, num_classes: int) -> Classifier:
        """Return a ResNet with an output for each class."""
        dtype = DTYPES[self.dtype]
        return Classifier(
            lambda axis_name: Resnet(num_classes, self.depth, self.width, Style(axis_name, dtype)),
            InputForm(self.image_size, self.channels, blocks.scale_by_channel),
            stages=(("conv1", "bn1"), *_name_blocks(self.depth)),
            torch_names=TorchNames(_rename, head=("fc",)),
        )


def _rename(path: str) -> str:
    return path.replace("_", ".").replace("/", ".")
