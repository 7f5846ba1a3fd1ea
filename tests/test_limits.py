import os

import numpy as np
import pytest

from jaxgan.core.errors import UserError
from jaxgan.data import limits
from jaxgan.data.limits import (
    ImageError,
    RationedFile,
    check_pixels,
    check_scans,
    look_up,
    naming,
    read_file,
    read_stream_sizes,
    unusable_images_error,
)


def test_the_limit_is_the_last_that_is_accepted():
    check_pixels(8192, 6144, 2**20)
    with pytest.raises(ImageError, match="8193 x 6144 pixels, more than the 48 megapixels"):
        check_pixels(8193, 6144, 2**20)


def test_a_small_file_may_not_claim_many_pixels():
    check_pixels(4096, 4096, 8192)
    check_pixels(2048, 2048, 1)  # few enough, whatever they come from
    with pytest.raises(ImageError, match="claims 4096 x 4096 pixels in 8191 bytes"):
        check_pixels(4096, 4096, 8191)


def test_large_files_are_not_read(tmp_path, monkeypatch):
    path = tmp_path / "a.bmp"
    with path.open("wb") as file:
        file.truncate(limits.MAX_BYTES + 1)  # sparse: it takes no room
    monkeypatch.setattr(type(path), "read_bytes", lambda self: pytest.fail("it was read"))
    with pytest.raises(ImageError, match="256 MiB, more than the 256 MiB"):
        read_file(path)


def test_pipes_folders_loops_and_absent_files_have_a_reason(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name, reason in {
        "pipe": "not an ordinary file",
        ".": "not an ordinary file",
        "loop": "cannot be read",
        "absent": "cannot be read",
    }.items():
        with pytest.raises(ImageError, match=reason):
            read_file(tmp_path / name)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_has_a_reason(tmp_path):
    (tmp_path / "a").write_bytes(b"x")
    (tmp_path / "a").chmod(0)
    with pytest.raises(ImageError, match="Permission denied"):
        read_file(tmp_path / "a")


def test_the_ration_is_of_reads_and_of_bytes(monkeypatch):
    monkeypatch.setattr(limits, "MAX_READS", 3)
    file = RationedFile(b"abcdef", 100)
    assert [file.read(1), file.read(), file.read(1)] == [b"a", b"bcdef", b""]
    with pytest.raises(ImageError, match="more than 3 parts"):
        file.read(1)
    file = RationedFile(b"abcdef", 4)
    assert file.read(4) == b"abcd"
    with pytest.raises(ImageError, match="too much data that is not pixels"):
        file.read(1)
    file = RationedFile(b"abcdef", 0)
    file.allow_pixels()
    assert [file.read(), file.seek(0), file.read()] == [b"abcdef", 0, b"abcdef"]
    file.seek(0)
    with pytest.raises(ImageError, match="too much data that is not pixels"):
        file.read()


@pytest.mark.parametrize("shape", [(1,), (7,), (5, 3), (3, 4, 2)])
def test_look_up_is_indexing(shape, monkeypatch):
    monkeypatch.setattr(limits, "_BLOCK", 6)
    indices = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    table = np.random.default_rng(1).permutation(256).astype(np.uint8)
    np.testing.assert_array_equal(look_up(table, indices), table[indices])


FRAME = b"\xff\xc0\0\x0b\x08\0\x03\0\x05\x01\1\x11\0"  # 5 wide, 3 high, one component


def test_sizes_are_read_out_of_streams():
    hidden = b"\xff\xe1\0\x0f" + FRAME  # within a segment of something else
    pixels = b"\xff\xda\0\2\x12\xff\0\xd8\xff\xd0"
    assert read_stream_sizes(b"\xff\xd8" + hidden + FRAME + pixels + b"\xff\xd9" + FRAME) == {
        (5, 3, 1)
    }
    wide = FRAME.replace(b"\5", b"\7")
    assert read_stream_sizes(b"\xff\xd8" + FRAME + pixels + wide) == {(5, 3, 1), (7, 3, 1)}
    assert read_stream_sizes(b"\xff\xd8" + FRAME[:6]) == set() == read_stream_sizes(b"text")
    siz = b"\xff\x4f\xff\x51\0\0\0\0" + b"".join(n.to_bytes(4, "big") for n in (9, 8, 2, 1))
    assert read_stream_sizes(siz + bytes(16) + b"\0\3") == {(7, 7, 3)}
    assert read_stream_sizes(siz) == set()


def test_markers_are_rationed(monkeypatch):
    monkeypatch.setattr(limits, "MAX_READS", 3)
    check_scans(b"\xff\xd8" + b"\xff\xe5\0\2" * 2)
    with pytest.raises(ImageError, match="more than 3 markers"):
        check_scans(b"\xff\xd8" + b"\xff\xe5\0\2" * 3)


def test_an_image_that_has_no_file_is_named():
    expected = r"^the image a\\nb of the data set is empty$"
    with pytest.raises(UserError, match=expected), naming("a\nb"):
        raise ImageError("is empty")


def test_a_long_list_of_bad_images_stops_at_ten():
    bad = [(f"{n}.png", ImageError("is no image")) for n in range(30)]
    lines = str(unusable_images_error(bad, num_images=40)).splitlines()
    assert lines[0] == "30 images of 40 cannot be used:"
    assert lines[1:] == [f"  {n}.png is no image" for n in range(10)] + [
        "  and 20 more",
        "Repair or remove them, then run this again.",
    ]
    assert len(str(unusable_images_error(bad[:10], num_images=40)).splitlines()) == 12
