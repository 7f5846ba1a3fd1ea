"""Read the table of tensors in a PyTorch file, a pickle; nothing in it is executed.

A pickle is a program, and Python's own reader runs it. This reader knows only the few instructions
that a table of tensors needs, and only the names of functions that put a tensor together. Each of
these names stands for a function of this file. All other instructions and names are refused.

The instructions are those of protocol 2, as the module `pickletools` of Python describes them.
"""

import math
import struct
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxgan.classifiers.weight_limits import (
    DTYPES,
    MAX_HEAD_BYTES,
    WeightError,
    check_shape,
    damaged,
    take,
    take_number,
)
from jaxgan.core.untrusted import printable

REMEDY = "In PyTorch, torch.save(model.state_dict(), FILE) makes one that is read"
_MOST_NAME = 200  # bytes of a module's or a function's name


class Storage(NamedTuple):
    """Numbers of one type that tensors are parts of; `key` says where the file has them."""

    key: str
    dtype: np.dtype[Any]
    num: int


class Tensor(NamedTuple):
    """A part of a storage: where it begins, its shape and its strides, all in elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class Table(NamedTuple):
    """What a pickle holds, every storage that it names, and the number of its bytes."""

    value: Any
    storages: Mapping[str, Storage]
    num_bytes: int


def read_pickle(content: memoryview) -> Table:
    """Return the value of the pickle that `content` begins with."""
    machine = _Machine(content[:MAX_HEAD_BYTES])
    value = machine.run()
    return Table(value, machine.storages, machine.at)


# What a pickle may name --------------------------------------------------------------------------


class _Type(NamedTuple):
    """A kind of storage."""

    dtype: np.dtype[Any]


class _Function(NamedTuple):
    """Our function for a function of PyTorch or of Python."""

    call: Callable[..., Any]


def _make_dict(*pairs: Any) -> dict[Any, Any]:
    if pairs:
        raise damaged("a table is not made as PyTorch makes it")
    return {}


def _make_tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> Tensor:
    """Return a tensor that lies within its storage and is not larger than it."""
    is_known = isinstance(storage, Storage) and type(shape) is type(strides) is tuple
    if not is_known or len(shape) != len(strides):
        raise damaged("a tensor is of no storage, or has no shape")
    shape = check_shape(shape)
    if not all(type(number) is int and number >= 0 for number in (offset, *strides)):
        raise damaged("a tensor has no place in its storage")
    last = offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
    if last >= storage.num or math.prod(shape) > storage.num:
        raise damaged("a tensor ends behind the end of its storage")
    # The stride of a side of 1 is never used, and a file may have any number there.
    used = tuple(stride if n > 1 else 0 for n, stride in zip(shape, strides, strict=True))
    return Tensor(storage, offset, shape, used)


def _make_parameter(tensor: Any, *_: Any) -> Tensor:
    if not isinstance(tensor, Tensor):
        raise damaged("a parameter is no tensor")
    return tensor


_STORAGES = {
    "Float": "F32",
    "Double": "F64",
    "Half": "F16",
    "BFloat16": "BF16",
    "Long": "I64",
    "Int": "I32",
    "Short": "I16",
    "Char": "I8",
    "Byte": "U8",
    "Bool": "BOOL",
}
_NAMES: Mapping[str, _Type | _Function] = {
    "collections OrderedDict": _Function(_make_dict),
    "torch._utils _rebuild_tensor_v2": _Function(_make_tensor),
    "torch._utils _rebuild_tensor": _Function(_make_tensor),  # of files before 2018
    "torch._utils _rebuild_parameter": _Function(_make_parameter),
    **{f"torch {name}Storage": _Type(DTYPES[of_ours]) for name, of_ours in _STORAGES.items()},
}


# What a pickle may do ----------------------------------------------------------------------------


class _Machine:
    """The stack and the saved values that the instructions of a pickle work on."""

    def __init__(self, content: memoryview):
        self.at = 0
        self.storages: dict[str, Storage] = {}
        self._content = content
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._aside: dict[int, Any] = {}

    def run(self) -> Any:
        """Follow the instructions to the last; return the value that they leave."""
        while (code := bytes(self.take(1))) != b".":
            if code not in _INSTRUCTIONS:
                raise WeightError(
                    f"holds more than a table of tensors (instruction 0x{code.hex()}), and may "
                    f"run a program. {REMEDY}"
                )
            _INSTRUCTIONS[code](self)
        return self.pop()

    def take(self, size: int) -> memoryview:
        """Return the next bytes."""
        data = take(self._content, self.at, size, "its table of tensors")
        self.at += size
        return data

    def take_number(self, size: int) -> int:
        """Return the next unsigned number."""
        return take_number(self.take(size), 0, size, "its table of tensors")

    def take_line(self) -> str:
        """Return the next bytes up to a line's end."""
        line = bytes(self._content[self.at : self.at + _MOST_NAME]).partition(b"\n")[0]
        self.take(len(line) + 1)
        return line.decode("latin-1")

    def push(self, value: Any) -> None:
        self._stack.append(value)

    def pop(self) -> Any:
        least = self._marks[-1] if self._marks else 0
        if len(self._stack) <= least:
            raise damaged("its table of tensors takes what is not there")
        return self._stack.pop()

    def look(self, kind: type) -> Any:
        """Return the value on top, which has to be of a kind, and leave it."""
        value = self.pop()
        self.push(value)
        if type(value) is not kind:
            raise damaged("its table of tensors adds to what is no table")
        return value

    def mark(self) -> None:
        self._marks.append(len(self._stack))

    def pop_to_mark(self) -> list[Any]:
        """Return all that is above the last mark."""
        if not self._marks:
            raise damaged("its table of tensors ends what has not begun")
        begin = self._marks.pop()
        values = self._stack[begin:]
        del self._stack[begin:]
        return values

    def put_aside(self, place: int) -> None:
        self._aside[place] = self.pop()
        self.push(self._aside[place])

    def fetch(self, place: int) -> None:
        if place not in self._aside:
            raise damaged("its table of tensors takes what is not there")
        self.push(self._aside[place])


def _push_tuple(machine: _Machine, size: int) -> None:
    machine.push(tuple([machine.pop() for _ in range(size)][::-1]))


def _push_text(machine: _Machine, length_size: int, encoding: str) -> None:
    text = machine.take(machine.take_number(length_size))
    machine.push(bytes(text).decode(encoding, "replace"))


def _push_signed(machine: _Machine, size: int) -> None:
    machine.push(int.from_bytes(machine.take(size), "little", signed=True))


def _push_float(machine: _Machine) -> None:
    machine.push(struct.unpack(">d", machine.take(8))[0])


def _push_name(machine: _Machine) -> None:
    name = f"{machine.take_line()} {machine.take_line()}"
    if name not in _NAMES:
        called = printable(".".join(name.split()))
        raise WeightError(
            f"holds more than a table of tensors ({called[:_MOST_NAME]}), and may run a program. "
            f"{REMEDY}"
        )
    machine.push(_NAMES[name])


def _call(machine: _Machine) -> None:
    given, function = machine.pop(), machine.pop()
    if type(function) is not _Function or type(given) is not tuple:
        raise damaged("its table of tensors calls what is no function")
    try:
        machine.push(function.call(*given))
    except TypeError:
        raise damaged("a tensor is not made as PyTorch makes it") from None


def _push_storage(machine: _Machine) -> None:
    """Push the storage of a tuple ("storage", type, key, device, number[, view])."""
    given = machine.pop()
    fields = given if type(given) is tuple else ()
    if len(fields) not in (5, 6) or fields[0] != "storage" or fields[5:] not in ((), (None,)):
        raise damaged("a storage is not described as PyTorch does")
    _, kind, key, _, num = fields[:5]
    if type(kind) is not _Type or type(key) is not str or type(num) is not int or num < 0:
        raise damaged("a storage is not described as PyTorch does")
    storage = Storage(key, kind.dtype, num)
    if machine.storages.setdefault(key, storage) != storage:
        raise damaged("a storage is described in two ways")
    machine.push(storage)


def _set_items(machine: _Machine, values: list[Any]) -> None:
    table = machine.look(dict)
    keys = values[::2]
    # No other keys: comparing, or hashing, what a stranger has nested takes as long as he likes.
    if len(values) % 2 or not all(type(key) in (str, int) for key in keys):
        raise damaged("its table of tensors has keys that are no names")
    table.update(zip(keys, values[1::2], strict=True))


def _set_item(machine: _Machine) -> None:
    value, key = machine.pop(), machine.pop()
    _set_items(machine, [key, value])


def _append(machine: _Machine) -> None:
    value = machine.pop()
    machine.look(list).append(value)


def _extend(machine: _Machine) -> None:
    values = machine.pop_to_mark()
    machine.look(list).extend(values)


def _drop_attributes(machine: _Machine) -> None:
    """Leave out the attributes of a table: versions of layers."""
    machine.pop()
    machine.look(dict)


_INSTRUCTIONS: Mapping[bytes, Callable[[_Machine], None]] = {
    b"\x80": lambda m: None if m.take_number(1) <= 2 else _refuse_protocol(),  # PROTO
    b"(": _Machine.mark,  # MARK
    b"N": lambda m: m.push(None),  # NONE
    b"\x88": lambda m: m.push(True),  # NEWTRUE
    b"\x89": lambda m: m.push(False),  # NEWFALSE
    b"J": lambda m: _push_signed(m, 4),  # BININT
    b"K": lambda m: m.push(m.take_number(1)),  # BININT1
    b"M": lambda m: m.push(m.take_number(2)),  # BININT2
    b"\x8a": lambda m: _push_signed(m, m.take_number(1)),  # LONG1
    b"G": _push_float,  # BINFLOAT
    b"X": lambda m: _push_text(m, 4, "utf-8"),  # BINUNICODE
    b"T": lambda m: _push_text(m, 4, "latin-1"),  # BINSTRING, of Python 2
    b"U": lambda m: _push_text(m, 1, "latin-1"),  # SHORT_BINSTRING, of Python 2
    b")": lambda m: m.push(()),  # EMPTY_TUPLE
    b"\x85": lambda m: _push_tuple(m, 1),  # TUPLE1
    b"\x86": lambda m: _push_tuple(m, 2),  # TUPLE2
    b"\x87": lambda m: _push_tuple(m, 3),  # TUPLE3
    b"t": lambda m: m.push(tuple(m.pop_to_mark())),  # TUPLE
    b"}": lambda m: m.push({}),  # EMPTY_DICT
    b"]": lambda m: m.push([]),  # EMPTY_LIST
    b"a": _append,  # APPEND
    b"e": _extend,  # APPENDS
    b"s": _set_item,  # SETITEM
    b"u": lambda m: _set_items(m, m.pop_to_mark()),  # SETITEMS
    b"q": lambda m: m.put_aside(m.take_number(1)),  # BINPUT
    b"r": lambda m: m.put_aside(m.take_number(4)),  # LONG_BINPUT
    b"h": lambda m: m.fetch(m.take_number(1)),  # BINGET
    b"j": lambda m: m.fetch(m.take_number(4)),  # LONG_BINGET
    b"c": _push_name,  # GLOBAL
    b"R": _call,  # REDUCE
    b"b": _drop_attributes,  # BUILD
    b"Q": _push_storage,  # BINPERSID
}


def _refuse_protocol() -> None:
    raise WeightError(
        "is written in a newer protocol of pickles than PyTorch uses, 2: leave out "
        "pickle_protocol where torch.save is called"
    )
