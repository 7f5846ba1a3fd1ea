"""The limits of a file of weights, and the error of a file that cannot be used.

No number in a file is trusted: it is compared with the bytes that are there before anything of
that size is made. Arrays are views of the file's own bytes.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import ml_dtypes
import numpy as np

MAX_BYTES = 2**30  # of a file: VGG16 with all its layers has 553 MB
MAX_HEAD_BYTES = 2**20  # names and shapes, which Python parses: ResNet-50 has 40 KB
MAX_ARRAYS = 8192  # Inception v3 with its auxiliary head has 580
MAX_NAME = 512  # characters
MAX_DIMENSIONS = 8
_MIB = 2**20

# The names of safetensors, and our types: little-endian on every machine.
DTYPES: Mapping[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}

Arrays = dict[str, np.ndarray]


class WeightError(ValueError):
    """Why a file of weights cannot be used: a clause that follows the name of the file."""


def damaged(what: str) -> WeightError:
    """Return the error of a file that does not hold together."""
    return WeightError(f"is damaged or was made by a faulty program: {what}")


def take(content: memoryview, begin: int, size: int, what: str) -> memoryview:
    """Return `size` bytes from `begin` on; raise if the file ends before."""
    if begin < 0 or size < 0 or begin + size > len(content):
        raise damaged(f"{what} would end behind the end of the file")
    return content[begin : begin + size]


def take_number(content: memoryview, begin: int, size: int, what: str) -> int:
    """Return an unsigned little-endian number of `size` bytes."""
    return int.from_bytes(take(content, begin, size, what), "little")


def check_name(name: Any) -> str:
    """Return the name of an array; raise if it is not a name."""
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME:
        raise damaged(f"an array has no name of 1 to {MAX_NAME} characters")
    return name


def check_shape(shape: Iterable[Any]) -> tuple[int, ...]:
    """Return the shape of an array; raise if no network has such a shape."""
    sides = tuple(shape)
    if len(sides) > MAX_DIMENSIONS:
        raise damaged(f"an array has {len(sides)} dimensions, expected at most {MAX_DIMENSIONS}")
    if not all(type(side) is int and 0 < side <= MAX_BYTES for side in sides):
        raise damaged("an array has a side that is no number above 0")
    return sides


def check_count(num: int) -> None:
    """Raise if a file has more arrays than any network here."""
    if num > MAX_ARRAYS:
        raise WeightError(f"has {num} arrays, more than the {MAX_ARRAYS} that are accepted")


def check_size(num_bytes: int) -> None:
    """Raise if a file, or its uncompressed content, is larger than is accepted."""
    if num_bytes > MAX_BYTES:
        limit = MAX_BYTES // _MIB
        raise WeightError(f"holds {num_bytes // _MIB} MiB, more than the {limit} that are accepted")


def check_head(num_bytes: int) -> None:
    """Raise if names and shapes take more bytes than is accepted."""
    if num_bytes > MAX_HEAD_BYTES:
        limit = MAX_HEAD_BYTES // _MIB
        raise WeightError(
            f"has {num_bytes} bytes of names and shapes, expected {limit} MiB at most"
        )


def count_bytes(shape: Sequence[int], dtype: np.dtype[Any]) -> int:
    """Return the bytes of an array."""
    return math.prod(shape) * dtype.itemsize


def view(data: memoryview, shape: tuple[int, ...], dtype: np.dtype[Any], order: str = "C") -> Any:
    """Return all of `data` as an array; raise if the sizes differ."""
    if len(data) != count_bytes(shape, dtype):
        raise damaged(f"an array of the shape {list(shape)} has {len(data)} bytes")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if order == "F" else "C")


def add(arrays: Arrays, name: Any, array: np.ndarray) -> None:
    """Add an array; raise if its name is there already."""
    if check_name(name) in arrays:
        raise damaged("it has two arrays of one name")
    arrays[name] = array
    check_count(len(arrays))
