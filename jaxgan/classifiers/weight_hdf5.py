"""Read the arrays of an HDF5 file as Keras writes it, with a reader of our own.

It knows the part of the format that Keras uses (HDF5 File Format Specification 3.0: the superblock
0, groups as symbol tables, object headers 1, data in one piece) and refuses the rest. So it follows
no link, no other file, no filter and no virtual data set, and no library in C reads a damaged file.
Each structure is read only once, so a loop in a file ends.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from jaxgan.classifiers.weight_limits import (
    DTYPES,
    MAX_ARRAYS,
    MAX_NAME,
    Arrays,
    WeightError,
    add,
    check_shape,
    count_bytes,
    damaged,
    take,
    take_number,
    view,
)

MARK = b"\x89HDF\r\n\x1a\n"
_MOST_PARTS = 32 * MAX_ARRAYS  # an array has about ten; each takes some microseconds
_MOST_LEVELS = 8  # of a table
_DEPTH = 16  # of groups within groups
_WORD = 8  # bytes of an address or a length
_SPACE, _TYPE, _EXTERNAL, _LAYOUT, _ATTRIBUTE, _MORE, _TABLE = 1, 3, 7, 8, 12, 16, 17
_LINKS = (2, 6)  # what a group of the newer form has
_SOFT_LINK = 2  # an entry of a group's that names a path and no object
_COMPACT, _CONTIGUOUS = 0, 1
_FIXED, _FLOAT, _TEXT, _LONG_TEXT = 0, 1, 3, 9  # classes of types; the last: of any length
_BIG_ENDIAN, _SIGNED = 1, 8  # bits of a type
# Of the floats that we know: first bit and number of bits of exponent and fraction, and the bias.
_FLOATS = {2: (10, 5, 0, 10, 15), 4: (23, 8, 0, 23, 127), 8: (52, 11, 0, 52, 1023)}

Message = tuple[int, memoryview]


def read_hdf5(content: memoryview) -> Arrays:
    """Return the arrays by their paths, in the order in which Keras lists them."""
    tree = _File(content).read()
    for root in ("", "model_weights"):  # the second is that of a whole model
        layers = _list_names(tree.names.get(root, {}), "layer_names")
        if layers:
            return _sort(tree, root, layers)
    return tree.arrays


def _sort(tree: "_Tree", root: str, layers: Sequence[str]) -> Arrays:
    """Return the arrays in the order of layers and, within each, of its list of arrays."""
    arrays: Arrays = {}
    for layer in layers:
        group = _join(root, layer)
        for name in _list_names(tree.names.get(group, {}), "weight_names"):
            if _join(group, name) not in tree.arrays:
                raise damaged("an array is listed that is not there")
            add(arrays, _join(layer, name), tree.arrays[_join(group, name)])
    return arrays


def _list_names(lists: Mapping[str, list[str]], name: str) -> list[str]:
    """Return the names in an attribute; Keras cuts a long list into `name`0, `name`1 and so on."""
    parts = [lists.get(name), *(lists.get(f"{name}{i}") for i in range(len(lists)))]
    return [item for part in parts if part for item in part]


def _join(group: str, name: str) -> str:
    return f"{group}/{name}" if group else name


@dataclass
class _Tree:
    """What is in a file: its arrays, and the lists of names that groups have, by their paths."""

    arrays: Arrays = field(default_factory=dict)
    names: dict[str, dict[str, list[str]]] = field(default_factory=dict)


class _Kind(NamedTuple):
    """A type: its class, the bytes of an item, and what NumPy calls it where it is a number's."""

    number: int
    size: int
    dtype: np.dtype[Any] | None


class _File:
    """The structures of one file."""

    def __init__(self, content: memoryview):
        self._content = content
        self._seen: set[int] = set()
        self._parts_left = _MOST_PARTS
        self._texts: dict[int, dict[int, memoryview]] = {}
        self._tree = _Tree()

    def read(self) -> _Tree:
        """Return all that is in the file."""
        head = take(self._content, 0, 96, "its first block")
        if head[8] != 0 or head[13] != _WORD or head[14] != _WORD or _get_word(head, 24) != 0:
            raise _other_form("its first block")
        self._read_object("", _get_word(head, 64), 0)
        return self._tree

    def _open(self, at: int, size: int, mark: bytes) -> memoryview:
        """Return the first bytes of a structure, which begins with a mark and is met once."""
        self._count()
        if at in self._seen:
            raise damaged("it has a structure twice")
        self._seen.add(at)
        data = take(self._content, at, size, "a structure")
        if data[: len(mark)] != mark:
            raise damaged("a structure is not where it should be")
        return data

    def _count(self) -> None:
        """Count a part of the file; raise if there are too many."""
        self._parts_left -= 1
        if self._parts_left < 0:
            raise damaged("it has more parts than any network needs")

    def _read_object(self, path: str, at: int, depth: int) -> None:
        """Read the array or the group at an address, and all that the group holds."""
        messages = self._list_messages(at)
        bodies = dict(messages)
        if _EXTERNAL in bodies:
            raise WeightError("keeps its numbers in other files, which are not read")
        if any(number in bodies for number in _LINKS) or depth > _DEPTH:
            raise _other_form("its groups")
        if _TABLE not in bodies:
            add(self._tree.arrays, path, self._read_array(bodies))
            return
        attributes = [body for number, body in messages if number == _ATTRIBUTE]
        self._tree.names[path] = dict(self._read_attribute(body) for body in attributes)
        table = bodies[_TABLE]
        heap = self._read_heap(_get_word(table, _WORD))
        for name, child in self._list_links(_get_word(table, 0), heap, None):
            self._read_object(_join(path, name), child, depth + 1)

    def _list_messages(self, at: int) -> list[Message]:
        """Return the messages in an object's header, each with the number of its kind."""
        head = self._open(at, 16, b"\x01")
        left, size = take_number(head, 2, 2, "a header"), take_number(head, 8, 4, "a header")
        messages: list[Message] = []
        blocks = [(at + 16, size)]
        while blocks and left > 0:
            block, place = take(self._content, *blocks.pop(0), "a header"), 0
            while left > 0 and place + _WORD <= len(block):
                number, size = (take_number(block, place + i, 2, "a header") for i in (0, 2))
                body = take(block, place + _WORD, size, "a header")
                if number == _MORE:
                    blocks.append((_get_word(body, 0), _get_word(body, _WORD)))
                messages.append((number, body))
                place, left = place + _WORD + size, left - 1
                self._count()
        return messages

    def _read_heap(self, at: int) -> memoryview:
        """Return the names of a group's links, one behind the other."""
        head = self._open(at, 32, b"HEAP")
        return take(self._content, _get_word(head, 24), _get_word(head, 8), "a list of names")

    def _list_links(
        self, at: int, heap: memoryview, level: int | None
    ) -> Iterator[tuple[str, int]]:
        """Yield the name and the address of everything in a group, from its table at an address.

        A table of level n has tables of level n - 1, and one of level 0 has leaves.
        """
        head = self._open(at, 24, b"TREE")
        if head[4] != 0 or head[5] > _MOST_LEVELS or level not in (None, head[5]):
            raise damaged("the table of a group is broken")
        num = take_number(head, 6, 2, "a table")
        children = take(self._content, at + 24, (2 * num + 1) * _WORD, "a table")
        for i in range(num):
            self._count()
            child = _get_word(children, (2 * i + 1) * _WORD)
            if head[5]:
                yield from self._list_links(child, heap, head[5] - 1)
            else:
                yield from self._list_leaf(child, heap)

    def _list_leaf(self, at: int, heap: memoryview) -> Iterator[tuple[str, int]]:
        num = take_number(self._open(at, 8, b"SNOD"), 6, 2, "a table")
        entries = take(self._content, at + 8, 40 * num, "a table")
        for i in range(num):
            entry = entries[40 * i :]
            if take_number(entry, 16, 4, "a link") == _SOFT_LINK:
                raise WeightError("has a link to a path, which is not followed")
            self._count()
            begin = _get_word(entry, 0)
            name = take(heap, begin, min(MAX_NAME, len(heap) - begin), "a name")
            yield _decode(name), _get_word(entry, _WORD)

    def _read_attribute(self, body: memoryview) -> tuple[str, list[str]]:
        """Return the name of an attribute and its list of texts, empty if it has none."""
        version = take_number(body, 0, 1, "an attribute")
        if version not in (1, 2, 3):
            raise _other_form("an attribute")
        at, parts = (9 if version == 3 else 8), []
        for place in (2, 4, 6):
            size = take_number(body, place, 2, "an attribute")
            parts.append(take(body, at, size, "an attribute"))
            at += -(-size // 8) * 8 if version == 1 else size
        kind, shape = _read_type(parts[1]), _read_sides(parts[2])
        is_list = len(shape) == 1 and kind.size and kind.number in (_TEXT, _LONG_TEXT)
        items = take(body, at, shape[0] * kind.size if is_list else 0, "an attribute")
        cut = [items[i : i + kind.size] for i in range(0, len(items), kind.size or 1)]
        if kind.number == _LONG_TEXT:
            cut = [self._find_text(item) for item in cut]
        return _decode(parts[0]), [_decode(item) for item in cut]

    def _find_text(self, item: memoryview) -> memoryview:
        """Return a text of any length, which lies in a heap with others."""
        self._count()
        at, number = _get_word(item, 4), take_number(item, 12, 4, "a text")
        if at not in self._texts:
            self._texts[at] = self._read_texts(at)
        if number not in self._texts[at]:
            raise damaged("a text is missing")
        return self._texts[at][number]

    def _read_texts(self, at: int) -> dict[int, memoryview]:
        size = _get_word(self._open(at, 16, b"GCOL"), 8)
        heap, place = take(self._content, at, size, "texts"), 16
        texts: dict[int, memoryview] = {}
        while place + 16 <= size and (number := take_number(heap, place, 2, "texts")):
            self._count()
            length = _get_word(heap, place + 8)
            texts[number] = take(heap, place + 16, length, "texts")
            place += 16 + -(-length // 8) * 8
        return texts

    def _read_array(self, bodies: Mapping[int, memoryview]) -> np.ndarray:
        if not {_SPACE, _TYPE, _LAYOUT} <= set(bodies):
            raise _other_form("an object that is neither a group nor an array")
        shape = check_shape(_read_sides(bodies[_SPACE]))
        kind = _read_type(bodies[_TYPE])
        if kind.dtype is None:
            raise _other_form("an array of other things than numbers")
        layout = bodies[_LAYOUT]
        version, form = (take_number(layout, place, 1, "an array") for place in (0, 1))
        if version not in (3, 4) or form not in (_COMPACT, _CONTIGUOUS):
            raise _other_form("an array in several pieces, compressed or virtual")
        if form == _COMPACT:
            data = take(layout, 4, take_number(layout, 2, 2, "an array"), "an array")
        else:
            size = count_bytes(shape, kind.dtype)
            if _get_word(layout, 2 + _WORD) != size:
                raise damaged("an array is not of the size that it claims")
            data = take(self._content, _get_word(layout, 2), size, "an array")
        return view(data, shape, kind.dtype)


def _read_sides(body: memoryview) -> list[int]:
    version, rank = (take_number(body, place, 1, "a shape") for place in (0, 1))
    begin = {1: 8, 2: 4}.get(version)
    if begin is None or (version == 2 and take_number(body, 3, 1, "a shape") > 1):
        raise _other_form("a shape")
    return [_get_word(body, begin + _WORD * i) for i in range(rank)]


def _read_type(body: memoryview) -> _Kind:
    first, bits = take_number(body, 0, 1, "a type"), take_number(body, 1, 3, "a type")
    size = take_number(body, 4, 4, "a type")
    number = first & 15
    if number not in (_FIXED, _FLOAT):
        return _Kind(number, size, None)
    if bits & _BIG_ENDIAN:
        raise WeightError("was written on a machine of the other byte order")
    if take_number(body, 8, 2, "a type") or take_number(body, 10, 2, "a type") != 8 * size:
        raise _other_form("numbers of other sizes")
    if number == _FLOAT:
        places = tuple(take_number(body, place, 1, "a type") for place in (12, 13, 14, 15))
        if (*places, take_number(body, 16, 4, "a type")) != _FLOATS.get(size):
            raise _other_form("numbers of other sizes")
        return _Kind(number, size, DTYPES[f"F{8 * size}"])
    name = f"{'I' if bits & _SIGNED else 'U'}{8 * size}"
    return _Kind(number, size, DTYPES.get(name))


def _decode(text: memoryview) -> str:
    """Return a text up to its end, which a zero marks; names have a length that is accepted."""
    return bytes(text[:MAX_NAME]).partition(b"\0")[0].decode("utf-8", "replace")


def _get_word(body: memoryview, at: int) -> int:
    return take_number(body, at, _WORD, "a structure")


def _other_form(what: str) -> WeightError:
    return WeightError(
        f"is an HDF5 file of another form than Keras writes ({what}): copy its arrays to an .npz "
        "file"
    )
