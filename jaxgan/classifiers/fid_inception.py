"""Inception v3 as FID needs it: the network of 2015-12-05, and the file of its weights.

Heusel et al. 2017 measured with TensorFlow's `classify_image_graph_def.pb` of that day. It has the
layers of torchvision's network and 1,008 outputs, but other pools: its averages leave out the
padding, and its last block has a maximum in place of the average.
"""

import dataclasses
from pathlib import Path

import flax.linen as nn
import jax.numpy as jnp

from jaxgan.classifiers.blocks import Style, max_pool, pad
from jaxgan.classifiers.inception import InceptionV3, Pool, rename
from jaxgan.classifiers.protocol import Classifier, InputForm
from jaxgan.classifiers.torch_names import TorchNames
from jaxgan.classifiers.weight_files import WeightFile, read_weight_file
from jaxgan.classifiers.weights import Start, match
from jaxgan.core.errors import UserError
from jaxgan.core.types import Array
from jaxgan.core.untrusted import printable

# Of pt_inception-2015-12-05-6726825d.pth (pytorch-fid), which is also
# weights-inception-2015-12-05-6726825d.pth (torch-fidelity): the names hold the first eight digits,
# and projects that check the file have published all of them.
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
SIDE = 299  # pixels
_NUM_OUTPUTS, _NUM_OUTPUTS_TORCHVISION = 1008, 1000
_LAST_BLOCK = "Mixed_7c"
_HEAD, _AUXILIARY = "fc", "AuxLogits"


def average_without_padding(x: Array) -> Array:
    """Average those pixels of windows of 3 x 3 that lie in the maps: at a corner, four."""
    return nn.avg_pool(x, (3, 3), (1, 1), pad(1), count_include_pad=False)


def take_maximum(x: Array) -> Array:
    """Take the maximum of windows of 3 x 3 pixels."""
    return max_pool(x, 3, 1, padding=1)


class FidInceptionV3(InceptionV3):
    """Map images [batch, 299, 299, 3] to maps [batch, 8, 8, 2048], and these to 1,008 logits."""

    def choose_pool(self, name: str) -> Pool:
        return take_maximum if name == _LAST_BLOCK else average_without_padding


def scale_about_128(images: Array) -> Array:
    """Map levels of 0 to 255 to (images - 128) / 128, which is below 1."""
    return (images.astype(jnp.promote_types(images.dtype, jnp.float32)) - 128.0) / 128.0


def create_fid_inception(width: float = 1.0) -> Classifier:
    """Return the network of FID; tests take a smaller `width`."""
    return Classifier(
        lambda axis_name: FidInceptionV3(_NUM_OUTPUTS, width, style=Style(axis_name, epsilon=1e-3)),
        InputForm(SIDE, 3, scale_about_128),
        # Nothing may be missing or left over: the head tells this network from torchvision's.
        torch_names=TorchNames(rename, head=()),
    )


def read_fid_weights(path: Path, classifier: Classifier) -> Start:
    """Return the weights of a file, without the head, which no feature needs.

    Raises `UserError` if the file cannot be read, or is of another network.
    """
    file = read_weight_file(path)
    _refuse_torchvision(file)
    start = match(file, classifier)
    arrays = {place: a for place, a in start.arrays.items() if _HEAD not in place}
    head = [name for name in file.arrays if name.startswith(f"{_HEAD}.")]
    return dataclasses.replace(start, arrays=arrays, left_out=(*start.left_out, *head))


def _refuse_torchvision(file: WeightFile) -> None:
    """Raise if a file is of torchvision's Inception v3: its FID would be wrong, without a sign."""
    head = file.arrays.get(f"{_HEAD}.weight")
    has_auxiliary = any(name.startswith(f"{_AUXILIARY}.") for name in file.arrays)
    num = len(head) if head is not None and head.ndim else 0
    if has_auxiliary or num == _NUM_OUTPUTS_TORCHVISION:
        found = [f"{num} outputs"] * (num > 0) + ["an auxiliary head (AuxLogits)"] * has_auxiliary
        raise UserError(
            f"The file of weights {printable(file.name)} is of torchvision's Inception v3: it has "
            f"{' and '.join(found)}. FID has another network, with {_NUM_OUTPUTS} outputs and no "
            "auxiliary head: give pt_inception-2015-12-05-6726825d.pth, which pytorch-fid uses."
        )
