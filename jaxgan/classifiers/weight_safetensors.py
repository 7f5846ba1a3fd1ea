"""Arrays of a `.safetensors` file (Hugging Face's format: a length, JSON, the bytes)."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from jaxgan.classifiers.weight_limits import (
    DTYPES,
    Arrays,
    add,
    check_count,
    check_head,
    check_shape,
    damaged,
    take,
    take_number,
    view,
)

_LENGTH_SIZE = 8
_METADATA = "__metadata__"


def read_safetensors(content: memoryview) -> Arrays:
    """Return every array by its name; there is no gap between them, and no overlap."""
    size = take_number(content, 0, _LENGTH_SIZE, "the length of its header")
    check_head(size)
    table = _parse(take(content, _LENGTH_SIZE, size, "its header"))
    data = content[_LENGTH_SIZE + size :]
    entries = [(name, _read_entry(entry)) for name, entry in table.items() if name != _METADATA]
    check_count(len(entries))
    arrays: Arrays = {}
    at = 0
    for name, (begin, end, shape, dtype) in sorted(entries, key=lambda entry: entry[1][:2]):
        if begin != at or end <= begin:
            raise damaged("its arrays overlap, or leave a gap")
        add(arrays, name, view(take(data, begin, end - begin, "an array"), shape, dtype))
        at = end
    if at != len(data):
        raise damaged(f"{len(data) - at} bytes at its end belong to no array")
    return {name: arrays[name] for name, _ in entries}


def _parse(header: memoryview) -> Mapping[str, Any]:
    try:
        table = json.loads(bytes(header), object_pairs_hook=_to_dict)
    except (ValueError, RecursionError):  # of UTF-8, of JSON, of numbers with too many digits
        raise damaged("its header is no JSON") from None
    if not isinstance(table, dict):
        raise damaged("its header is no table of names")
    return table


def _to_dict(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise damaged("its header has a name twice")
    return table


def _read_entry(entry: Any) -> tuple[int, int, tuple[int, ...], Any]:
    """Return where an array begins and ends, its shape and its type."""
    fields = entry if isinstance(entry, dict) else {}
    dtype, shape, place = (fields.get(name) for name in ("dtype", "shape", "data_offsets"))
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise damaged(f"an array has a type other than {', '.join(DTYPES)}")
    if not isinstance(shape, list) or not isinstance(place, list) or len(place) != 2:
        raise damaged("an array has no shape, or no place")
    if not all(type(number) is int and number >= 0 for number in place):
        raise damaged("an array has no place")
    return place[0], place[1], check_shape(shape), DTYPES[dtype]
