"""GoogLeNet (Szegedy et al. 2015): as torchvision builds it, or as the paper prints it.

torchvision's form has batch norm, and 3x3 convolutions in place of the paper's 5x5, as the weights
that it took from TensorFlow. Published weights fit only that form.
"""

import functools
from dataclasses import dataclass
from typing import Literal

import flax.linen as nn
import jax.numpy as jnp
from jax import lax

from jaxgan.classifiers import blocks
from jaxgan.classifiers.blocks import ConvNorm, Style, max_pool, scale_filters
from jaxgan.classifiers.protocol import Classifier, ClassifierModule, FamilySettings, InputForm
from jaxgan.classifiers.torch_names import TorchNames
from jaxgan.core.types import Array
from jaxgan.networks.layers import DTYPES, Dropout, glorot_init, spread

_STEM = {"conv1": (64, 7), "conv2": (64, 1), "conv3": (192, 3)}  # features, kernel size
# Features: 1x1; 3x3 and the 1x1 before it; 5x5 and the 1x1 before it; 1x1 behind a pooling.
_INCEPTION = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
_AUXILIARY = {"4a": "aux1", "4d": "aux2"}  # the head that reads the maps of a block
_AUXILIARY_FEATURES, _AUXILIARY_HIDDEN, _AUXILIARY_SIDE = 128, 1024, 4
_AUXILIARY_WEIGHT = 0.3  # section 5
_AUXILIARY_DROPOUT = 0.7
_LEAST_SIDE, _LEAST_SIDE_OF_PAPER = 15, 31  # so that the last blocks see a pixel


class Inception(nn.Module):
    """Four parallel branches; `paper` is the form without batch norm, with 5x5."""

    style: Style
    features: tuple[int, ...]
    paper: bool

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        conv = functools.partial(ConvNorm, self.style, padding="SAME", norm=not self.paper)
        one, reduce3, three, reduce5, five, pooled = self.features
        large = 5 if self.paper else 3
        branches = (
            (conv(one, 1, name="branch1"),),
            (conv(reduce3, 1, name="branch2_0"), conv(three, 3, name="branch2_1")),
            (conv(reduce5, 1, name="branch3_0"), conv(five, large, name="branch3_1")),
            (conv(pooled, 1, name="branch4_1"),),
        )
        inputs = (x, x, x, max_pool(x, 3, 1, padding=1))
        results = []
        for y, branch in zip(inputs, branches, strict=True):
            for layer in branch:
                y = layer(y, train=train)
            results.append(y)
        return jnp.concatenate(results, axis=-1)


class AuxiliaryHead(nn.Module):
    """Map maps in the middle of the network to logits [batch, num_outputs]."""

    style: Style
    num_outputs: int
    width: float
    dropout: float
    norm: bool

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        x = blocks.adaptive_average_pool(x, _AUXILIARY_SIDE)
        features = scale_filters(_AUXILIARY_FEATURES, self.width)
        x = ConvNorm(self.style, features, 1, norm=self.norm, name="conv")(x, train=train)
        hidden = scale_filters(_AUXILIARY_HIDDEN, self.width)
        x = nn.relu(self.style.create_dense(hidden, "fc1")(x.reshape(x.shape[0], -1)))
        x = Dropout(self.dropout, self.style.axis_name)(x, train=train)
        return blocks.to_logits(self.style.create_dense(self.num_outputs, "fc2")(x))


class Googlenet(ClassifierModule):
    """Map images [batch, size, size, 3] to logits [batch, num_outputs].

    Images have 15 pixels or more, 31 with `paper`: its last pooling has larger windows.

    6,624,904 parameters for 1,000 outputs, 13,004,888 with both auxiliary heads. `paper` has 5x5
    convolutions and biases, and normalises over neighbouring features: 6,998,552 parameters.
    """

    num_outputs: int
    width: float = 1.0
    paper: bool = False
    auxiliary: bool = True
    dropout: float = 0.2
    auxiliary_dropout: float = _AUXILIARY_DROPOUT
    style: Style = Style(epsilon=1e-3)

    def setup(self) -> None:
        self.stem = {
            name: ConvNorm(
                self.style,
                scale_filters(features, self.width),
                size,
                strides=2 if name == "conv1" else 1,
                padding=blocks.pad(size // 2),
                norm=not self.paper,
                name=name,
            )
            for name, (features, size) in _STEM.items()
        }
        self.inception = {
            name: Inception(
                self.style,
                tuple(scale_filters(num, self.width) for num in features),
                self.paper,
                name=f"inception{name}",
            )
            for name, features in _INCEPTION.items()
        }
        names = _AUXILIARY.items() if self.auxiliary else ()
        self.heads = {block: self._create_head(name) for block, name in names}
        self.dropping = Dropout(self.dropout, self.style.axis_name)
        self.output = self.style.create_dense(self.num_outputs, "fc")

    def _create_head(self, name: str) -> AuxiliaryHead:
        return AuxiliaryHead(
            self.style,
            self.num_outputs,
            self.width,
            self.auxiliary_dropout,
            not self.paper,
            name=name,
        )

    def extract_early(self, images: Array, *, train: bool) -> tuple[Array, tuple[Array, ...]]:
        x = self._begin(images, train=train)
        auxiliary = []
        for name, block in self._list_blocks(is_last_stage=False):
            if name == "4a":
                x = max_pool(x, 3, 2, ceil=True)
            x = block(x, train=train)
            if name in self.heads and (train or self.is_initializing()):
                auxiliary.append(self.heads[name](x, train=train))
        return x, tuple(auxiliary)

    def extract_late(self, maps: Array, *, train: bool) -> Array:
        x = max_pool(maps, 3 if self.paper else 2, 2, ceil=True)
        for _, block in self._list_blocks(is_last_stage=True):
            x = block(x, train=train)
        return x

    def _list_blocks(self, *, is_last_stage: bool) -> list[tuple[str, Inception]]:
        """Return the blocks of the last stage, or all others, with their names."""
        return [pair for pair in self.inception.items() if (pair[0][0] == "5") is is_last_stage]

    def _begin(self, images: Array, *, train: bool) -> Array:
        """Return the maps that the first block reads."""
        normalise = normalise_over_features if self.paper else lambda x: x
        x = max_pool(self.stem["conv1"](images, train=train), 3, 2, ceil=True)
        x = self.stem["conv2"](normalise(x), train=train)
        return max_pool(normalise(self.stem["conv3"](x, train=train)), 3, 2, ceil=True)

    def classify_maps(self, maps: Array, *, train: bool) -> Array:
        features = self.dropping(maps.mean(axis=(1, 2)), train=train)
        return blocks.to_logits(self.output(features))


def normalise_over_features(x: Array) -> Array:
    """Divide [..., features] by (1 + 1e-4 m)^0.75, m the mean square of five neighbours.

    Krizhevsky et al. 2012, section 3.3, as Caffe computes it: neighbours that are not there count
    as 0.
    """
    window, pads = (1,) * (x.ndim - 1) + (5,), [(0, 0)] * (x.ndim - 1) + [(2, 2)]
    total = lax.reduce_window(jnp.square(x), 0.0, lax.add, window, (1,) * x.ndim, pads)
    return x / (1.0 + 1e-4 * total / 5) ** 0.75


@dataclass(frozen=True, kw_only=True)
class GooglenetSettings(FamilySettings):
    """The settings of GoogLeNet: see configs/classifier.py for what each field means."""

    family: Literal["googlenet"] = "googlenet"
    paper: bool
    auxiliary: bool
    width: float
    dropout: float
    dtype: str

    def __post_init__(self) -> None:
        least = _LEAST_SIDE_OF_PAPER if self.paper else _LEAST_SIDE
        blocks.check_common(self.image_size, least, self.channels, self.width, self.dtype)
        blocks.check_share("dropout", self.dropout)

    @property
    def title(self) -> str:
        """The name of the network for reports."""
        return "GoogLeNet"

    def create(self, num_classes: int) -> Classifier:
        """Return GoogLeNet with an output for each class."""
        return Classifier(
            lambda axis_name: self._create_module(num_classes, axis_name),
            InputForm(self.image_size, self.channels, blocks.scale_to_unit_color),
            auxiliary_weight=_AUXILIARY_WEIGHT if self.auxiliary else 0.0,
            stages=(
                tuple(_STEM),
                *(
                    tuple(f"inception{name}" for name in _INCEPTION if name[0] == stage)
                    for stage in "345"
                ),
            ),
            torch_names=None if self.paper else self._name_in_torch(),
        )

    def _create_module(self, num_classes: int, axis_name: str | None) -> Googlenet:
        # torchvision draws from N(0, 0.01); without batch norm the signal would vanish.
        init = glorot_init if self.paper else spread(0.01)
        style = Style(axis_name, DTYPES[self.dtype], epsilon=1e-3, kernel_init=init)
        return Googlenet(
            num_classes, self.width, self.paper, self.auxiliary, self.dropout, style=style
        )

    def _name_in_torch(self) -> TorchNames:
        channels = scale_filters(_AUXILIARY_FEATURES, self.width)
        maps = (channels, _AUXILIARY_SIDE, _AUXILIARY_SIDE)
        heads = tuple(_AUXILIARY.values())
        return TorchNames(
            _rename,
            head=("fc", *(f"{name}.fc2" for name in heads)),
            maps={f"{name}.fc1": maps for name in heads},
            auxiliary=heads,
        )


def _rename(path: str) -> str:
    return path.replace("_", ".").replace("/", ".")
