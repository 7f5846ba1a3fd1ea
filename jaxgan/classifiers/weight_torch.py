"""Read the arrays of a PyTorch file (`torch.save`), of both kinds: see `weight_pickle`."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from jaxgan.classifiers.weight_limits import (
    Arrays,
    WeightError,
    add,
    count_bytes,
    damaged,
    take,
    take_number,
)
from jaxgan.classifiers.weight_pickle import REMEDY, Storage, Tensor, read_pickle
from jaxgan.classifiers.weight_zip import read_members

LEGACY_MARK = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # a pickle of PyTorch's magic number
_PROTOCOL = 1001
_TABLE, _DATA, _ORDER = "data.pkl", "data/", "byteorder"
_NESTED = ("state_dict", "model_state_dict", "model")  # where a training keeps its network
_PARALLEL = "module."  # what DataParallel writes before every name
_COUNT_SIZE = 8
_OTHER_ORDER = "was written on a machine of the other byte order"

GetBytes = Callable[[Storage], memoryview]


def read_torch_zip(content: memoryview) -> Arrays:
    """Return the tensors of a file of PyTorch 1.6 or newer by their names."""
    members = read_members(content)
    roots = [name.removesuffix(_TABLE) for name in members if name.endswith(f"/{_TABLE}")]
    if len(roots) != 1:
        raise WeightError(f"is a zip file without one table of tensors. {REMEDY}")
    order = members.get(f"{roots[0]}{_ORDER}", memoryview(b"little"))
    if bytes(order[:8]).strip() != b"little":
        raise WeightError(_OTHER_ORDER)
    prefix = f"{roots[0]}{_DATA}"
    data = {n.removeprefix(prefix): m for n, m in members.items() if n.startswith(prefix)}
    return _to_arrays(read_pickle(members[f"{roots[0]}{_TABLE}"]).value, data)


def read_torch_legacy(content: memoryview) -> Arrays:
    """Return the tensors of a file of PyTorch before 1.6: five pickles, then the storages."""
    at, tables = len(LEGACY_MARK), []
    for _ in range(4):
        tables.append(read_pickle(content[at:]))
        at += tables[-1].num_bytes
    protocol, system, value, keys = (table.value for table in tables)
    if protocol != _PROTOCOL or type(system) is not dict or type(keys) is not list:
        raise damaged("it does not begin as PyTorch's files do")
    if system.get("little_endian") is not True:
        raise WeightError(_OTHER_ORDER)
    return _to_arrays(value, _cut(content[at:], keys, tables[2].storages))


def _cut(
    content: memoryview, keys: Sequence[Any], storages: Mapping[str, Storage]
) -> dict[str, memoryview]:
    """Return the bytes of each storage; they follow one another, each after its length."""
    data: dict[str, memoryview] = {}
    at = 0
    for key in keys:
        if type(key) is not str or key not in storages or key in data:
            raise damaged("its list of storages is broken")
        num = take_number(content, at, _COUNT_SIZE, "a storage")
        if num != storages[key].num:
            raise damaged("a storage has another size than the table says")
        size = count_bytes((num,), storages[key].dtype)
        data[key] = take(content, at + _COUNT_SIZE, size, "a storage")
        at += _COUNT_SIZE + size
    return data


def _to_arrays(value: Any, data: Mapping[str, memoryview]) -> Arrays:
    """Return the tensors of a state dict, or of one that a training saved with other values."""
    arrays: Arrays = {}
    for name, tensor in _find_tensors(value).items():
        add(arrays, name, _to_array(tensor, data))
    return arrays


def _find_tensors(value: Any) -> dict[str, Tensor]:
    table = value if type(value) is dict else {}
    for part in (table, *(table.get(name) for name in _NESTED)):
        items = part.items() if type(part) is dict else ()
        tensors = {str(name): item for name, item in items if type(item) is Tensor}
        if tensors:
            is_parallel = all(name.startswith(_PARALLEL) for name in tensors)
            prefix = _PARALLEL if is_parallel else ""
            return {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    raise WeightError(f"holds no table of tensors. {REMEDY}")


def _to_array(tensor: Tensor, data: Mapping[str, memoryview]) -> np.ndarray:
    storage = tensor.storage
    held = data.get(storage.key)
    if held is None or len(held) != count_bytes((storage.num,), storage.dtype):
        raise damaged("the numbers of a tensor are missing")
    size = storage.dtype.itemsize
    # NumPy too refuses what would reach beyond the buffer.
    return np.ndarray(
        tensor.shape,
        storage.dtype,
        held,
        tensor.offset * size,
        tuple(stride * size for stride in tensor.strides),
    )
