"""A small family of classifiers: batch norm, dropout, and a head for training only."""

from dataclasses import dataclass
from typing import Literal

import flax.linen as nn

from jaxgan.classifiers.protocol import Classifier, ClassifierModule, FamilySettings, InputForm
from jaxgan.core.settings import check
from jaxgan.core.types import Array
from jaxgan.networks.layers import BatchNorm, DownConv, Dropout, glorot_init


class Toy(ClassifierModule):
    """Map images [batch, size, size, channels] to logits [batch, num_outputs]; `size` is even."""

    num_outputs: int
    rate: float
    axis_name: str | None = None

    def setup(self) -> None:
        self.conv = DownConv(4, kernel_init=glorot_init)
        self.norm = BatchNorm(axis_name=self.axis_name)
        self.early = nn.Dense(self.num_outputs, kernel_init=glorot_init)
        self.dropout = Dropout(self.rate, self.axis_name)
        self.output = nn.Dense(self.num_outputs, kernel_init=glorot_init)

    def extract_maps(self, images: Array, *, train: bool) -> tuple[Array, tuple[Array, ...]]:
        maps = nn.relu(self.norm(self.conv(images), use_running_average=not train))
        if not (train or self.is_initializing()):
            return maps, ()
        return maps, (self.early(maps.mean(axis=(1, 2))),)

    def classify_maps(self, maps: Array, *, train: bool) -> Array:
        return self.output(self.dropout(maps.reshape(len(maps), -1), train=train))


@dataclass(frozen=True, kw_only=True)
class ToySettings(FamilySettings):
    """The settings of `Toy`; `rate` is the share of the features that dropout sets to 0."""

    family: Literal["toy"] = "toy"
    rate: float

    def __post_init__(self) -> None:
        check("rate", self.rate, 0.0 <= self.rate < 1.0, "0 to below 1")

    def create(self, num_classes: int) -> Classifier:
        """Return the classifier, with one output per class."""
        return Classifier(
            lambda axis_name: Toy(num_classes, self.rate, axis_name),
            InputForm(self.image_size, self.channels),
            auxiliary_weight=0.3,
        )
