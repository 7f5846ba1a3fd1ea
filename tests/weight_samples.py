"""Files of weights: those that other programs wrote, and writers of each format by hand."""

import functools
import io
import json
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import numpy as np

from jaxgan.classifiers.weight_limits import DTYPES
from jaxgan.classifiers.weight_torch import LEGACY_MARK

_STORAGES = {"F32": "Float", "F64": "Double", "F16": "Half", "I64": "Long", "U8": "Byte"}
_LIES = (0, 1, 2, 255, 65535, 2**31 - 1, 2**32 - 1, 2**63 - 1, 2**64 - 1)
_NAMES = {dtype: name for name, dtype in DTYPES.items()}


@functools.cache
def read_samples() -> dict[str, bytes]:
    """The files of tests/data/weights.tar.xz by name, see the README there."""
    with tarfile.open(Path(__file__).with_name("data") / "weights.tar.xz") as archive:
        return {m.name: archive.extractfile(m).read() for m in archive.getmembers()}  # type: ignore[union-attr]


def make_arrays(seed=0):
    """A few arrays of several shapes and types."""
    rng = np.random.default_rng(seed)
    return {
        "conv.weight": rng.normal(size=(3, 2, 3, 3)).astype(np.float32),
        "norm.running_var": rng.uniform(size=3),
        "norm.num_batches_tracked": np.array(7),
        "half": rng.normal(size=(2, 5)).astype(np.float16),
    }


def pack_safetensors(arrays, **header):
    """A .safetensors file; `header` replaces entries of its table."""
    table, data = {"__metadata__": {"format": "pt"}}, b""
    for name, array in arrays.items():
        raw = np.ascontiguousarray(array).tobytes()
        place = [len(data), len(data) + len(raw)]
        dtype = _NAMES[array.dtype]
        table[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": place}
        data += raw
    return pack_header(json.dumps(table | header).encode(), data)


def pack_header(header, data=b""):
    return struct.pack("<Q", len(header)) + header + data


def pack_npz(arrays, compressed=False):
    buffer = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(buffer, **arrays)
    return buffer.getvalue()


def pack_zip(members, method=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


# PyTorch, instruction by instruction -------------------------------------------------------------


def put_text(text):
    return b"X" + struct.pack("<I", len(text.encode())) + text.encode()


def put_number(number):
    if number >= 2**31:
        return b"\x8a\x20" + number.to_bytes(32, "little")
    return b"J" + struct.pack("<i", number)


def put_tuple(*items):
    return b"(" + b"".join(items) + b"t"


def put_numbers(numbers):
    return put_tuple(*map(put_number, numbers))


def put_storage(key, kind, num, *more):
    fields = (put_text("storage"), f"ctorch\n{kind}Storage\n".encode(), put_text(key))
    return put_tuple(*fields, put_text("cpu"), put_number(num), *more) + b"Q"


def put_tensor(storage, offset, shape, strides):
    fields = (storage, put_number(offset), put_numbers(shape), put_numbers(strides))
    hooks = b"ccollections\nOrderedDict\n)R"
    return b"ctorch._utils\n_rebuild_tensor_v2\n" + put_tuple(*fields, b"\x89", hooks) + b"R"


def put_table(items):
    body = b"".join(put_text(name) + value for name, value in items.items())
    return b"\x80\x02ccollections\nOrderedDict\n)R(" + body + b"u."


def put_arrays(arrays, *more):
    """The pickle of a state dict; `more` are further fields of each storage."""
    items = {}
    for i, (name, array) in enumerate(arrays.items()):
        storage = put_storage(str(i), _STORAGES[_NAMES[array.dtype]], array.size, *more)
        strides = [step // array.itemsize for step in array.strides]
        items[name] = put_tensor(storage, 0, array.shape, strides)
    return put_table(items)


def pack_torch(arrays, table=None):
    """A file of torch.save; `table` replaces the pickle of its tensors."""
    members = {"archive/data.pkl": put_arrays(arrays) if table is None else table}
    members |= {"archive/byteorder": b"little"}
    members |= {f"archive/data/{i}": a.tobytes() for i, a in enumerate(arrays.values())}
    return pack_zip(members)


def pack_torch_legacy(arrays, table=None, little=b"\x88"):
    keys = b"".join(put_text(str(i)) for i in range(len(arrays)))
    parts = [
        LEGACY_MARK,
        b"\x80\x02M\xe9\x03.",
        b"\x80\x02}" + put_text("little_endian") + little + b"s.",
        put_arrays(arrays, b"N") if table is None else table,
        b"\x80\x02](" + keys + b"e.",
    ]
    data = [struct.pack("<Q", a.size) + a.tobytes() for a in arrays.values()]
    return b"".join(parts + data)


def make_files() -> dict[str, bytes]:
    """A small good file of every format, where the fuzzing begins."""
    arrays, samples = make_arrays(), read_samples()
    return {
        "by_hand.safetensors": pack_safetensors(arrays),
        "by_hand.npz": pack_npz(arrays),
        "compressed.npz": pack_npz(arrays, compressed=True),
        "by_hand.pth": pack_torch(arrays),
        "by_hand_legacy.pth": pack_torch_legacy(arrays),
        **{name: samples[name] for name in ("torch.pth", "torch_legacy.pth")},
        **{name: samples[name] for name in ("keras_legacy.h5", "keras_3.weights.h5")},
    }


def damage(content: bytes, rng: np.random.Generator) -> bytes:
    """Cut a file, change some of its bytes, lie in a number of it, or move a part."""
    changed = bytearray(content)
    kind = rng.integers(5)
    # What describes the arrays is in the first and in the last bytes, mostly.
    near = int(rng.integers(min(len(content), int(rng.choice([64, 512, 4096, len(content)])))))
    at = near if rng.integers(2) else len(content) - 1 - near
    if kind == 0:
        return content[:at]
    if kind == 1:
        for place in (at, *rng.integers(len(content), size=rng.integers(4))):
            changed[int(place)] ^= 1 << int(rng.integers(8))
    elif kind == 2:
        lie = _LIES[rng.integers(len(_LIES))]
        size = int(rng.choice([1, 2, 4, 8]))
        changed[at : at + size] = lie.to_bytes(8, "little")[:size]
    elif kind == 3:
        size = int(rng.integers(1, 64))
        other = int(rng.integers(len(content)))
        changed[at : at + size] = content[other : other + size]
    else:
        changed[at:at] = content[at : at + int(rng.integers(1, 256))]
    return fix_checksums(bytes(changed)) if rng.integers(4) else bytes(changed)


def fix_checksums(content: bytes) -> bytes:
    """Return a zip file with the checksum of each stored member right: what is behind is met."""
    fixed, at = bytearray(content), -1
    while (at := content.find(b"PK\x01\x02", at + 1)) >= 0 and at + 46 <= len(content):
        size, begin = struct.unpack_from("<I", content, at + 20)[0], 0
        local = struct.unpack_from("<I", content, at + 42)[0]
        if local + 30 <= len(content):
            begin = local + 30 + sum(struct.unpack_from("<HH", content, local + 26))
        struct.pack_into("<I", fixed, at + 16, zlib.crc32(content[begin : begin + size]))
    return bytes(fixed)
