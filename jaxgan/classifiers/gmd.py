"""GMD, the paper's classifier (section 3.2.1), named after the eye diseases it was made for."""

import functools
from dataclasses import dataclass
from typing import Literal

import flax.linen as nn
import jax.numpy as jnp

from jaxgan.classifiers.protocol import Classifier, ClassifierModule, FamilySettings, InputForm
from jaxgan.core.errors import UserError
from jaxgan.core.settings import check, check_choice
from jaxgan.core.types import Array
from jaxgan.networks.layers import DTYPES, Conv, Dtype, glorot_init
from jaxgan.ops import max_pool_2x2

_DIVISORS = ((1, 2), (2, 4, 8))  # of the width, a convolution each, a pooling behind each block


class Gmd(ClassifierModule):
    """Map images [batch, size, size, channels] to logits [batch, num_outputs].

    Three by three convolutions 256-128, pool, 128-64-32, pool, then dense 100-60-`num_outputs`,
    ReLU between: 4,033,252 parameters at 150x150x3 with 'VALID' padding and 4 outputs. `width`
    scales the convolutions (256 in the paper). The fourth output of the paper's configuration is
    a leftover of its eye model: never a target.
    """

    num_outputs: int = 4
    width: int = 256
    padding: str = "VALID"
    dtype: Dtype = None

    def setup(self) -> None:
        """Name the layers: checkpoints know them by these names."""
        self.blocks = [
            [
                Conv(
                    self.width // divisor,
                    kernel_size=3,
                    padding=self.padding,
                    use_bias=True,
                    kernel_init=glorot_init,
                    dtype=self.dtype,
                    name=f"conv{block}_{i}",
                )
                for i, divisor in enumerate(divisors)
            ]
            for block, divisors in enumerate(_DIVISORS)
        ]
        dense = functools.partial(nn.Dense, kernel_init=glorot_init, dtype=self.dtype)
        self.hidden = [dense(100, name="dense0"), dense(60, name="dense1")]
        self.output = dense(self.num_outputs)

    def extract_maps(self, images: Array, *, train: bool) -> tuple[Array, tuple[Array, ...]]:
        del train  # without dropout and batch norm both are the same
        x = images
        for block in self.blocks:
            for conv in block:
                x = nn.relu(conv(x))
            x = max_pool_2x2(x)
        return x, ()

    def classify_maps(self, maps: Array, *, train: bool) -> Array:
        del train
        x = maps.reshape(maps.shape[0], -1)
        for dense in self.hidden:
            x = nn.relu(dense(x))
        logits = self.output(x)
        return logits.astype(jnp.promote_types(logits.dtype, jnp.float32))


@dataclass(frozen=True, kw_only=True)
class GmdSettings(FamilySettings):
    """The settings of GMD: see configs/gmd.py for what each field means."""

    family: Literal["gmd"] = "gmd"
    dtype: str
    num_outputs: int
    width: int
    padding: str

    def __post_init__(self) -> None:
        check_choice("dtype", self.dtype, tuple(DTYPES))
        # Two poolings and five 'VALID' convolutions have to leave something to flatten.
        check("image_size", self.image_size, 24 <= self.image_size <= 512, "24 to 512")
        check_choice("channels", self.channels, (1, 3))
        check_choice("padding", self.padding, ("VALID", "SAME"))
        check("width", self.width, self.width >= 8 and self.width % 8 == 0, "a multiple of 8")
        check("num_outputs", self.num_outputs, self.num_outputs >= 0, "0 (one per class) or more")

    @property
    def title(self) -> str:
        """The name of the network for reports."""
        return "GMD"

    def create(self, num_classes: int) -> Classifier:
        """Return GMD with one output per class, or with the number of the paper's configuration."""
        num_outputs = self.num_outputs or num_classes
        if num_outputs < num_classes:
            raise UserError(
                f"config.classifier.num_outputs is {num_outputs} and the data have {num_classes} "
                "classes: expected at least one output per class, or 0 for exactly that."
            )
        model = Gmd(num_outputs, self.width, self.padding, DTYPES[self.dtype])
        return Classifier(lambda axis_name: model, InputForm(self.image_size, self.channels))
