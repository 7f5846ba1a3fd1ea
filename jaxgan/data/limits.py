"""Limits on the time and memory of one image file, and the error for an unusable one."""

import contextlib
import io
import re
import stat
import struct
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from jaxgan.core.errors import UserError
from jaxgan.core.untrusted import printable

MAX_PIXELS = 48 * 2**20  # 8192 x 6144: above every X-ray film; decoded in 2 s and 1 GiB
MAX_BYTES = 256 * 2**20  # MAX_PIXELS of four bytes each, uncompressed
MAX_UNFOLDING = 2048  # pixels per byte of the file: twice those of an all black gray PNG
MAX_READS = 2**17  # a film of MAX_PIXELS takes 50,000; each costs a microsecond or three
MAX_HEADER_BYTES = 4 * 2**20  # before the pixels: decoders parse it in Python
MAX_SCANS = 32  # of a JPEG, each over all its pixels: 40 ms at MAX_PIXELS; encoders make 10
LISTED = 10  # an error message names this many examples
_SMALL = 4 * 2**20  # this number of pixels is allowed in a file of any size
_BLOCK = 2**20  # pixels computed at once: they are widened to eight bytes
_JPEG, _JPEG_2000 = b"\xff\xd8", b"\xff\x4f\xff\x51"
_JP2, _CODESTREAM, _MAX_BOXES = b"\0\0\0\x0cjP  \r\n\x87\n", b"jp2c", 64  # T.800, I.5
# Markers of JPEG (T.81, B.1) and JPEG-LS; in the coded pixels neither has 0xFF before such a byte.
_MARKER = re.compile(rb"\xff([\xc0-\xcf\xd8-\xfe])")
_START_OF_IMAGE, _END_OF_IMAGE, _START_OF_SCAN = 0xD8, 0xD9, 0xDA
_FRAMES = (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0), 0xF7)


class ImageError(ValueError):
    """The reason why an image cannot be used: a clause that follows its file name."""


class RationedFile(io.BytesIO):
    """A file's content for a decoder, with limits on the number of reads and bytes.

    Each chunk, marker, page or element of a file takes one read, and a file can hold millions. At
    most `MAX_READS` reads are allowed, and at first `num_bytes` bytes. Call `allow_pixels` when the
    header has been parsed.
    """

    def __init__(self, content: bytes, num_bytes: int):
        super().__init__(content)
        self._reads_left, self._bytes_left, self._size = MAX_READS, num_bytes, len(content)

    def allow_pixels(self) -> None:
        """Allow two more reads of the full file: some decoders read their tables again."""
        self._bytes_left += 2 * self._size

    def read(self, size: int | None = -1, /) -> bytes:
        """Read as any file does; raise `ImageError` when a limit is reached."""
        data = super().read(size)
        self._reads_left -= 1
        self._bytes_left -= len(data)
        if self._reads_left < 0:
            raise ImageError(
                f"is read in more than {MAX_READS} parts: it is damaged or made to take long"
            )
        if self._bytes_left < 0:
            raise ImageError(
                "holds too much data that is not pixels (more than "
                f"{MAX_HEADER_BYTES // 2**20} MiB): save it without"
            )
        return data


def check_pixels(width: int, height: int, num_bytes: int) -> None:
    """Refuse an image without pixels, or with too many, absolutely or for a file of `num_bytes`.

    Call it before the image is decoded.
    """
    if width < 1 or height < 1:
        raise ImageError(f"has {width} x {height} pixels, expected one or more")
    if width * height > MAX_PIXELS:
        raise ImageError(describe_too_large(f"{width} x {height} pixels"))
    if width * height > max(_SMALL, MAX_UNFOLDING * num_bytes):
        raise ImageError(
            f"claims {width} x {height} pixels in {num_bytes} bytes, more than "
            f"{MAX_UNFOLDING} pixels per byte: it is damaged or made to exhaust memory"
        )


def check_scans(content: bytes) -> None:
    """Refuse a JPEG with too many scans before it is decoded."""
    markers = (marker for marker, _ in _walk_jpeg(content)) if content.startswith(_JPEG) else ()
    num_scans = sum(marker == _START_OF_SCAN for marker in markers)
    if num_scans > MAX_SCANS:
        raise ImageError(
            f"is a JPEG of {num_scans} scans, more than the {MAX_SCANS} that are accepted: it is "
            "made to take long"
        )


def read_stream_sizes(stream: bytes) -> set[tuple[int, int, int]]:
    """Return each width, height and number of components in a codestream's own headers.

    For JPEG, JPEG-LS and JPEG 2000; empty for any other format.
    """
    stream = _leave_container(stream)
    if stream.startswith(_JPEG_2000) and len(stream) >= 42:  # T.800, A.5.1
        right, bottom, left, top = struct.unpack(">4I", stream[8:24])
        return {(right - left, bottom - top, int.from_bytes(stream[40:42], "big"))}
    if not stream.startswith(_JPEG):
        return set()
    frames = [stream[at + 3 : at + 8] for marker, at in _walk_jpeg(stream) if marker in _FRAMES]
    sizes = [struct.unpack(">HHB", frame) for frame in frames if len(frame) == 5]  # T.81, B.2.2
    return {(width, height, components) for height, width, components in sizes}


def _leave_container(stream: bytes) -> bytes:
    """Return the codestream in a JP2 file, which DICOM does not allow but some films hold."""
    at = 0
    for _ in range(_MAX_BOXES if stream.startswith(_JP2) else 0):
        length, kind = struct.unpack(">I4s", stream[at : at + 8].ljust(8, b"\0"))
        if kind == _CODESTREAM:
            return stream[at + 8 :]
        if length < 8:  # the last box, or one with a long length: neither precedes a codestream
            break
        at += length
    return stream


def _walk_jpeg(content: bytes) -> Iterator[tuple[int, int]]:
    """Yield each marker of the first image of a JPEG, and the position after it."""
    at = len(_JPEG)
    for _ in range(MAX_READS):
        found = _MARKER.search(content, at)
        if found is None or found[1][0] == _END_OF_IMAGE:
            return
        at = found.end()
        yield found[1][0], at
        if found[1][0] != _START_OF_IMAGE:  # every other one is followed by a length
            at += int.from_bytes(content[at : at + 2], "big")
    raise ImageError(f"has more than {MAX_READS} markers: it is damaged or made to take long")


def describe_too_large(found: str) -> str:
    """Return the reason for an image that has `found`."""
    return f"has {found}, more than the {MAX_PIXELS // 2**20} megapixels that are accepted"


def read_file(path: Path, max_bytes: int = MAX_BYTES) -> bytes:
    """Return the content of an ordinary file; raise `ImageError` with the reason if that fails.

    A pipe or a device is not opened, because it might never end.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ImageError("is not an ordinary file")
        if status.st_size > max_bytes:
            raise ImageError(
                f"has {status.st_size // 2**20} MiB, more than the {max_bytes // 2**20} MiB that "
                "are accepted"
            )
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"cannot be read ({error.strerror})") from error


def map_blocks(
    fn: Callable[[np.ndarray], np.ndarray], image: np.ndarray, dtype: np.typing.DTypeLike
) -> np.ndarray:
    """Return `fn` of an image, pixel by pixel, in blocks, so that less memory is needed."""
    mapped = np.empty(image.shape, dtype)
    rows = max(1, _BLOCK // max(1, image[0].size))
    for start in range(0, len(image), rows):
        mapped[start : start + rows] = fn(image[start : start + rows])
    return mapped


def look_up(table: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Return `table[indices]` without a copy of the indices of eight times the image's size."""
    return map_blocks(lambda part: table[part], indices, table.dtype)


@contextlib.contextmanager
def naming(name: str) -> Iterator[None]:
    """Turn the `ImageError` of a block into a `UserError` about the image called `name`."""
    try:
        yield
    except ImageError as error:
        raise UserError(f"the image {printable(name)} of the data set {error}") from None


def list_lines(lines: Sequence[str], noun: str = "") -> str:
    """Return the first lines, indented, and the number of the others if there are more."""
    more = [f"and {len(lines) - LISTED} more {noun}".rstrip()] if len(lines) > LISTED else []
    return "\n".join(f"  {line}" for line in [*lines[:LISTED], *more])


def unusable_images_error(
    bad: Sequence[tuple[str, ImageError]],
    *,
    num_images: int,
    remedy: str = "Repair or remove them, then run this again.",
) -> UserError:
    """Return the error that lists the first bad files, each with its reason."""
    count = "1 image" if len(bad) == 1 else f"{len(bad)} images"
    lines = list_lines([f"{printable(name)} {reason}" for name, reason in bad])
    return UserError(f"{count} of {num_images} cannot be used:\n{lines}\n{remedy}")
