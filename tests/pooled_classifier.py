"""A small network of convolutions whose head is linear in the means of its maps."""

import flax.linen as nn

from jaxgan.classifiers.protocol import Classifier, ClassifierModule, InputForm
from jaxgan.core.types import Array
from jaxgan.networks.layers import BatchNorm


class Pooled(ClassifierModule):
    """Map images [batch, size, size, channels] to two logits; the maps have a quarter of `size`."""

    widths: tuple[int, ...] = (16, 24, 32)

    def setup(self) -> None:
        strides = (2, 2, 1)
        self.convs = [
            nn.Conv(width, (3, 3), (stride, stride), use_bias=False)
            for width, stride in zip(self.widths, strides, strict=True)
        ]
        self.norms = [BatchNorm() for _ in self.widths]
        self.output = nn.Dense(2)

    def extract_maps(self, images: Array, *, train: bool) -> tuple[Array, tuple[Array, ...]]:
        x = images
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = nn.relu(norm(conv(x), use_running_average=not train))
        return x, ()

    def classify_maps(self, maps: Array, *, train: bool) -> Array:
        return self.output(maps.mean(axis=(1, 2)))


def create_pooled(size: int) -> Classifier:
    """Return the classifier of gray images of this size."""
    return Classifier(lambda axis_name: Pooled(), InputForm(size, 1))
