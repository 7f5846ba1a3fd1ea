"""Put the arrays of a file into a network: every parameter once, or an error that says why not.

A file has the names and the layout of PyTorch (`torch_names`), those of Keras' VGG16
(`keras_names`), or ours: "params/conv_stem/kernel". Two parts may be left out or drawn instead:
the head, if the number of outputs differs, and the layers that only training uses. Both are named.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxgan.classifiers.keras_names import from_keras
from jaxgan.classifiers.protocol import Classifier
from jaxgan.classifiers.torch_names import TorchArray, TorchNames, name_arrays, to_ours
from jaxgan.classifiers.weight_files import KERAS, WeightFile, read_weight_file
from jaxgan.classifiers.weight_packages import IMAGENET, find_packaged
from jaxgan.core.errors import UserError, list_some
from jaxgan.core.types import Params
from jaxgan.core.untrusted import printable

_OURS = "params/"  # what begins a name of ours
_COUNTER = "num_batches_tracked"  # of PyTorch's batch norm: not used here

ArrayPath = tuple[str, ...]


@dataclass(frozen=True)
class Start:
    """The first weights of a network: the arrays of a file, by their paths in its variables.

    `left_out` are the arrays of the file that it has no place for, `drawn` those of the network
    that the file does not have.
    """

    file: WeightFile
    arrays: Mapping[ArrayPath, np.ndarray]
    left_out: tuple[str, ...]
    drawn: tuple[str, ...]

    def describe(self) -> dict[str, Any]:
        """Return the entry for the weights in the record of a training."""
        return {
            "file": self.file.name,
            "sha256": self.file.sha256,
            "format": self.file.format,
            "left_out": list(self.left_out),
            "drawn": list(self.drawn),
        }

    def fill(self, variables: Params) -> Params:
        """Return the variables of a network with the file's arrays in place of those drawn."""
        flat = flatten_dict(variables)
        given = {path: jnp.asarray(a, flat[path].dtype) for path, a in self.arrays.items()}
        return unflatten_dict({**flat, **given})


def read_start(weights: str, classifier: Classifier) -> Start | None:
    """Return the first weights of a classifier: `weights` is a file, "imagenet", or "" for none.

    Raises `UserError` if the file cannot be read or is of another network.
    """
    if not weights:
        return None
    path = find_packaged(classifier) if weights == IMAGENET else Path(weights)
    return match(read_weight_file(path), classifier)


def match(file: WeightFile, classifier: Classifier) -> Start:
    """Return where each array of a file goes. Raises `UserError` if the file does not fit."""
    variables, names = create_shapes(classifier), classifier.torch_names
    is_ours = any(name.startswith(_OURS) for name in file.arrays)
    if names is None and not is_ours:
        raise UserError(
            f"The file of weights {printable(file.name)} is of another family. For this family "
            f"only files with its own names are read, for example {_OURS}LAYER/kernel."
        )
    torch_arrays = {} if names is None else name_arrays(names, variables)
    arrays = file.arrays
    if file.format == KERAS and names is not None and not is_ours:
        arrays = from_keras(file, names)
    places = _name_ours(variables) if is_ours else torch_arrays
    parts = _Parts.of(names, torch_arrays)
    return _Matching(file, arrays, places, parts).run()


def create_shapes(classifier: Classifier) -> Params:
    """Return the shapes of a classifier's variables."""
    size, channels = classifier.input.image_size, classifier.input.channels
    stored = jax.ShapeDtypeStruct((1, size, size, channels), jnp.uint8)
    images = jax.eval_shape(classifier.input.scale, stored)
    module, key = classifier.module, jax.random.key(0)
    return jax.eval_shape(lambda x: module.init(key, x, train=False), images)


def _name_ours(variables: Params) -> dict[str, TorchArray]:
    """Return the place of every array by our name for it, in our layout."""
    return {
        "/".join(path): TorchArray(path, leaf.shape, tuple(range(len(leaf.shape))))
        for path, leaf in flatten_dict(variables).items()
    }


@dataclass(frozen=True)
class _Parts:
    """Which arrays of a network are of its head, and which ones only training uses.

    `is_extra` says of a name in a file whether the network may be without that array.
    """

    head: frozenset[ArrayPath]
    auxiliary: frozenset[ArrayPath]
    is_extra: Callable[[str], bool]

    @classmethod
    def of(cls, names: TorchNames | None, arrays: Mapping[str, TorchArray]) -> "_Parts":
        """Return the parts by their names in PyTorch."""
        if names is None:
            return cls(frozenset(), frozenset(), lambda name: False)
        first = tuple(f"{word}." for word in names.auxiliary)
        head = {a.path for name, a in arrays.items() if name.rpartition(".")[0] in names.head}
        auxiliary = {a.path for name, a in arrays.items() if name.startswith(first)}
        return cls(
            frozenset(head),
            frozenset(auxiliary),
            lambda name: name.endswith(f".{_COUNTER}") or name.startswith(first),
        )


@dataclass(frozen=True)
class _Matching:
    """A file's arrays, and the places that a network has for them."""

    file: WeightFile
    arrays: Mapping[str, np.ndarray]
    places: Mapping[str, TorchArray]
    parts: _Parts

    def run(self) -> Start:
        """Return the place of each array. Raises `UserError`."""
        drawn = self._list_drawn()
        missing = [n for n in self.places if n not in self.arrays and n not in drawn]
        unknown = [n for n in self.arrays if n not in self.places and not self.parts.is_extra(n)]
        other = [n for n in self.places if n not in (*drawn, *missing) and not self._fits(n)]
        self._refuse(missing, unknown, other)
        left_out = [n for n in self.arrays if n not in self.places or n in drawn]
        taken = {
            place.path: self._convert(name, place)
            for name, place in self.places.items()
            if name not in drawn
        }
        return Start(self.file, taken, tuple(left_out), tuple(drawn))

    def _list_drawn(self) -> list[str]:
        """Return the arrays to draw: a head of other outputs, and missing ones of the training."""
        heads = [name for name, place in self.places.items() if place.path in self.parts.head]
        drawn = [
            name
            for name, place in self.places.items()
            if name not in self.arrays and place.path in self.parts.auxiliary | self.parts.head
        ]
        if any(self._has_other_outputs(name) for name in heads if name in self.arrays):
            return list(dict.fromkeys([*heads, *drawn]))
        return drawn

    def _fits(self, name: str) -> bool:
        return self.arrays[name].shape == self.places[name].shape

    def _has_other_outputs(self, name: str) -> bool:
        """Whether the arrays of a file and of the network differ only in the number of outputs."""
        found, axes = self.arrays[name].shape, self.places[name].axes
        if len(found) != len(axes):
            return False
        *rest, num = (found[axis] for axis in axes)
        *expected, num_expected = (self.places[name].shape[axis] for axis in axes)
        return rest == expected and num != num_expected

    def _refuse(self, missing: list[str], unknown: list[str], other: list[str]) -> None:
        """Raise if an array has no place, a place has no array, or their shapes differ."""
        reasons = []
        if missing:
            reasons.append(f"it does not have {list_some(missing)}")
        if unknown:
            reasons.append(f"the network has no place for its {list_some(unknown)}")
        if other:
            shapes = [
                f"{name} is {list(self.arrays[name].shape)} and not {list(self.places[name].shape)}"
                for name in other
            ]
            reasons.append(f"of other shapes: {list_some(shapes)}")
        if reasons:
            raise UserError(
                f"The file of weights {printable(self.file.name)} is of another network: "
                f"{'; '.join(reasons)}. Expected: all arrays of this network at this width, each "
                "once."
            )

    def _convert(self, name: str, place: TorchArray) -> np.ndarray:
        values = self.arrays[name]
        if values.dtype.kind in "iub":
            self._refuse_values(name, "whole numbers, expected fractions")
        values = np.asarray(values, np.float64 if values.dtype == np.float64 else np.float32)
        if not np.isfinite(values).all():
            self._refuse_values(name, "values that are not finite")
        return np.ascontiguousarray(to_ours(place, values))

    def _refuse_values(self, name: str, what: str) -> None:
        raise UserError(
            f"The file of weights {printable(self.file.name)} holds {what}, in {printable(name)}: "
            "it is damaged, or of a training that has diverged."
        )
