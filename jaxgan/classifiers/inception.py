"""Inception v3 (Szegedy et al. 2016), as torchvision builds it.

`fid_inception` has the form of 2015-12-05, whose pools differ.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import flax.linen as nn
import jax.numpy as jnp

from jaxgan.classifiers import blocks
from jaxgan.classifiers.blocks import ConvNorm, Style, max_pool, pad, scale_filters
from jaxgan.classifiers.protocol import Classifier, ClassifierModule, FamilySettings, InputForm
from jaxgan.classifiers.torch_names import TorchNames
from jaxgan.core.settings import check
from jaxgan.core.types import Array
from jaxgan.networks.layers import DTYPES, Dropout, spread
from jaxgan.ops.geometry import Padding

_AUXILIARY_SIDE = 299  # of the smallest image whose maps are large enough for the auxiliary head
_AUXILIARY_WEIGHT = 0.4

Pool = Callable[[Array], Array]  # keeps the size of its maps


class Layer(NamedTuple):
    """A convolution in a block, with its name in torchvision."""

    name: str
    features: int
    size: int | tuple[int, int] = 1
    padding: Padding = "VALID"
    strides: int = 1


class Branch(NamedTuple):
    """Layers one after the other, then one or two parallel ones at the end."""

    layers: tuple[Layer, ...]
    ends: tuple[Layer, ...]


class Mixed(NamedTuple):
    """A block: its branches, and the features behind its average pooling (0: it halves)."""

    branches: tuple[Branch, ...]
    pooled: int = 0


_STEM = (
    Layer("Conv2d_1a_3x3", 32, 3, strides=2),
    Layer("Conv2d_2a_3x3", 32, 3),
    Layer("Conv2d_2b_3x3", 64, 3, pad(1)),
    None,  # a pooling
    Layer("Conv2d_3b_1x1", 80),
    Layer("Conv2d_4a_3x3", 192, 3),
    None,
)


def rename(path: str) -> str:
    """Return PyTorch's name of the layer with our `path`."""
    return path.replace("/", ".")


def _chain(*layers: Layer) -> Branch:
    return Branch(layers[:-1], layers[-1:])


def _row(name: str, features: int, size: int) -> Layer:
    return Layer(name, features, (1, size), pad(0, size // 2))


def _column(name: str, features: int, size: int) -> Layer:
    return Layer(name, features, (size, 1), pad(size // 2, 0))


def _plan_a(pooled: int) -> Mixed:
    """Return the block of figure 5, at the largest maps."""
    five = _chain(Layer("branch5x5_1", 48), Layer("branch5x5_2", 64, 5, pad(2)))
    double = _chain(
        Layer("branch3x3dbl_1", 64),
        Layer("branch3x3dbl_2", 96, 3, pad(1)),
        Layer("branch3x3dbl_3", 96, 3, pad(1)),
    )
    return Mixed((_chain(Layer("branch1x1", 64)), five, double), pooled)


def _plan_b() -> Mixed:
    """Return the first block that halves the maps (figure 10)."""
    three = _chain(Layer("branch3x3", 384, 3, strides=2))
    double = _chain(
        Layer("branch3x3dbl_1", 64),
        Layer("branch3x3dbl_2", 96, 3, pad(1)),
        Layer("branch3x3dbl_3", 96, 3, strides=2),
    )
    return Mixed((three, double))


def _plan_c(inner: int) -> Mixed:
    """Return the block of figure 6: rows and columns of seven in turn, `inner` features within."""
    seven = _chain(
        Layer("branch7x7_1", inner),
        _row("branch7x7_2", inner, 7),
        _column("branch7x7_3", 192, 7),
    )
    double = _chain(
        Layer("branch7x7dbl_1", inner),
        _column("branch7x7dbl_2", inner, 7),
        _row("branch7x7dbl_3", inner, 7),
        _column("branch7x7dbl_4", inner, 7),
        _row("branch7x7dbl_5", 192, 7),
    )
    return Mixed((_chain(Layer("branch1x1", 192)), seven, double), pooled=192)


def _plan_d() -> Mixed:
    """Return the second block that halves the maps."""
    three = _chain(Layer("branch3x3_1", 192), Layer("branch3x3_2", 320, 3, strides=2))
    seven = _chain(
        Layer("branch7x7x3_1", 192),
        _row("branch7x7x3_2", 192, 7),
        _column("branch7x7x3_3", 192, 7),
        Layer("branch7x7x3_4", 192, 3, strides=2),
    )
    return Mixed((three, seven))


def _plan_e() -> Mixed:
    """Return the block of figure 7: two of its branches divide again at their ends."""
    three, double = (
        (_row(f"{name}a", 384, 3), _column(f"{name}b", 384, 3))
        for name in ("branch3x3_2", "branch3x3dbl_3")
    )
    inner = (Layer("branch3x3dbl_1", 448), Layer("branch3x3dbl_2", 384, 3, pad(1)))
    branches = (
        _chain(Layer("branch1x1", 320)),
        Branch((Layer("branch3x3_1", 384),), three),
        Branch(inner, double),
    )
    return Mixed(branches, pooled=192)


_MIXED = {
    "Mixed_5b": _plan_a(32),
    "Mixed_5c": _plan_a(64),
    "Mixed_5d": _plan_a(64),
    "Mixed_6a": _plan_b(),
    "Mixed_6b": _plan_c(128),
    "Mixed_6c": _plan_c(160),
    "Mixed_6d": _plan_c(160),
    "Mixed_6e": _plan_c(192),
    "Mixed_7a": _plan_d(),
    "Mixed_7b": _plan_e(),
    "Mixed_7c": _plan_e(),
}
_AUXILIARY_BLOCK = "Mixed_6e"  # the auxiliary head reads its maps


def average_with_padding(x: Array) -> Array:
    """Average windows of 3 x 3 pixels; the zeros around the maps count."""
    return nn.avg_pool(x, (3, 3), (1, 1), pad(1))


def _create_layer(layer: Layer, style: Style, width: float) -> ConvNorm:
    features = scale_filters(layer.features, width)
    return ConvNorm(style, features, layer.size, layer.strides, layer.padding, name=layer.name)


class MixedBlock(nn.Module):
    """The parallel branches of a plan."""

    style: Style
    plan: Mixed
    width: float
    pool: Pool = average_with_padding

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        results = [y for branch in self.plan.branches for y in self._follow(branch, x, train=train)]
        if not self.plan.pooled:
            return jnp.concatenate([*results, max_pool(x, 3, 2)], axis=-1)
        last = _create_layer(Layer("branch_pool", self.plan.pooled), self.style, self.width)
        return jnp.concatenate([*results, last(self.pool(x), train=train)], axis=-1)

    def _follow(self, branch: Branch, x: Array, *, train: bool) -> Iterable[Array]:
        """Return the one or two results of a branch."""
        for layer in branch.layers:
            x = self._apply(layer, x, train=train)
        return [self._apply(layer, x, train=train) for layer in branch.ends]

    def _apply(self, layer: Layer, x: Array, *, train: bool) -> Array:
        return _create_layer(layer, self.style, self.width)(x, train=train)


class AuxiliaryHead(nn.Module):
    """Map maps [batch, 17, 17, features] or larger to logits [batch, num_outputs]."""

    style: Style
    num_outputs: int
    width: float

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        x = nn.avg_pool(x, (5, 5), (3, 3))
        for layer in (Layer("conv0", 128), Layer("conv1", 768, 5)):
            x = _create_layer(layer, self.style, self.width)(x, train=train)
        output = self.style.create_dense(self.num_outputs, "fc")
        return blocks.to_logits(output(x.mean(axis=(1, 2))))


class InceptionV3(ClassifierModule):
    """Map images [batch, size, size, 3], of 75 pixels or more, to logits [batch, num_outputs].

    23,834,568 parameters for 1,000 outputs, 27,161,264 with the auxiliary head, which needs
    images of 299 pixels.
    """

    num_outputs: int
    width: float = 1.0
    auxiliary: bool = False
    dropout: float = 0.5
    style: Style = Style(epsilon=1e-3)

    def setup(self) -> None:
        self.stem = [layer and _create_layer(layer, self.style, self.width) for layer in _STEM]
        self.mixed = {
            name: MixedBlock(self.style, plan, self.width, self.choose_pool(name), name=name)
            for name, plan in _MIXED.items()
        }
        self.dropping = Dropout(self.dropout, self.style.axis_name)
        self.output = self.style.create_dense(self.num_outputs, "fc")
        if self.auxiliary:
            self.head = AuxiliaryHead(self.style, self.num_outputs, self.width, name="AuxLogits")

    def choose_pool(self, name: str) -> Pool:
        """Return the pool in front of the last branch of the block `name`."""
        del name
        return average_with_padding

    def extract_early(self, images: Array, *, train: bool) -> tuple[Array, tuple[Array, ...]]:
        x, auxiliary = images, []
        for layer in self.stem:
            x = max_pool(x, 3, 2) if layer is None else layer(x, train=train)
        for name, block in self._list_blocks(is_last_stage=False):
            x = block(x, train=train)
            if self.auxiliary and name == _AUXILIARY_BLOCK and (train or self.is_initializing()):
                auxiliary.append(self.head(x, train=train))
        return x, tuple(auxiliary)

    def extract_late(self, maps: Array, *, train: bool) -> Array:
        for _, block in self._list_blocks(is_last_stage=True):
            maps = block(maps, train=train)
        return maps

    def _list_blocks(self, *, is_last_stage: bool) -> list[tuple[str, MixedBlock]]:
        """Return the blocks of the last stage, or all others, with their names."""
        return [pair for pair in self.mixed.items() if (pair[0][6] == "7") is is_last_stage]

    def classify_maps(self, maps: Array, *, train: bool) -> Array:
        features = self.dropping(maps.mean(axis=(1, 2)), train=train)
        return blocks.to_logits(self.output(features))


@dataclass(frozen=True, kw_only=True)
class InceptionSettings(FamilySettings):
    """The settings of Inception v3: see configs/classifier.py for what each field means."""

    family: Literal["inception_v3"] = "inception_v3"
    auxiliary: bool
    width: float
    dropout: float
    dtype: str

    def __post_init__(self) -> None:
        blocks.check_common(self.image_size, 75, self.channels, self.width, self.dtype)
        blocks.check_share("dropout", self.dropout)
        good = not self.auxiliary or self.image_size >= _AUXILIARY_SIDE
        expected = f"False for images of fewer than {_AUXILIARY_SIDE} pixels a side"
        check("auxiliary", self.auxiliary, good, expected)

    @property
    def title(self) -> str:
        """The name of the network for reports."""
        return "Inception v3"

    def create(self, num_classes: int) -> Classifier:
        """Return Inception v3 with an output for each class."""
        return Classifier(
            lambda axis_name: InceptionV3(
                num_classes,
                self.width,
                self.auxiliary,
                self.dropout,
                Style(axis_name, DTYPES[self.dtype], epsilon=1e-3, kernel_init=spread(0.1)),
            ),
            InputForm(self.image_size, self.channels, blocks.scale_to_unit_color),
            auxiliary_weight=_AUXILIARY_WEIGHT if self.auxiliary else 0.0,
            stages=(
                tuple(layer.name for layer in _STEM if layer),
                *(tuple(name for name in _MIXED if name[6] == stage) for stage in "567"),
            ),
            torch_names=TorchNames(
                rename,
                head=("fc", "AuxLogits.fc"),
                auxiliary=("AuxLogits",),
            ),
        )
