"""VGG16 (Simonyan & Zisserman 2015, configuration D), as torchvision builds it."""

from dataclasses import dataclass
from typing import Literal

import flax.linen as nn

from jaxgan.classifiers import blocks
from jaxgan.classifiers.blocks import Style
from jaxgan.classifiers.protocol import Classifier, ClassifierModule, FamilySettings, InputForm
from jaxgan.classifiers.torch_names import TorchNames
from jaxgan.core.types import Array
from jaxgan.networks.layers import DTYPES, Dropout
from jaxgan.ops import max_pool_2x2

_BLOCKS = ((64, 64), (128, 128), (256,) * 3, (512,) * 3, (512,) * 3)  # a pooling after each
_HIDDEN = 4096
_MAPS = 7  # the dense layers read maps of 7 x 7 pixels, for any image size


class Vgg16(ClassifierModule):
    """Map images [batch, size, size, 3], of 32 pixels or more, to logits [batch, num_outputs].

    138,357,544 parameters for 1,000 outputs with the printed head of two dense layers. The head
    "average" is one dense layer on the means of the maps: 14,716,227 for three outputs. `norm`
    puts batch norm after every convolution (torchvision's vgg16_bn).
    """

    num_outputs: int
    width: float = 1.0
    head: str = "dense"
    norm: bool = False
    dropout: float = 0.5
    style: Style = Style()

    def setup(self) -> None:
        self.convs = [
            [
                self.style.create_conv(
                    blocks.scale_filters(features, self.width),
                    3,
                    padding="SAME",
                    use_bias=True,
                    name=name,
                )
                for name, features in zip(names, _BLOCKS[block], strict=True)
            ]
            for block, names in enumerate(_name_convs(self.norm))
        ]
        self.norms = [
            [self.style.create_norm(_name_norm(name)) if self.norm else None for name in names]
            for names in _name_convs(self.norm)
        ]
        hidden = blocks.scale_filters(_HIDDEN, self.width)
        names = ("classifier_0", "classifier_3") if self.head == "dense" else ()
        self.hidden = [self.style.create_dense(hidden, name) for name in names]
        self.dropouts = [Dropout(self.dropout, self.style.axis_name) for _ in names]
        output = "classifier_6" if self.head == "dense" else "head"
        self.output = self.style.create_dense(self.num_outputs, output)

    def extract_early(self, images: Array, *, train: bool) -> tuple[Array, tuple[Array, ...]]:
        x = images
        for block in range(len(_BLOCKS) - 1):
            x = self._apply_block(block, x, train=train)
        return x, ()

    def extract_late(self, maps: Array, *, train: bool) -> Array:
        return self._apply_block(len(_BLOCKS) - 1, maps, train=train)

    def _apply_block(self, block: int, x: Array, *, train: bool) -> Array:
        for conv, norm in zip(self.convs[block], self.norms[block], strict=True):
            x = conv(x)
            x = nn.relu(x if norm is None else norm(x, use_running_average=not train))
        return max_pool_2x2(x)

    def classify_maps(self, maps: Array, *, train: bool) -> Array:
        if self.head == "average":
            return blocks.to_logits(self.output(maps.mean(axis=(1, 2))))
        x = blocks.adaptive_average_pool(maps, _MAPS).reshape(maps.shape[0], -1)
        for dense, dropout in zip(self.hidden, self.dropouts, strict=True):
            x = dropout(nn.relu(dense(x)), train=train)
        return blocks.to_logits(self.output(x))


def _name_convs(norm: bool) -> list[list[str]]:
    """Name the convolutions by their places in torchvision's list, which has all layers."""
    names, place = [], 0
    for block in _BLOCKS:
        names.append([f"features_{place + i * (3 if norm else 2)}" for i in range(len(block))])
        place += len(block) * (3 if norm else 2) + 1
    return names


def _name_norm(conv: str) -> str:
    kind, place = conv.split("_")
    return f"{kind}_{int(place) + 1}"


@dataclass(frozen=True, kw_only=True)
class VggSettings(FamilySettings):
    """The settings of VGG16: see configs/classifier.py for what each field means."""

    family: Literal["vgg16"] = "vgg16"
    head: Literal["dense", "average"]
    norm: bool
    width: float
    dropout: float
    dtype: str

    def __post_init__(self) -> None:
        blocks.check_common(self.image_size, 32, self.channels, self.width, self.dtype)
        blocks.check_share("dropout", self.dropout)

    @property
    def title(self) -> str:
        """The name of the network for reports."""
        return "VGG16"

    def create(self, num_classes: int) -> Classifier:
        """Return VGG16 with an output for each class."""
        dtype = DTYPES[self.dtype]
        return Classifier(
            lambda axis_name: Vgg16(
                num_classes,
                self.width,
                self.head,
                self.norm,
                self.dropout,
                Style(axis_name, dtype),
            ),
            InputForm(self.image_size, self.channels, blocks.scale_by_channel),
            stages=self._list_stages(),
            torch_names=self._name_in_torch(),
        )

    def _list_stages(self) -> tuple[tuple[str, ...], ...]:
        return tuple(
            (*names, *(map(_name_norm, names) if self.norm else ()))
            for names in _name_convs(self.norm)
        )

    def _name_in_torch(self) -> TorchNames:
        """Return torchvision's names; with the other head, its dense layers stay in the file."""
        if self.head == "average":
            return TorchNames(_rename, head=("head",), auxiliary=("classifier",))
        channels = blocks.scale_filters(_BLOCKS[-1][-1], self.width)
        maps = {"classifier.0": (channels, _MAPS, _MAPS)}
        return TorchNames(_rename, head=("classifier.6",), maps=maps)


def _rename(path: str) -> str:
    return path.replace("_", ".")
