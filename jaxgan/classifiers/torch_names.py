"""The names and the layout of a network's arrays in PyTorch, for the reader of weight files.

A family gives its `TorchNames`; from these `name_arrays` finds the place of every array. In
PyTorch a convolution's kernel is [out, in, height, width] and a dense kernel [out, in]. A dense
layer after feature maps reads them in the order channels, height, width. Ours are [height, width,
in, out], [in, out], and height, width, channels.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from flax.traverse_util import flatten_dict

from jaxgan.core.types import Params

_AXES = {1: (0,), 2: (1, 0), 4: (2, 3, 1, 0)}  # of PyTorch's array in the order of ours
_LEAVES = {  # our name of an array -> PyTorch's
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}


@dataclass(frozen=True)
class TorchNames:
    """The names of a network's layers in a PyTorch state dict.

    `rename` maps the path of our layer ("layer1_0/conv1") to PyTorch's name ("layer1.0.conv1").
    `maps` gives (channels, height, width) for each dense layer that reads flattened feature maps.
    `head` names the layers with one output for each class. `auxiliary` are the first words of
    layers that only training uses: a file may have them or not, and so may this network. All
    three name layers as PyTorch does.
    """

    rename: Callable[[str], str]
    head: tuple[str, ...]
    maps: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)
    auxiliary: tuple[str, ...] = ()


@dataclass(frozen=True)
class TorchArray:
    """The place of one array: `path` in our variables, `shape` and order of axes in PyTorch.

    `maps` is (channels, height, width) if the array is the kernel of a dense layer that reads
    flattened feature maps.
    """

    path: tuple[str, ...]
    shape: tuple[int, ...]
    axes: tuple[int, ...]
    maps: tuple[int, int, int] | None = None


def name_arrays(names: TorchNames, variables: Params) -> dict[str, TorchArray]:
    """Return the place of every array by its PyTorch name ("layer1.0.conv1.weight").

    `variables` has the collections of a network ("params", "batch_stats"); shapes are enough.
    """
    arrays = {}
    for path, leaf in flatten_dict(variables).items():
        layer = names.rename("/".join(path[1:-1]))
        axes = _AXES[len(leaf.shape)]
        shape = tuple(leaf.shape[axes.index(i)] for i in range(len(axes)))
        maps = names.maps.get(layer) if path[-1] == "kernel" else None
        arrays[f"{layer}.{_LEAVES[path[-1]]}"] = TorchArray(path, shape, axes, maps)
    return arrays


def to_ours(array: TorchArray, values: np.ndarray) -> np.ndarray:
    """Return PyTorch's `values`, of the shape `array.shape`, in our layout."""
    if array.maps is None:
        return values.transpose(array.axes)
    num_outputs = array.shape[0]
    maps = values.reshape(num_outputs, *array.maps).transpose(2, 3, 1, 0)
    return maps.reshape(math.prod(array.maps), num_outputs)
