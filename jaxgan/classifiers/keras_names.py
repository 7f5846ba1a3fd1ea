"""VGG16 as Keras stores it, as arrays with PyTorch's names: the same network with other inputs.

Keras' ResNet50 and InceptionV3 are other networks than PyTorch's, and are refused. Its ResNet50 has
biases in the convolutions, the stride in the first 1x1 convolution of a block, and another epsilon.
Its InceptionV3 has no scale in batch norm, and average pools that leave out the padding.
"""

import re
from collections.abc import Sequence

import numpy as np

from jaxgan.classifiers.blocks import IMAGENET_MEAN, IMAGENET_SPREAD
from jaxgan.classifiers.torch_names import TorchNames
from jaxgan.classifiers.weight_files import WeightFile
from jaxgan.classifiers.weight_limits import Arrays
from jaxgan.core.errors import UserError
from jaxgan.core.untrusted import printable

_CONVS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)  # their places in torchvision's VGG16
_DENSE = (0, 3, 6)
_MEAN = (123.68, 116.779, 103.939)  # red, green, blue of 0 to 255: what Keras takes away
_PLACE = re.compile(r"layers/(conv2d|dense)(?:_(\d{1,4}))?/vars/([01])")


def from_keras(file: WeightFile, names: TorchNames) -> Arrays:
    """Return the arrays of a file of Keras' VGG16, with or without its dense layers, as PyTorch's.

    Raises `UserError` for every other network of Keras.
    """
    ordered = _order(file.arrays)
    num_dense = len(ordered) // 2 - len(_CONVS)
    shapes = [array.ndim for array in ordered]
    expected = [4, 1] * len(_CONVS) + [2, 1] * num_dense
    if num_dense not in (0, len(_DENSE)) or shapes != expected:
        raise UserError(
            f"The file of weights {printable(file.name)} is of Keras, and not of its VGG16. Only "
            "VGG16 is the same network here and in Keras: Keras' ResNet50 and InceptionV3 have "
            "other strides, biases and pools. Use PyTorch's weights for these."
        )
    layers = [f"features.{place}" for place in _CONVS] + [f"classifier.{i}" for i in _DENSE]
    arrays: Arrays = {}
    for layer, kernel, bias in zip(layers, ordered[::2], ordered[1::2], strict=False):
        arrays[f"{layer}.weight"] = _turn(kernel, names.maps.get(layer))
        arrays[f"{layer}.bias"] = bias
    first = [f"{layers[0]}.weight", f"{layers[0]}.bias"]
    kernel, bias = (arrays[name] for name in first)
    if (kernel.shape[1], len(bias)) == (len(_MEAN), len(kernel)):  # other shapes are refused later
        arrays |= zip(first, _take_in_input(kernel, bias), strict=True)
    return arrays


def _order(arrays: Arrays) -> Sequence[np.ndarray]:
    """Return the arrays layer by layer: Keras 3 numbers its layers, older files list them."""
    places = {name: _PLACE.fullmatch(name) for name in arrays}
    if not all(places.values()):
        return list(arrays.values())
    keys = {name: (p[1], int(p[2] or 0), p[3]) for name, p in places.items() if p is not None}
    return [arrays[name] for name in sorted(arrays, key=keys.__getitem__)]


def _turn(kernel: np.ndarray, maps: tuple[int, int, int] | None) -> np.ndarray:
    """Return a kernel of Keras, [h, w, in, out] or [in, out], in PyTorch's layout."""
    if kernel.ndim == 4:
        return kernel.transpose(3, 2, 0, 1)
    if maps is None or kernel.shape[0] != np.prod(maps):
        return kernel.T
    channels, height, width = maps
    by_place = kernel.reshape(height, width, channels, -1)
    return by_place.transpose(3, 2, 0, 1).reshape(kernel.shape[1], -1)


def _take_in_input(kernel: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the first layer [out, in, h, w] for images as PyTorch's VGG16 sees them.

    Keras gives it blue, green and red of 0 to 255 less their means, we give it red, green and blue
    less theirs, divided by their spreads. The two means differ by half a gray level: the bias
    corrects this. Only at the border, next to the padding, an error of half a gray level is left.
    """
    kernel = kernel[:, ::-1].astype(np.float64)
    shift = 255.0 * np.array(IMAGENET_MEAN) - np.array(_MEAN)
    shifted = bias + np.einsum("oihw,i->o", kernel, shift)
    scaled = kernel * (255.0 * np.array(IMAGENET_SPREAD))[:, None, None]
    return scaled.astype(np.float32), shifted.astype(np.float32)
