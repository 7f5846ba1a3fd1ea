"""Image files in and out: any still image to 8 bits, with a reason where that fails."""

import io
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from PIL import ExifTags, Image, PngImagePlugin
from tqdm import tqdm

from jaxgan.data import dicom
from jaxgan.data.limits import (
    MAX_HEADER_BYTES,
    ImageError,
    RationedFile,
    check_pixels,
    check_scans,
    describe_too_large,
    look_up,
    read_file,
    unusable_images_error,
)
from jaxgan.files import written_beside
from jaxgan.untrusted import printable

FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")
NUM_THREADS = min(8, os.cpu_count() or 1)

# A PNG text chunk of what jaxgan has made, image or sheet: no command takes it for a real image.
GENERATED_KEY = "jaxgan-generated"

_SIXTEEN_BIT_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I")
_ALPHA_MODES = ("LA", "La", "PA", "RGBA", "RGBa")
_ORIENTATIONS = {  # EXIF 2.32, tag 0x0112
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_TIFF_BITS, _TIFF_PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0
_TIFF_SAMPLE_FORMAT, _SIGNED = 339, 2
_WIDENING = {"L;2": 85, "L;4": 17}  # what Pillow multiplies grays of few bits with

_BMP_RUN_LENGTHS = (1, 2)

Item = TypeVar("Item")
Result = TypeVar("Result")


class Decoded(NamedTuple):
    """An 8-bit image of mode `L` or `RGB`, and whether it came as 16 bits but uses only 12."""

    image: Image.Image
    looks_like_12_bits: bool


def read_image(source: Path | bytes, channels: int) -> Image.Image:
    """Return the image as mode `L` (`channels` 1) or `RGB` (`channels` 3), 8 bits, upright.

    `source` is a path or the file's content. 16-bit values are mapped linearly, 0..65535 to
    0..255; transparency is composited over black. Raises `ImageError` with the reason.
    """
    return decode_image(source, channels).image


def decode_image(source: Path | bytes, channels: int) -> Decoded:
    """Return what `read_image` returns, and whether the range of the values is suspicious."""
    if channels not in (1, 3):
        raise ValueError(f"channels is {channels!r}, expected 1 (gray) or 3 (RGB)")
    content = source if isinstance(source, bytes) else read_file(source)
    if not content:
        raise ImageError("is empty (0 bytes)")
    if dicom.is_dicom(content):
        pixels, suspicious = dicom.decode_film(content)
        film = Image.fromarray(pixels)
        return Decoded(film.convert("L" if channels == 1 else "RGB"), suspicious)
    return _decode_with_pillow(content, channels)


def _decode_with_pillow(content: bytes, channels: int) -> Decoded:
    """Decode wholly, turning whatever Pillow raises into an `ImageError`."""
    try:
        file = RationedFile(content, _count_header_bytes(content))
        image = Image.open(file, formats=FORMATS)
        file.allow_pixels()
        check_pixels(*image.size, len(content))
        _refuse_run_lengths(image)
        _refuse_sequence(image)
        _refuse_signed(image)
        check_scans(content)
        _widen_transparency(image)
        image.load()
        if image.mode in _SIXTEEN_BIT_MODES:
            gray, suspicious = _from_16_bits(image)
        else:
            gray, suspicious = _from_8_bits(image), False
        upright = _upright(gray, image)
        return Decoded(upright.convert("L" if channels == 1 else "RGB"), suspicious)
    except (ImageError, MemoryError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(describe_too_large("too many pixels")) from error
    except Image.UnidentifiedImageError as error:
        raise ImageError(
            f"is not a PNG, JPEG, BMP, TIFF, WebP or DICOM image (begins {content[:8]!r})"
        ) from error
    except Exception as error:  # decoders of damaged files raise nearly anything
        raise ImageError(f"is damaged or cut off ({printable(str(error))})") from error


def _count_header_bytes(content: bytes) -> int:
    """Return how much of a file Pillow may read to open it: all of a WebP, which C code parses."""
    return max(MAX_HEADER_BYTES, len(content) * 2 * content.startswith(b"RIFF"))


def _refuse_run_lengths(image: Image.Image) -> None:
    """Refuse run-length BMP: Pillow decodes it in Python, five seconds a large film."""
    if image.format == "BMP" and image.info.get("compression") in _BMP_RUN_LENGTHS:
        raise ImageError("is a run-length encoded BMP: store it as PNG")


def _refuse_sequence(image: Image.Image) -> None:
    """Refuse stacks and animations; of a camera's MPO (a JPEG file) the first is kept."""
    num_frames = getattr(image, "n_frames", 1)
    if num_frames > 1 and image.format != "MPO":
        raise ImageError(f"holds {num_frames} pages or frames, expected one image")


def _refuse_signed(image: Image.Image) -> None:
    """Refuse signed bytes, which Pillow takes for unsigned ones."""
    formats = getattr(image, "tag_v2", {}).get(_TIFF_SAMPLE_FORMAT, ())
    if _SIGNED in formats and image.mode not in _SIXTEEN_BIT_MODES:
        raise ImageError("holds signed values, expected 8 or 16 bits, unsigned")


def _widen_transparency(image: Image.Image) -> None:
    """Bring the transparent gray of a PNG of 2 or 4 bits to the 8 that Pillow makes of them."""
    tiles = getattr(image, "tile", ())
    raw_mode = tiles[0].args if image.format == "PNG" and tiles else None
    if raw_mode in _WIDENING and "transparency" in image.info:
        image.info["transparency"] *= _WIDENING[raw_mode]


def _from_16_bits(image: Image.Image) -> tuple[Image.Image, bool]:
    """Map the full range of an integer image to 0..255; also say if it looks like 12 bits."""
    values = np.asarray(image)
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise ImageError(f"has values from {low} to {high}, expected 8 or 16 bits, unsigned")
    tags = getattr(image, "tag_v2", {})
    full = 4095 if tags.get(_TIFF_BITS) == (12,) else 65535
    suspicious = full == 65535 and 0 < high < 4096
    table = np.minimum((np.arange(65536) * 255 + full // 2) // full, 255).astype(np.uint8)
    if tags.get(_TIFF_PHOTOMETRIC) == _WHITE_IS_ZERO:  # Pillow inverts only up to 8 bits
        table[: full + 1] = table[full::-1]
    if "transparency" in image.info:  # of a PNG: one gray, here over black
        table[image.info["transparency"]] = 0
    return Image.fromarray(look_up(table, values)), suspicious


def _from_8_bits(image: Image.Image) -> Image.Image:
    """Return mode `L` or `RGB`, with anything transparent composited over black."""
    if image.mode == "F":
        raise ImageError("holds floating-point values, expected 8 or 16 bits (rescale it first)")
    if image.mode in _ALPHA_MODES or "transparency" in image.info:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, (0, 0, 0, 255)), rgba).convert(
            "RGB"
        )
    if image.mode in ("1", "L"):
        return image.convert("L")
    try:
        return image.convert("RGB")
    except ValueError as error:
        raise ImageError(f"has the colour mode {image.mode}, expected gray, RGB or CMYK") from error


def _upright(pixels: Image.Image, original: Image.Image) -> Image.Image:
    """Turn and mirror `pixels` as the EXIF orientation of `original` asks; damaged EXIF is none."""
    if len(original.info.get("exif", b"")) > MAX_HEADER_BYTES:
        raise ImageError(f"has more than {MAX_HEADER_BYTES // 2**20} MiB of EXIF: save it without")
    try:
        orientation = original.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # a parser of damaged bytes
        return pixels
    method = _ORIENTATIONS.get(orientation)
    return pixels if method is None else pixels.transpose(method)


def resize_square(image: Image.Image, size: int) -> Image.Image:
    """Cut the central square and scale it to `size`: area average down, bilinear up."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    square = image.crop((left, top, left + side, top + side))
    if side == size:
        return square
    method = Image.Resampling.BOX if size < side else Image.Resampling.BILINEAR
    return square.resize((size, size), method)


def shrink_to(image: Image.Image, short_side: int) -> Image.Image:
    """Scale so that the shorter side is at most `short_side` pixels, keeping the proportions."""
    if min(image.size) <= short_side:
        return image
    scale = short_side / min(image.size)
    width, height = (max(short_side, round(n * scale)) for n in image.size)
    return image.resize((width, height), Image.Resampling.BOX)


def as_pixels(image: Image.Image) -> np.ndarray:
    """Return uint8 [height, width, channels] of an `L` or `RGB` image."""
    pixels = np.asarray(image)
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


def encode_png(image: Image.Image) -> bytes:
    """Return the image as PNG; level 1 is four times as fast as 6 and a tenth larger."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def write_png(array: np.ndarray, path: Path, *, generated: bool = False) -> None:
    """Write uint8 [height, width, channels] (1 or 3) so that `path` never holds half an image.

    A `generated` image says so of itself, so that it is not taken for a real one later.
    """
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] not in (1, 3):
        raise ValueError(
            f"write_png got {array.dtype} {list(array.shape)}, "
            "expected uint8 [height, width, 1 or 3]"
        )
    image = Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)
    with written_beside(path) as beside:
        image.save(beside, "PNG", pnginfo=create_mark() if generated else None)


def create_mark() -> PngImagePlugin.PngInfo:
    """Return what a PNG is to be saved with so that `bears_mark` knows it for jaxgan's own."""
    info = PngImagePlugin.PngInfo()
    info.add_text(GENERATED_KEY, "yes")
    return info


def bears_mark(content: bytes) -> bool:
    """Tell whether an image file's content holds jaxgan's mark, wherever a tool has moved it."""
    return GENERATED_KEY.encode() in content


def map_in_threads(
    function: Callable[[Item], Result], items: Iterable[Item], *, num_threads: int = NUM_THREADS
) -> Iterator[Result]:
    """Yield `function(item)` in the order of `items`, computed ahead by a few items only."""
    with ThreadPoolExecutor(num_threads) as pool:
        rest = iter(items)
        ahead: list[Future[Result]] = [
            pool.submit(function, item) for item in islice(rest, 4 * num_threads)
        ]
        try:
            while ahead:
                yield ahead.pop(0).result()
                ahead += [pool.submit(function, item) for item in islice(rest, 1)]
        finally:
            for future in ahead:
                future.cancel()


def progress_bar(items: Iterable[Item], *, title: str, total: int) -> Iterable[Item]:
    """Show a bar on standard error while `items` are read, only where that is a terminal."""
    return tqdm(items, desc=title, total=total, unit=" images", disable=None, leave=False)


def decode_many(
    sources: Sequence[Path | bytes],
    *,
    channels: int,
    names: Sequence[str] | None = None,
    use: Callable[[Image.Image], Any] = as_pixels,
    title: str = "decoding",
) -> list[Any]:
    """Return `use(image)` of every source, by default its pixels, decoded in threads.

    `names` are for messages (by default the sources themselves). Raises one `UserError` that lists
    every file that cannot be used, each with its reason.
    """

    def attempt(source: Path | bytes) -> Any:
        try:
            return use(read_image(source, channels))
        except ImageError as error:
            return error

    labels = names if names is not None else [str(source) for source in sources]
    decoded = map_in_threads(attempt, sources)
    results = list(progress_bar(decoded, title=title, total=len(sources)))
    bad = [(n, r) for n, r in zip(labels, results, strict=True) if isinstance(r, ImageError)]
    if bad:
        raise unusable_images_error(bad, num_images=len(sources))
    return results
