"""Files of weights of every format: their arrays, or a sentence."""

import hashlib
import io
import os
import re
from typing import Any

import numpy as np
import pytest

from jaxgan.classifiers import weight_files, weight_limits
from jaxgan.classifiers.weight_files import (
    KERAS,
    NPZ,
    SAFETENSORS,
    TORCH,
    TORCH_LEGACY,
    parse_weights,
    read_arrays,
    read_weight_file,
)
from jaxgan.classifiers.weight_limits import WeightError
from jaxgan.core.errors import UserError
from jaxgan.core.untrusted import printable
from tests.weight_samples import (
    damage,
    make_arrays,
    make_files,
    pack_header,
    pack_npz,
    pack_safetensors,
    pack_torch,
    pack_torch_legacy,
    pack_zip,
    put_storage,
    put_table,
    put_tensor,
    read_samples,
)

BY_HAND: dict[str, Any] = {
    SAFETENSORS: pack_safetensors,
    NPZ: pack_npz,
    TORCH: pack_torch,
    TORCH_LEGACY: pack_torch_legacy,
}


def check_same(found, expected):
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype and found[name].shape == array.shape, name
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize("form", BY_HAND)
def test_arrays_come_back_as_they_were(form, tmp_path):
    """The format is told by the content: the file has no name of a format."""
    arrays = make_arrays()
    content = BY_HAND[form](arrays)
    (tmp_path / "any").write_bytes(content)
    file = read_weight_file(tmp_path / "any")
    check_same(file.arrays, arrays)
    check_same(read_arrays(tmp_path / "any"), arrays)
    sha256 = hashlib.sha256(content).hexdigest()
    assert (file.name, file.format, file.sha256) == ("any", form, sha256)


def test_a_compressed_npz_is_read_and_one_of_columns():
    arrays = {**make_arrays(), "turned": np.asfortranarray(np.arange(6.0).reshape(2, 3))}
    for compressed in (False, True):
        check_same(parse_weights(pack_npz(arrays, compressed))[1], arrays)


def fill(shape, begin=0):
    return (np.arange(begin, begin + np.prod(shape)) / 4 - 3).reshape(shape)


def test_what_pytorch_wrote_is_read():
    expected = {
        "conv.weight": fill((3, 2, 3, 3)),
        "norm.weight": fill((3,)),
        "norm.bias": fill((3,)),
        "norm.running_mean": fill((3,)),
        "norm.running_var": fill((3,)),
        "norm.num_batches_tracked": np.array(0),
        "fc.weight": fill((2, 4)),
        "fc.bias": fill((2,)),
        "half": fill((2, 3)),
        "brain": fill((3,)),
        "turned": fill((3, 2)).T,
        "part": fill((4,), begin=4),
    }
    for name, form in (
        ("torch.pth", TORCH),
        ("torch_legacy.pth", TORCH_LEGACY),
        ("torch_training.pth", TORCH),
    ):
        found, arrays = parse_weights(read_samples()[name])
        assert found == form
        assert list(arrays) == list(expected)
        for array_name, array in expected.items():
            np.testing.assert_array_equal(arrays[array_name].astype(float), array, array_name)


def test_what_keras_wrote_is_read():
    truth = parse_weights(read_samples()["keras.npz"])[1]
    for name in ("keras_legacy.h5", "keras_3.weights.h5"):
        form, arrays = parse_weights(read_samples()[name])
        assert form == KERAS
        by_sum = {float(a.sum()): a for a in arrays.values()}
        assert len(arrays) == len(by_sum) == len(truth)
        for array in truth.values():
            np.testing.assert_array_equal(by_sum[float(array.sum())], array)
    legacy = parse_weights(read_samples()["keras_legacy.h5"])[1]
    check_same(dict(zip(truth, legacy.values(), strict=True)), truth)


HDF5_REASONS = {
    "hdf5_big_endian.h5": "of the other byte order",
    "hdf5_chunked.h5": "in several pieces, compressed or virtual",
    "hdf5_circle.h5": "it has a structure twice",
    "hdf5_empty.h5": "a side that is no number above 0",
    "hdf5_external_link.h5": "of another form than Keras writes",
    "hdf5_external_storage.h5": "keeps its numbers in other files",
    "hdf5_hard.h5": "it has a structure twice",
    "hdf5_latest.h5": "of another form than Keras writes",
    "hdf5_soft.h5": "has a link to a path, which is not followed",
    "hdf5_texts.h5": "of other things than numbers",
    "hdf5_unwritten.h5": "would end behind the end",
    "hdf5_virtual.h5": "in several pieces, compressed or virtual",
}


def test_what_hdf5_can_do_and_keras_does_not_is_refused():
    samples = {n: c for n, c in read_samples().items() if n.startswith("hdf5")}
    assert len(parse_weights(samples.pop("hdf5_many.h5"))[1]) == 300
    assert samples.keys() == HDF5_REASONS.keys()
    for name, content in samples.items():
        with pytest.raises(WeightError, match=HDF5_REASONS[name]):
            parse_weights(content)


def read(content, tmp_path):
    (tmp_path / "file").write_bytes(content)
    return read_weight_file(tmp_path / "file")


def test_a_whole_module_is_refused_and_nothing_of_it_runs(tmp_path):
    with pytest.raises(UserError, match=r"file holds more than a table of tensors \(torch.nn"):
        read(read_samples()["torch_whole.pth"], tmp_path)
    mark = tmp_path / "ran"
    program = b"\x80\x02cos\nsystem\n(X" + len(f"touch {mark}").to_bytes(4, "little")
    program += f"touch {mark}".encode() + b"tR."
    for pack in (pack_torch, pack_torch_legacy):
        with pytest.raises(UserError, match=r"\(os.system\), and may run a program"):
            read(pack(make_arrays(), program), tmp_path)
    assert not mark.exists()


def test_the_stride_of_a_side_of_1_may_be_any_number():
    arrays = {"a": np.arange(2, dtype=np.float32)[None]}
    for pack in (pack_torch, pack_torch_legacy):
        table = put_table(
            {"a": put_tensor(put_storage("0", "Float", 2, b"N"), 0, (1, 2), (2**200, 1))}
        )
        check_same(parse_weights(pack(arrays, table))[1], arrays)


def test_what_is_no_file_of_weights_has_its_sentence(tmp_path):
    for content in (b"", b"text", b"\x89PNG\r\n\x1a\n", b"\x80\x04\x95"):
        with pytest.raises(UserError, match="is of no known format, expected a"):
            read(content, tmp_path)
    with pytest.raises(UserError, match="is not there, or is no ordinary file"):
        read_weight_file(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="is not there, or is no ordinary file"):
        read_weight_file(tmp_path / "pipe")
    with pytest.raises(UserError, match="holds no arrays"):
        read(pack_header(b"{}"), tmp_path)
    with pytest.raises(UserError, match=re.escape(r"weights a\x1bb is not there")):
        read_weight_file(tmp_path.joinpath("a\x1bb").relative_to(tmp_path))


def test_a_file_that_is_too_large_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(weight_files, "MAX_BYTES", 2**20)
    with (tmp_path / "file").open("wb") as file:
        file.truncate(2**20 + 1)
    with pytest.raises(UserError, match="has 1 MiB, more than the 1 that are accepted"):
        read_weight_file(tmp_path / "file")


def lie(name="a", **entry):
    entry = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **entry}
    return pack_safetensors({}, **{name: entry}) + bytes(8)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (pack_header(b"{")[:8], "is of no known format"),
        (b"\xff" * 7 + b"\x7f{", "bytes of names and shapes"),
        (b"\xff" + bytes(7) + b"{}", "would end behind the end"),
        (pack_header(b'{"a": 1'), "is no JSON"),
        (pack_header(b"{" + b'"a":[' * 100_000), "is no JSON"),
        (pack_header(b'{"a": ' + b"9" * 9999 + b"}"), "is no JSON"),
        (pack_header(b'{"a": "\xff"}'), "is no JSON"),
        (pack_header(b'{"a": {}, "a": {}}'), "is no JSON|a name twice"),
        (pack_header(b'{"a": 1}'), "type other than"),
        (lie(dtype="F8"), "type other than"),
        (lie(dtype=["F32"]), "type other than"),
        (lie(shape="2"), "no shape"),
        (lie(shape=[1] * 9 + [2]), "10 dimensions"),
        (lie(shape=[-2, -1]), "a side that is no number"),
        (lie(shape=[True, 2]), "a side that is no number"),
        (lie(shape=[2.0]), "a side that is no number"),
        (lie(shape=[0]), "a side that is no number"),
        (lie(shape=[2**62, 4]), "a side that is no number"),
        (lie(shape=[2**30, 2**30]), "has 8 bytes"),
        (lie(shape=[3]), "has 8 bytes"),
        (lie(data_offsets=[0, 16]), "would end behind the end"),
        (lie(data_offsets=[-8, 0]), "has no place"),
        (lie(data_offsets=[0.0, 8.0]), "has no place"),
        (lie(data_offsets=[8, 0]), "overlap, or leave a gap"),
        (lie(data_offsets=[4, 12]), "overlap, or leave a gap"),
        (lie(data_offsets=[0, 4], shape=[1]), "4 bytes at its end"),
        (lie(name="n" * 513), "no name of 1 to 512"),
        (lie(name=""), "no name of 1 to 512"),
    ],
)
def test_a_table_that_lies_is_refused(content, reason, tmp_path):
    with pytest.raises(UserError, match=reason):
        read(content, tmp_path)


def test_two_arrays_do_not_share_bytes(tmp_path):
    entry = {"dtype": "U8", "shape": [8], "data_offsets": [0, 8]}
    with pytest.raises(UserError, match="overlap, or leave a gap"):
        read(pack_safetensors({}, a=entry, b=entry) + bytes(8), tmp_path)


def test_there_are_not_too_many_arrays(monkeypatch):
    monkeypatch.setattr(weight_limits, "MAX_ARRAYS", 3)
    for form, pack in BY_HAND.items():
        with pytest.raises(WeightError, match="has 4 arrays, more than the 3"):
            parse_weights(pack(make_arrays()))
        assert len(parse_weights(pack({"a": np.zeros(3)}))[1]) == 1, form


def make_npy(header, version=1):
    size = {1: 2, 2: 4}[version]
    return b"\x93NUMPY" + bytes([version, 0]) + len(header).to_bytes(size, "little") + header


GOOD_NPY = b"{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }\n"


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        (b"", "no array of NumPy's"),
        (b"\x93NUMPY\x09\0", "NumPy's format 9"),
        (make_npy(GOOD_NPY)[:20], "would end behind the end"),
        (make_npy(GOOD_NPY.replace(b"<f4", b"|O")) + bytes(8), "of the type |O"),
        (make_npy(GOOD_NPY.replace(b"<f4", b">f4")) + bytes(8), "of the type >f4"),
        (make_npy(GOOD_NPY.replace(b"'<f4'", b"[('a', '<f4')]")) + bytes(8), "of other things"),
        (make_npy(GOOD_NPY.replace(b"2,", b"__import__('os')")) + bytes(8), "of other things"),
        (make_npy(GOOD_NPY.replace(b"2,", b"9999999999,")) + bytes(8), "a side that is no"),
        (make_npy(GOOD_NPY.replace(b"2,", b"1000000000,")) + bytes(8), "has 8 bytes"),
        (make_npy(GOOD_NPY) + bytes(9), "has 9 bytes"),
    ],
)
def test_an_array_of_numpy_that_lies_is_refused(member, reason, tmp_path):
    with pytest.raises(UserError, match=reason):
        read(pack_zip({"a.npy": member}), tmp_path)


def test_an_array_of_numpy_s_second_format_is_read():
    content = pack_zip({"a.npy": make_npy(GOOD_NPY, version=2) + bytes(8)})
    check_same(parse_weights(content)[1], {"a": np.zeros(2, np.float32)})


def test_a_table_of_objects_is_refused():
    """NumPy itself would unpickle them."""
    buffer = io.BytesIO()
    np.savez(buffer, a=np.array([{}], dtype=object))
    with pytest.raises(WeightError, match=r"of the type \|O|of other things"):
        parse_weights(buffer.getvalue())


@pytest.mark.parametrize("name", make_files())
def test_a_damaged_file_gives_arrays_or_a_reason(name):
    content, rng = make_files()[name], np.random.default_rng(len(name))
    num_refused = 0
    for _ in range(300):
        try:
            _, arrays = parse_weights(damage(content, rng))
            assert all(isinstance(array, np.ndarray) for array in arrays.values())
        except WeightError as error:
            assert str(error) == printable(str(error))
            num_refused += 1
    assert num_refused > 30


def test_every_cut_is_told():
    for name, content in make_files().items():
        for size in {*range(0, len(content), 97), len(content) - 1}:
            with pytest.raises(WeightError):
                parse_weights(content[:size])
            assert size < len(content), name
