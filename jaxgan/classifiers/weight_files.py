"""Read the arrays of a file of weights; nothing in the file is executed.

The first bytes of a file decide its format, never its name. For any content, the result is the
arrays or a `UserError`.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jaxgan.classifiers.weight_hdf5 import MARK as HDF5_MARK
from jaxgan.classifiers.weight_hdf5 import read_hdf5
from jaxgan.classifiers.weight_limits import MAX_BYTES, Arrays, WeightError
from jaxgan.classifiers.weight_npz import read_npz
from jaxgan.classifiers.weight_safetensors import read_safetensors
from jaxgan.classifiers.weight_torch import LEGACY_MARK, read_torch_legacy, read_torch_zip
from jaxgan.classifiers.weight_zip import MARK as ZIP_MARK
from jaxgan.core.errors import UserError
from jaxgan.core.untrusted import printable

SAFETENSORS, NPZ, KERAS = ".safetensors", ".npz", "Keras' HDF5"
TORCH, TORCH_LEGACY = "PyTorch", "PyTorch of before 1.6"
_EXPECTED = "a .safetensors or .npz file, one of torch.save, or a .h5 file of Keras"


@dataclass(frozen=True)
class WeightFile:
    """What is in a file of weights; its name has no folder in front of it."""

    name: str
    format: str
    sha256: str
    arrays: Arrays


def read_weight_file(path: Path) -> WeightFile:
    """Return what is in a file. Raises `UserError` if it cannot be used, and says why."""
    try:
        content = _read(path)
        form, arrays = parse_weights(content)
    except WeightError as error:
        raise UserError(f"The file of weights {printable(str(path))} {error}.") from None
    return WeightFile(path.name, form, hashlib.sha256(content).hexdigest(), arrays)


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of a file by the names that it has for them. Raises `UserError`."""
    return read_weight_file(path).arrays


def parse_weights(content: bytes) -> tuple[str, Arrays]:
    """Return the format of a file's content and its arrays. Raises `WeightError`."""
    form, read = _choose_reader(content)
    arrays = read(memoryview(content))
    if not arrays:
        raise WeightError("holds no arrays")
    return form, arrays


def _read(path: Path) -> bytes:
    """Return the content of an ordinary file. A pipe or a device is not opened."""
    if not path.is_file():
        raise WeightError("is not there, or is no ordinary file")
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            limit = MAX_BYTES // 2**20
            raise WeightError(f"has {size // 2**20} MiB, more than the {limit} that are accepted")
        return path.read_bytes()
    except OSError as error:
        raise WeightError(f"can not be read ({error.strerror})") from None


def _choose_reader(content: bytes) -> tuple[str, Callable[[memoryview], Arrays]]:
    if content.startswith(ZIP_MARK):
        is_torch = b"data.pkl" in content[:256]  # the first member of all that PyTorch writes
        return (TORCH, read_torch_zip) if is_torch else (NPZ, read_npz)
    if content.startswith(LEGACY_MARK):
        return TORCH_LEGACY, read_torch_legacy
    if content.startswith(HDF5_MARK):
        return KERAS, read_hdf5
    if content[8:9] == b"{":
        return SAFETENSORS, read_safetensors
    raise WeightError(f"is of no known format, expected {_EXPECTED}")
