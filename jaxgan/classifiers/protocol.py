"""What a classifier is to the rest of the house: one value, made once per run and passed on.

A family (`jaxgan.classifiers.families`) is one file: its module, its settings and `create`, which
returns a `Classifier`. Step, prediction, training and studies are the same for all of them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import flax.linen as nn

from jaxgan.classifiers.torch_names import TorchNames
from jaxgan.core.types import Array
from jaxgan.ops.pixels import scale_to_unit


class Outputs(NamedTuple):
    """Logits float [batch, outputs]; `auxiliary` are those of extra heads, only for training.

    The first outputs are the classes, in their order. Further outputs are never a target.
    """

    logits: Array
    auxiliary: tuple[Array, ...] = ()


class ClassifierModule(nn.Module):
    """A network in two parts, each a method that the family writes (in `setup`, its layers).

    The parts are `extract_maps` and `classify_maps`. A family with stages writes `extract_early`
    and `extract_late` in place of `extract_maps`: the last stage is then a part of its own.
    """

    def extract_early(self, images: Array, *, train: bool) -> tuple[Array, tuple[Array, ...]]:
        """Return the maps before the last stage, and auxiliary logits if `train`.

        Layers that only training uses must also get their parameters if `is_initializing()`.
        """
        raise NotImplementedError

    def extract_late(self, maps: Array, *, train: bool) -> Array:
        """Apply the last stage to the maps before it; return maps [batch, h, w, features]."""
        raise NotImplementedError

    def extract_maps(self, images: Array, *, train: bool) -> tuple[Array, tuple[Array, ...]]:
        """Return the last feature maps [batch, h, w, features], and auxiliary logits if `train`."""
        maps, auxiliary = self.extract_early(images, train=train)
        return self.extract_late(maps, train=train), auxiliary

    def classify_maps(self, maps: Array, *, train: bool) -> Array:
        """Return logits [batch, outputs] in float32, or float64, of the last feature maps."""
        raise NotImplementedError

    def classify(self, maps: Array, *, train: bool) -> Outputs:
        """Return the outputs for the last feature maps, without auxiliary ones."""
        return Outputs(self.classify_maps(maps, train=train))

    def classify_early(self, maps: Array, *, train: bool) -> Outputs:
        """Return the outputs for the maps before the last stage, without auxiliary ones."""
        return self.classify(self.extract_late(maps, train=train), train=train)

    def __call__(self, images: Array, *, train: bool) -> Outputs:
        """Return the outputs for images [batch, height, width, channels] as the network sees them.

        Images are float, scaled by `InputForm.scale`: in [-1, 1], or as the pretrained weights need
        them. The softmax of the logits gives the probabilities.

        With `train`, batch norm takes the statistics of the batch, and dropout the key `dropout`.
        """
        maps, auxiliary = self.extract_maps(images, train=train)
        return Outputs(self.classify_maps(maps, train=train), auxiliary)


@dataclass(frozen=True)
class InputForm:
    """The input of a module: square images, and how their bytes are scaled.

    Stored images are uint8 [batch, image_size, image_size, channels]. `scale` maps them to float
    images. By default these are in [-1, 1] with the same channels. It may repeat one channel
    three times.
    """

    image_size: int
    channels: int
    scale: Callable[[Array], Array] = scale_to_unit


@dataclass(frozen=True)
class Classifier:
    """A classifier: its network, its input, and the weight of its auxiliary heads' losses.

    `create_module` takes the name of the mapped axis over which the devices share a batch, None
    if one device has all of it: batch norm and dropout (`jaxgan.networks.layers`) need it.

    `stages` are the layers before the head, by their names in the parameters, from the image to
    the last maps: they can be frozen. The reader of weight files uses `torch_names`; `package` is
    the Python package that has weights. Training does not change the layers in `frozen`
    (`jaxgan.classifiers.frozen`). `method` is the module's method: `__call__` takes images,
    `classify` takes the last maps, `classify_early` those before the last stage.
    """

    create_module: Callable[[str | None], ClassifierModule]
    input: InputForm
    auxiliary_weight: float = 0.0
    stages: tuple[tuple[str, ...], ...] = ()
    torch_names: TorchNames | None = None
    package: str = ""
    frozen: tuple[str, ...] = ()
    method: str = "__call__"

    @property
    def module(self) -> ClassifierModule:
        """The network on one device, for everything except training."""
        return self.create_module(None)


@dataclass(frozen=True, kw_only=True)
class FamilySettings:
    """What every family's settings have; a family adds `family: Literal["its name"]` and its own.

    `image_size` is the side of the square images, `channels` 1 or 3.
    """

    image_size: int
    channels: int

    @property
    def title(self) -> str:
        """The name of the network for reports."""
        return type(self).__name__.removesuffix("Settings")

    def create(self, num_classes: int) -> Classifier:
        """Return the classifier of `num_classes` classes, with at least one output for each."""
        raise NotImplementedError
