"""Read the arrays of an `.npz` file (NumPy's format, NEP 1) without NumPy's own reader.

NumPy's reader makes an array of the size in the header before it has read a byte of it.
"""

import re

import numpy as np

from jaxgan.classifiers.weight_limits import (
    DTYPES,
    Arrays,
    WeightError,
    add,
    check_head,
    check_shape,
    damaged,
    take,
    take_number,
    view,
)
from jaxgan.classifiers.weight_zip import read_members

_MARK = b"\x93NUMPY"
_SUFFIX = ".npy"
_LENGTH_SIZES = {1: 2, 2: 4, 3: 4}  # of the header's length, by the version of the format
_HEADER = re.compile(
    r"\{'descr': '([<>|=]?[a-zA-Z?]\d{0,2})', 'fortran_order': (True|False), "
    r"'shape': \(((?:\d{1,10}, ?)*(?:\d{1,10})?)\),? ?\} *\n?",
    re.ASCII,
)
_TYPES = {dtype.str: dtype for name, dtype in DTYPES.items() if name != "BF16"}


def read_npz(content: memoryview) -> Arrays:
    """Return every array by its name."""
    arrays: Arrays = {}
    for name, member in read_members(content).items():
        add(arrays, name.removesuffix(_SUFFIX), _read_npy(member))
    return arrays


def _read_npy(member: memoryview) -> np.ndarray:
    if bytes(member[: len(_MARK)]) != _MARK:
        raise WeightError("has a member that is no array of NumPy's")
    version = take_number(member, len(_MARK), 1, "an array's header")
    if version not in _LENGTH_SIZES:
        raise WeightError(f"has an array of NumPy's format {version}, expected 1 to 3")
    at, size = len(_MARK) + 2, _LENGTH_SIZES[version]
    length = take_number(member, at, size, "an array's header")
    check_head(length)
    header = bytes(take(member, at + size, length, "an array's header"))
    found = _HEADER.fullmatch(header.decode("latin-1"))
    if found is None:
        raise damaged("an array has no header, or one of other things than numbers")
    if found[1] not in _TYPES:
        raise WeightError(f"has an array of the type {found[1]}, expected {', '.join(_TYPES)}")
    shape = check_shape(int(side) for side in found[3].replace(" ", "").split(",") if side)
    order = "F" if found[2] == "True" else "C"
    return view(member[at + size + length :], shape, _TYPES[found[1]], order)
