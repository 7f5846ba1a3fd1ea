import io
import struct
import threading
import time
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from jaxgan.core.errors import DiskError, UserError
from jaxgan.data import images, limits
from jaxgan.data.images import (
    decode_image,
    decode_many,
    measure_image,
    read_image,
    resize_square,
)
from jaxgan.data.limits import ImageError
from jaxgan.data.values import View, choose_ranges
from tests.fuzz.seeds import make_film, make_images

_SIGNATURES = [
    b"\x89PNG\r\n\x1a\n",
    b"\xff\xd8\xff",
    b"BM",
    b"II*\0",
    b"RIFF\0\0\0\0WEBPVP8 ",
    b"\0" * 128 + b"DICM",
]
# Damaged EXIF, TIFF and DICOM make Pillow and pydicom remark on it; a user's run shows that too.
pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning:PIL"),
    pytest.mark.filterwarnings("ignore::UserWarning:pydicom"),
]


def encode(image: Image.Image, file_format: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def gray(*rows) -> Image.Image:
    return Image.fromarray(np.array(rows, dtype=np.uint8))


def noise(height: int, width: int, channels: int = 1) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)
    return Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels)


def values(source: bytes, channels: int = 1) -> list:
    return np.asarray(read_image(source, channels)).tolist()


SIXTEEN_BITS = np.array([[0, 257, 128 * 257, 65535]], dtype=np.uint16)


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_sixteen_bits_map_the_full_range(file_format):
    assert values(encode(Image.fromarray(SIXTEEN_BITS), file_format)) == [[0, 1, 128, 255]]


def test_sixteen_bits_big_endian():
    assert values(encode(Image.fromarray(SIXTEEN_BITS.astype(">u2")), "TIFF")) == [[0, 1, 128, 255]]


def test_sixteen_bits_in_a_32_bit_image():
    image = Image.fromarray(SIXTEEN_BITS.astype(np.int32))
    assert image.mode == "I"
    assert values(encode(image, "TIFF")) == [[0, 1, 128, 255]]


def test_sixteen_bits_white_is_zero_is_inverted():
    content = encode(Image.fromarray(SIXTEEN_BITS), "TIFF", tiffinfo={262: 0})
    assert values(content) == [[255, 254, 127, 0]]


def test_sixteen_bits_become_three_equal_channels():
    assert values(encode(Image.fromarray(SIXTEEN_BITS)), 3) == [[[v] * 3 for v in (0, 1, 128, 255)]]


UNSIGNED_16, SIGNED_16 = "16 bits (PNG, TIFF)", "16 bits, signed (PNG, TIFF)"


@pytest.mark.parametrize(
    ("file_format", "pixels", "kind"),
    [
        ("PNG", np.array([[100, 300, 500]], np.uint16), UNSIGNED_16),
        ("TIFF", np.array([[100, 300, 500]], np.uint16), UNSIGNED_16),
        ("TIFF", np.array([[100, 300, 500]], ">u2"), UNSIGNED_16),
        ("TIFF", np.array([[100, 300, 500]], np.int32), "32 bits (PNG, TIFF)"),
        ("TIFF", np.array([[-100, 0, 100]], np.int32), "32 bits (PNG, TIFF)"),
        ("TIFF", np.array([[0, 70_000, 140_000]], np.int32), "32 bits (PNG, TIFF)"),
    ],
)
def test_a_small_part_of_many_bits_is_measured_and_shown(file_format, pixels, kind):
    content = encode(Image.fromarray(pixels), file_format)
    spread = measure_image(content)
    assert (spread.kind, spread.least, spread.largest) == (kind, pixels.min(), pixels.max())
    view = View(ranges=choose_ranges([spread]))
    decoded = decode_image(content, 1, view)
    assert np.asarray(decoded.image).tolist() == [[0, 128, 255]]
    assert decoded.way == f"of {kind}"


def make_signed_tiff(pixels) -> bytes:
    """A plain TIFF of 16 bits, signed, which Pillow reads and does not write."""
    raw = np.asarray(pixels, "<i2").tobytes()
    height, width = np.asarray(pixels).shape
    entries = [
        (256, 3, width), (257, 3, height), (258, 3, 16), (259, 3, 1), (262, 3, 1),
        (273, 4, 8), (277, 3, 1), (278, 3, height), (279, 4, len(raw)), (339, 3, 2),
    ]  # fmt: skip
    packed = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    return (
        b"II*\0"
        + struct.pack("<I", 8 + len(raw))
        + raw
        + struct.pack("<H", len(entries))
        + packed
        + bytes(4)
    )


def test_signed_tiff():
    content = make_signed_tiff([[-1000, 0, 1000]])
    spread = measure_image(content)
    assert (spread.kind, spread.least, spread.full) == (SIGNED_16, -1000.0, (-32768.0, 32767.0))
    shown = read_image(content, 1, View(asked=(-1000.0, 1000.0)))
    assert np.asarray(shown).tolist() == [[0, 128, 255]]
    assert values(make_signed_tiff([[-32768, 0, 32767]])) == [[0, 128, 255]]


def test_unsigned_32_bits_that_pillow_takes_for_negative_are_refused():
    content = make_signed_tiff([[-1, -1]])
    for tag, before, after in ((258, 16, 32), (256, 2, 1), (339, 2, 1)):  # bits, width, sign
        entries = [struct.pack("<HHII", tag, 3, 1, value) for value in (before, after)]
        content = content.replace(*entries)
    with pytest.raises(ImageError, match="above 2147483647"):
        read_image(content, 1)


def make_png(pixels, colour_type: int, extra: bytes = b"") -> bytes:
    """A PNG of 16 bits; Pillow writes it in gray alone."""
    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    head = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + _make_chunk(b"IHDR", head)
        + extra
        + _make_chunk(b"IDAT", zlib.compress(rows))
        + _make_chunk(b"IEND")
    )


DEEP_COLOURS = {"RGB": (2, 3), "gray and alpha": (4, 2), "RGBA": (6, 4)}


@pytest.mark.parametrize("name", sorted(DEEP_COLOURS))
def test_16_bits_of_colour_keep_both_bytes(name):
    """Pillow keeps the upper one: numbers of 0 to 5000 became 20 grays."""
    colour_type, channels = DEEP_COLOURS[name]
    pixels = np.random.default_rng(0).integers(0, 5001, (9, 7, channels))
    if channels != 3:
        pixels[..., -1] = 65535
    content = make_png(pixels, colour_type)
    spread = measure_image(content)
    assert spread.full == (0.0, 65535.0) and spread.largest <= 5000
    shown = np.asarray(read_image(content, 3, View(ranges={spread.kind: (0.0, 5000.0)})))
    gray = pixels[..., :1].repeat(3, axis=-1) if channels == 2 else pixels[..., :3]
    np.testing.assert_array_equal(shown, np.rint(gray / 5000 * 255))
    upper = np.asarray(read_image(content, 3))  # without a range, as it always was
    np.testing.assert_array_equal(upper, gray >> 8)


def test_deep_colour_of_tiff_keeps_both_bytes():
    pixels = np.random.default_rng(0).integers(0, 5001, (4, 5, 3)).astype("<u2")
    entries = [
        (256, 3, 1, 5), (257, 3, 1, 4), (258, 3, 3, 8), (259, 3, 1, 1), (262, 3, 1, 2),
        (273, 4, 1, 14), (277, 3, 1, 3), (278, 3, 1, 4), (279, 4, 1, pixels.nbytes),
    ]  # fmt: skip
    packed = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    content = (
        b"II*\0"
        + struct.pack("<I", 14 + pixels.nbytes)
        + struct.pack("<3H", 16, 16, 16)
        + pixels.tobytes()
        + struct.pack("<H", len(entries))
        + packed
        + bytes(4)
    )
    np.testing.assert_array_equal(np.asarray(read_image(content, 3)), pixels >> 8)
    shown = np.asarray(read_image(content, 3, View(asked=(0.0, 5000.0))))
    np.testing.assert_array_equal(shown, np.rint(pixels / 5000 * 255))


def test_a_transparent_colour_of_16_bits_is_that_colour_alone():
    pixels = np.array([[[258, 0, 0], [259, 0, 0], [65535, 0, 0]]])
    content = make_png(pixels, 2, _make_chunk(b"tRNS", struct.pack(">3H", 258, 0, 0)))
    assert np.asarray(read_image(content, 3))[0, :, 0].tolist() == [0, 1, 255]
    bright = make_png(pixels + 512, 2, _make_chunk(b"tRNS", struct.pack(">3H", 770, 512, 512)))
    assert np.asarray(read_image(bright, 3))[0].tolist()[:2] == [[0, 0, 0], [3, 2, 2]]


def test_a_transparent_gray_of_16_bits_is_black_under_any_range():
    content = encode(Image.fromarray(np.array([[100, 200, 300]], np.uint16)), transparency=300)
    assert np.asarray(read_image(content, 1, View(asked=(100.0, 300.0)))).tolist() == [[0, 128, 0]]


def test_eight_bits_are_not_measured_and_no_range_concerns_them():
    content = encode(noise(40, 40))
    assert measure_image(content) is None and not images.may_be_deep(content)
    decoded = decode_image(content, 1, View(asked=(0.0, 9.0)))
    np.testing.assert_array_equal(np.asarray(decoded.image), np.asarray(noise(40, 40)))
    assert decoded.way == "of 8 bits as they are" and decoded.num_grays > 200


@pytest.mark.parametrize("file_format", ["JPEG", "BMP", "WEBP"])
def test_what_has_8_bits_by_its_format_is_not_even_read(file_format):
    assert not images.may_be_deep(encode(noise(9, 9), file_format)[:48])


def test_damaged_files_are_not_measured():
    content = encode(Image.fromarray(SIXTEEN_BITS))
    assert images.may_be_deep(content) and measure_image(content) is not None
    assert measure_image(content[:50]) is None is measure_image(b"")


def test_floating_point_is_refused():
    with pytest.raises(ImageError, match="floating-point"):
        read_image(encode(Image.fromarray(np.zeros((2, 2), np.float32)), "TIFF"), 1)


def test_transparency_is_composited_over_black():
    rgba = Image.fromarray(
        np.array([[[200, 100, 50, 255], [200, 100, 50, 0], [200, 100, 50, 128]]], dtype=np.uint8)
    )
    assert values(encode(rgba), 3) == [[[200, 100, 50], [0, 0, 0], [100, 50, 25]]]
    la = Image.merge("LA", (gray([200, 200]), gray([255, 0])))
    assert values(encode(la)) == [[200, 0]]


def test_palette_with_transparency():
    image = gray([0, 1, 2]).convert("P")
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    assert values(encode(image), 3) == [[[255, 0, 0], [0, 255, 0], [0, 0, 255]]]
    assert values(encode(image, transparency=1), 3) == [[[255, 0, 0], [0, 0, 0], [0, 0, 255]]]
    some = encode(image, transparency=bytes([255, 255, 0]))
    assert values(some, 3) == [[[255, 0, 0], [0, 255, 0], [0, 0, 0]]]


def test_gray_with_a_transparent_value():
    assert values(encode(gray([10, 20, 30]), transparency=20)) == [[10, 0, 30]]


def test_gray_palette_keeps_its_values():
    image = gray([0, 1, 2]).convert("P")
    image.putpalette([7] * 3 + [100] * 3 + [250] * 3)
    assert values(encode(image)) == [[7, 100, 250]]


def test_cmyk_jpeg():
    rgb = np.zeros((16, 16, 3), dtype=np.uint8)
    rgb[...] = (200, 60, 20)
    content = encode(Image.fromarray(rgb).convert("CMYK"), "JPEG", quality=100)
    with Image.open(io.BytesIO(content)) as image:
        assert image.mode == "CMYK"
    assert np.abs(np.asarray(read_image(content, 3)).astype(int) - rgb).max() <= 3


def test_one_bit():
    assert values(encode(gray([0, 255]).convert("1"))) == [[0, 255]]


def test_rgb_becomes_gray_by_luma_and_gray_becomes_rgb():
    rgb = Image.fromarray(np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], dtype=np.uint8))
    assert values(encode(rgb)) == [[76, 150, 29]]  # ITU-R 601
    assert values(encode(gray([9])), 3) == [[[9, 9, 9]]]


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(orientation, file_format):
    upright = np.zeros((16, 24), dtype=np.uint8)
    upright[:8, :8] = 255  # white in the corner at the top left
    undo = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: np.rot90(upright),
        7: upright[::-1, ::-1].T,
        8: np.rot90(upright, -1),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(undo[orientation]))
    decoded = np.asarray(read_image(encode(stored, file_format, exif=exif), 1)).astype(int)
    assert decoded.shape == upright.shape
    assert np.abs(decoded - upright).max() < 40


def test_exif_orientation_of_16_bits():
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encode(Image.fromarray(SIXTEEN_BITS), exif=exif)
    assert values(content) == [[0], [1], [128], [255]]


def test_truncated_jpeg_and_png():
    for content in (encode(noise(64, 64), "JPEG"), encode(noise(64, 64))):
        with pytest.raises(ImageError, match="damaged or cut off"):
            read_image(content[: len(content) // 2], 1)


def test_text_called_png(tmp_path):
    path = tmp_path / "note.png"
    path.write_text("this is no image")
    with pytest.raises(ImageError, match=r"is not a PNG, JPEG.*begins b'this is "):
        read_image(path, 1)


def test_empty_and_missing_files(tmp_path):
    with pytest.raises(ImageError, match="empty"):
        read_image(b"", 1)
    with pytest.raises(ImageError, match="cannot be read"):
        read_image(tmp_path / "absent.png", 1)


def test_pages_are_refused():
    content = encode(gray([1]), "TIFF", save_all=True, append_images=[gray([2])])
    with pytest.raises(ImageError, match="2 pages"):
        read_image(content, 1)


def test_decompression_bombs_are_refused_undecoded(monkeypatch):
    monkeypatch.setattr(limits, "MAX_PIXELS", 100)
    with pytest.raises(ImageError, match="11 x 10 pixels, more than"):
        read_image(encode(noise(10, 11)), 1)
    assert read_image(encode(noise(10, 10)), 1).size == (10, 10)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)  # Pillow's own limit speaks first
    with pytest.raises(ImageError, match="too many pixels"):
        read_image(encode(noise(10, 10)), 1)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(["PNG", "JPEG", "BMP", "TIFF"]), st.data())
def test_damaged_files_give_an_image_or_a_reason(file_format, data):
    content = bytearray(encode(noise(9, 7), file_format))
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert read_image(bytes(content[: data.draw(st.integers(1, len(content)))]), 1).mode == "L"
    except ImageError as error:
        assert str(error)


def test_resize_square_cuts_the_centre():
    wide = gray([1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6])
    assert np.asarray(resize_square(wide, 2)).tolist() == [[3, 4], [3, 4]]
    tall = Image.fromarray(np.asarray(wide).T.copy())
    assert np.asarray(resize_square(tall, 2)).tolist() == [[3, 3], [4, 4]]


def test_resize_square_averages_areas_when_shrinking():
    image = noise(8, 8)
    expected = np.asarray(image).reshape(4, 2, 4, 2).mean(axis=(1, 3))
    # Pillow rounds once for each direction
    assert np.abs(np.asarray(resize_square(image, 4)) - expected).max() <= 1.0


def test_resize_square_interpolates_when_enlarging():
    row = np.asarray(resize_square(gray([0, 200], [0, 200]), 4))[0].tolist()
    assert row == [0, 50, 150, 200]


def test_shrink_keeps_proportions_and_never_enlarges():
    assert images.shrink_to(noise(100, 150), 50).size == (75, 50)
    assert images.shrink_to(noise(40, 150), 50).size == (150, 40)


def test_decode_many_keeps_the_order_and_uses_threads():
    contents = [encode(gray([n])) for n in range(50)]
    threads = set()

    def first(image):
        threads.add(threading.current_thread())
        return image.getpixel((0, 0))

    assert decode_many(contents, channels=1, use=first) == list(range(50))
    assert threading.main_thread() not in threads
    assert decode_many(contents[7:8], channels=3)[0].tolist() == [[[7, 7, 7]]]


def test_decode_many_lists_every_bad_file(tmp_path):
    paths = [tmp_path / name for name in ("good.png", "text.png", "cut.jpg", "empty.bmp")]
    jpeg = encode(noise(64, 64), "JPEG")
    bodies = (encode(gray([1])), b"text", jpeg[:400], b"")
    for path, body in zip(paths, bodies, strict=True):
        path.write_bytes(body)
    with pytest.raises(UserError) as error:
        decode_many(paths, channels=1)
    lines = str(error.value).splitlines()
    assert lines[0] == "3 images of 4 cannot be used:"
    for line, reason in zip(
        lines[1:4],
        ("text.png is not a PNG", "cut.jpg is damaged", "empty.bmp is empty"),
        strict=True,
    ):
        assert reason in line


def test_a_long_list_of_bad_files_stops_at_ten_and_tells_how_many():
    with pytest.raises(UserError) as error:
        decode_many([b"x"] * 100, channels=1, names=[f"{n}.png" for n in range(100)])
    named = [n for n in range(100) if f"\n  {n}.png is not a PNG" in str(error.value)]
    assert named == list(range(10)) and "\n  and 90 more\n" in str(error.value)


def test_names_of_bad_files_steer_no_terminal():
    with pytest.raises(UserError, match=r"  a\\x1b\[2J\\nb.png is empty") as error:
        decode_many([b""], channels=1, names=["a\x1b[2J\nb.png"])
    assert "\x1b" not in str(error.value)


def test_webp():
    image = noise(16, 16, 3)
    content = encode(image, "WEBP", lossless=True)
    np.testing.assert_array_equal(np.asarray(read_image(content, 3)), np.asarray(image))


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "BMP", "TIFF", "WEBP", "dicom"])
def test_the_content_decides_and_not_the_ending(tmp_path, file_format):
    plain = noise(16, 16)
    content = make_film(np.asarray(plain)) if file_format == "dicom" else encode(plain, file_format)
    for ending in ("png", "jpg", "dcm", "tiff"):
        path = tmp_path / f"a.{ending}"
        path.write_bytes(content)
        assert read_image(path, 1).size == (16, 16)


def test_run_length_bmp_is_refused():
    """Found by fuzzing: Pillow unfolds it in Python, which took five seconds for 1203 bytes."""
    content = bytearray(encode(noise(9, 7), "BMP"))
    content[30:34] = (1).to_bytes(4, "little")  # BI_RLE8
    with pytest.raises(ImageError, match="run-length encoded BMP"):
        read_image(bytes(content), 1)


def _make_chunk(kind: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _make_page(following: int) -> bytes:
    """A TIFF directory of one gray pixel that names the place of the next one."""
    entries = [(256, 1), (257, 1), (258, 8), (259, 1), (262, 1), (273, 8), (278, 1), (279, 1)]
    packed = b"".join(struct.pack("<HHII", tag, 3, 1, value) for tag, value in entries)
    return struct.pack("<H", len(entries)) + packed + struct.pack("<I", following)


def make_hoards() -> dict[str, bytes]:
    """Files of a great many parts; before reads were rationed, 12 MB took 3, 4 and 60 seconds."""
    png, jpeg = encode(noise(9, 7)), encode(noise(9, 7), "JPEG")
    size = len(_make_page(0))
    pages = [_make_page(12 + size * (i + 1)) for i in range(40_000)]
    return {
        "chunks before": png[:33] + _make_chunk(b"abCd") * 200_000 + png[33:],
        "chunks behind": png[:-12] + _make_chunk(b"abCd") * 200_000 + png[-12:],
        "markers": jpeg[:2] + b"\xff\xe5\0\2" * 400_000 + jpeg[2:],
        "pages": b"II*\0" + struct.pack("<I", 12) + bytes(4) + b"".join(pages) + _make_page(0),
    }


@pytest.mark.parametrize("name", sorted(make_hoards()))
def test_a_file_of_very_many_parts_is_refused_early(name):
    content = make_hoards()[name]
    began = time.process_time()
    with pytest.raises(ImageError, match="read in more than 131072 parts"):
        read_image(content, 1)
    assert time.process_time() - began < 10.0  # on a busy machine; a fault took a minute


def put_in_png(content: bytes, chunk: bytes, *, before: bytes) -> bytes:
    at = content.index(before) - 4
    return content[:at] + chunk + content[at:]


@pytest.mark.parametrize("before", [b"IDAT", b"IEND"])
@pytest.mark.parametrize(
    "chunk",
    [
        _make_chunk(b"iCCP", b"name\0\x07rest"),  # libpng's bad_iCCP.png: no such compression
        _make_chunk(b"cHRM"),  # its empty_ancillary_chunks.png
        _make_chunk(b"pHYs", b"\0"),
        _make_chunk(b"zTXt", b"Comment\0\0not packed"),
        _make_chunk(b"iTXt", b"\0"),
        _make_chunk(b"tEXt", b"x")[:-1] + b"?",  # a wrong check sum
    ],
)
def test_what_is_damaged_beside_the_pixels_is_no_damage_to_them(chunk, before):
    """A damaged colour profile made a PNG "not a PNG"."""
    for image in (noise(9, 7), Image.fromarray(SIXTEEN_BITS)):
        content = encode(image)
        damaged = put_in_png(content, chunk, before=before)
        np.testing.assert_array_equal(read_image(damaged, 1), read_image(content, 1))
        assert measure_image(damaged) == measure_image(content)


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "TIFF", "BMP", "WEBP"])
def test_an_image_whose_head_is_damaged_is_not_told_that_it_is_none(file_format):
    """libpng's bad_iCCP.png, whose head has a wrong check sum, "is not a PNG"."""
    content = encode(noise(9, 7), file_format)
    damaged = content[:8] + bytes(30) if file_format != "PNG" else content[:29] + bytes(4)
    with pytest.raises(ImageError) as error:
        read_image(damaged + content[33:], 1)
    assert "damaged or cut off" in str(error.value) and "is not a" not in str(error.value)


def test_what_is_damaged_in_the_pixels_is():
    content = encode(noise(9, 7))
    at = content.index(b"IDAT") + 8
    broken = content[:at] + bytes([content[at] ^ 255]) + content[at + 1 :]
    for damaged in (broken, put_in_png(broken, _make_chunk(b"cHRM"), before=b"IDAT")):
        with pytest.raises(ImageError, match="damaged or cut off"):
            read_image(damaged, 1)
    animation = encode(noise(9, 7), save_all=True, append_images=[noise(9, 8)])
    with pytest.raises(ImageError, match="2 pages or frames"):
        read_image(put_in_png(animation, _make_chunk(b"cHRM"), before=b"IDAT"), 1)


def test_much_beside_the_pixels_is_refused():
    plain, much = noise(9, 7, 3), b"Exif\0\0" + bytes(limits.MAX_HEADER_BYTES + 1)
    with pytest.raises(ImageError, match="more than 4 MiB of EXIF"):
        read_image(encode(plain, "WEBP", exif=much), 1)
    content = encode(plain)
    chunk = _make_chunk(b"eXIf", much)
    with pytest.raises(ImageError, match=r"too much data that is not pixels \(more than 4 MiB\)"):
        read_image(content[:33] + chunk + content[33:], 1)


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "BMP", "WEBP"])
def test_the_pixels_may_be_much(file_format, monkeypatch):
    """What stands before them is limited, they are not."""
    monkeypatch.setattr(images, "MAX_HEADER_BYTES", 2**10)
    options = {"lossless": True} if file_format == "WEBP" else {}
    image = noise(60, 70, 3)
    content = encode(image, file_format, **options)
    assert len(content) > 6 * 2**10
    np.testing.assert_array_equal(read_image(content, 3), image)


@pytest.mark.parametrize("name", sorted(make_images()))
def test_a_file_cut_anywhere_gives_an_image_or_a_reason(name):
    content = make_images()[name]
    for end in range(0, len(content), max(1, len(content) // 60)):
        try:
            assert read_image(content[:end], 1).mode == "L"
        except ImageError as error:
            assert str(error).isprintable()


@settings(max_examples=200)
@given(st.binary(max_size=300), st.sampled_from([b"", *_SIGNATURES]))
def test_any_bytes_give_an_image_or_a_reason(content, signature):
    try:
        assert read_image(signature + content, 3).mode == "RGB"
    except ImageError as error:
        assert str(error).isprintable()


@pytest.mark.parametrize("channels", [1, 3])
def test_write_png_round_trip(tmp_path, channels):
    array = np.random.default_rng(1).integers(0, 256, (5, 4, channels), dtype=np.uint8)
    images.write_png(array, tmp_path / "out.png")
    np.testing.assert_array_equal(
        images.as_pixels(read_image(tmp_path / "out.png", channels)), array
    )
    assert [path.name for path in tmp_path.iterdir()] == ["out.png"]


def test_write_png_replaces_the_file_as_a_whole(tmp_path):
    path = tmp_path / "out.png"
    images.write_png(np.zeros((2, 2, 1), np.uint8), path)
    with path.open("rb") as reader:  # who reads the old file keeps reading the old file
        before = path.read_bytes()
        images.write_png(np.ones((2, 2, 1), np.uint8), path)
        assert reader.read() == before
    assert path.read_bytes() != before


def test_write_png_leaves_the_old_file_when_it_fails(tmp_path, monkeypatch):
    path = tmp_path / "out.png"
    images.write_png(np.zeros((2, 2, 1), np.uint8), path)
    before = path.read_bytes()

    def fail(self, target, *_, **options):
        target.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(DiskError, match="disk full"):
        images.write_png(np.ones((2, 2, 1), np.uint8), path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.png"]


def test_write_png_refuses_other_arrays(tmp_path):
    for array in (np.zeros((2, 2, 1)), np.zeros((2, 2), np.uint8), np.zeros((2, 2, 2), np.uint8)):
        with pytest.raises(ValueError, match="expected uint8"):
            images.write_png(array, tmp_path / "out.png")


@pytest.mark.parametrize(
    ("depth", "row", "transparent", "expected"),
    [
        (1, b"\xa0", 1, [0, 0, 0, 0]),
        (2, b"\x1b", 2, [0, 85, 0, 255]),
        (4, b"\x0f\x70", 15, [0, 0, 119, 0]),
        (8, bytes([0, 7, 200, 255]), 200, [0, 7, 0, 255]),
        (16, struct.pack(">4H", 0, 1000, 30000, 65535), 30000, [0, 4, 0, 255]),
    ],
)
def test_a_transparent_gray_of_any_depth_is_black(depth, row, transparent, expected):
    content = b"\x89PNG\r\n\x1a\n" + b"".join(
        _make_chunk(kind, data)
        for kind, data in (
            (b"IHDR", struct.pack(">IIBBBBB", 4, 1, depth, 0, 0, 0, 0)),
            (b"tRNS", struct.pack(">H", transparent)),
            (b"IDAT", zlib.compress(b"\0" + row)),
            (b"IEND", b""),
        )
    )
    assert values(content) == [expected]


def test_signed_bytes_are_refused():
    with pytest.raises(ImageError, match="holds signed values"):
        read_image(encode(gray([1, 2]), "TIFF", tiffinfo={339: 2}), 1)


def test_a_jpeg_of_very_many_scans_is_refused_undecoded(monkeypatch):
    jpeg = encode(noise(64, 64), "JPEG", progressive=True)
    last = jpeg[jpeg.rindex(b"\xff\xda") : -2]
    read_image(jpeg, 1)
    monkeypatch.setattr(limits, "MAX_SCANS", jpeg.count(b"\xff\xda") + 2)
    read_image(jpeg[:-2] + last * 2 + jpeg[-2:], 1)
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("it was decoded"))
    with pytest.raises(ImageError, match="scans, more than the"):
        read_image(jpeg[:-2] + last * 3 + jpeg[-2:], 1)


def test_a_lack_of_memory_is_no_fault_of_the_file(monkeypatch):
    def fail(*_):
        raise MemoryError

    monkeypatch.setattr(images, "_from_8_bits", fail)
    with pytest.raises(MemoryError):
        read_image(encode(gray([1, 2])), 1)


def test_generated_images_are_written_with_their_mark_and_a_failure_is_raised(tmp_path):
    drawn = np.arange(3 * 64, dtype=np.uint8).reshape(3, 8, 8, 1)
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    images.write_generated(drawn, paths)
    for image, path in zip(drawn, paths, strict=True):
        assert images.has_mark(path.read_bytes())
        np.testing.assert_array_equal(np.asarray(Image.open(path))[..., None], image)
    with pytest.raises(ValueError, match="write_png got float64"):
        images.write_generated(drawn / 255, paths)
