"""Read and write image files: any still image to 8 bits, or the reason why that fails."""

import contextlib
import functools
import io
import os
import struct
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from PIL import ExifTags, Image, PngImagePlugin
from tqdm import tqdm

from jaxgan.core.files import written_beside
from jaxgan.core.untrusted import printable
from jaxgan.data import dicom
from jaxgan.data.fit import fit_square
from jaxgan.data.limits import (
    MAX_HEADER_BYTES,
    MAX_READS,
    ImageError,
    RationedFile,
    check_pixels,
    check_scans,
    describe_too_large,
    read_file,
    unusable_images_error,
)
from jaxgan.data.values import (
    AS_IT_IS,
    AS_STORED,
    ASKED,
    Spread,
    Values,
    View,
    count_grays,
    measure,
    show,
)

FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")
NUM_THREADS = min(8, os.cpu_count() or 1)

# The PNG text chunk in every image or sheet that jaxgan generates. No command uses it as real.
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
_PNG, _PNG_DEPTH_AT = b"\x89PNG\r\n\x1a\n", 24  # PNG 3rd edition, 11.2.1
_STARTS = {
    "PNG": (_PNG,),
    "JPEG": (b"\xff\xd8\xff",),
    "TIFF": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    "WebP": (b"RIFF",),
    "BMP": (b"BM",),
}
# Needed in addition to the critical ones: transparency, orientation, chunks of an animation.
_NEEDED_CHUNKS = (b"tRNS", b"eXIf", b"acTL", b"fcTL", b"fdAT")
_COLOUR_KIND = "16 bits in colour or with transparency (PNG, TIFF)"
# For each raw mode of which Pillow keeps the upper byte, one that makes it keep the lower byte.
_LOWER_BYTES = {
    "RGB;16B": "RGB;16L",
    "RGB;16L": "RGB;16B",
    "RGB;16N": "RGB;16B" if sys.byteorder == "little" else "RGB;16L",
    "RGBA;16B": "RGBA;16L",
    "LA;16B": "RGBA",  # four bytes, all of them
}
_TIFF_BITS, _TIFF_PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0
_TIFF_SAMPLE_FORMAT, _SIGNED = 339, 2
_WIDENING = {"L;2": 85, "L;4": 17}  # what Pillow multiplies grays of few bits with

_BMP_RUN_LENGTHS = (1, 2)

Item = TypeVar("Item")
Result = TypeVar("Result")


class Decoded(NamedTuple):
    """An 8-bit image of mode `L` or `RGB`, how it is shown, and how many grays it has.

    `num_grays` is None for an image that is too small to count them.
    """

    image: Image.Image
    way: str
    num_grays: int | None


def read_image(source: Path | bytes, channels: int, view: View = AS_STORED) -> Image.Image:
    """Return the image as mode `L` (`channels` 1) or `RGB` (`channels` 3), 8 bits, upright.

    `source` is a path or the file's content. More than 8 bits are mapped linearly as `view` says
    (see `jaxgan.data.values`); transparency is composited over black. Raises `ImageError` with the
    reason.
    """
    return decode_image(source, channels, view).image


def decode_image(source: Path | bytes, channels: int, view: View = AS_STORED) -> Decoded:
    """Return what `read_image` returns, how it is shown, and how many grays it has."""
    if channels not in (1, 3):
        raise ValueError(f"channels is {channels!r}, expected 1 (gray) or 3 (RGB)")
    content = _get_content(source)
    if dicom.is_dicom(content):
        film, way = dicom.decode_film(content, keep_numbers=view.asked is not None)
        pixels, way = _show(film, view) if isinstance(film, Values) else (film, way)
        image = Image.fromarray(pixels)
    else:
        image, way = _try_plainly(functools.partial(_decode_with_pillow, view=view), content)
    num_grays = count_grays(np.asarray(image)) if image.mode in ("L", "RGB") else None
    return Decoded(image.convert("L" if channels == 1 else "RGB"), way, num_grays)


def measure_image(source: Path | bytes) -> Spread | None:
    """Return the spread of an image's numbers; None if the image says how to show it.

    An image of 8 bits or with its own window says so; then no pixel is decoded. The result is also
    None if the image can not be used; `decode_image` gives the reason.
    """
    try:
        content = _get_content(source)
        if dicom.is_dicom(content):
            film = dicom.read_numbers(content)
            return None if film is None else measure(film)
        return _try_plainly(_measure_with_pillow, content)
    except ImageError:
        return None


def may_be_deep(head: bytes) -> bool:
    """Whether a file may hold numbers of more than 8 bits, by its first 32 bytes."""
    if head.startswith(_PNG):
        return head[_PNG_DEPTH_AT : _PNG_DEPTH_AT + 1] == b"\x10"
    return bool(head) and not head.startswith((b"\xff\xd8", b"BM", b"RIFF"))


def _get_content(source: Path | bytes) -> bytes:
    content = source if isinstance(source, bytes) else read_file(source)
    if not content:
        raise ImageError("is empty (0 bytes)")
    return content


def _show(values: Values, view: View) -> tuple[np.ndarray, str]:
    """Return the pixels, and how they are shown."""
    return show(values, view), ASKED if view.asked else f"of {values.kind}"


def _decode_with_pillow(content: bytes, view: View) -> tuple[Image.Image, str]:
    """Decode completely and turn upright; also return how the image is shown."""
    image = _open_with_pillow(content)
    if _needs_numbers(image, view):
        pixels, way = _show(_read_values(image, content), view)
        shown = Image.fromarray(pixels)
    else:
        way = AS_IT_IS if not _is_deep(image) else f"of {_COLOUR_KIND}"
        _widen_transparency(image)
        image.load()
        shown = _from_8_bits(image)
    return _upright(shown, image), way


def _measure_with_pillow(content: bytes) -> Spread | None:
    image = _open_with_pillow(content)
    return measure(_read_values(image, content)) if _is_deep(image) else None


def _try_plainly(decode: Callable[[bytes], Result], content: bytes) -> Result:
    """Return `decode(content)`; if a PNG fails, decode it again without its optional chunks.

    A damaged colour profile or comment does not damage the image.
    """
    with _telling_damage(content):
        try:
            return decode(content)
        except (ImageError, MemoryError, Image.DecompressionBombError):
            raise
        except Exception:
            plain = _drop_ancillary(content)
            if plain == content:
                raise
            return decode(plain)


def _drop_ancillary(content: bytes) -> bytes:
    """Return a PNG without its optional chunks: PNG 3rd edition, 5.4.

    Returns the same bytes if the content is not a PNG, or if its chunks are cut off.
    """
    kept, at = [content[: len(_PNG)]], len(_PNG)
    for _ in range(MAX_READS if content.startswith(_PNG) else 0):
        length, kind = struct.unpack(">I4s", content[at : at + 8].ljust(8, b"\0"))
        end = at + length + 12
        if end > len(content):
            return content
        if kind[:1].isupper() or kind in _NEEDED_CHUNKS:
            kept.append(content[at:end])
        if kind == b"IEND":
            return b"".join(kept)
        at = end
    return content


@contextlib.contextmanager
def _telling_damage(content: bytes) -> Iterator[None]:
    """Turn whatever Pillow raises into an `ImageError`."""
    try:
        yield
    except (ImageError, MemoryError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(describe_too_large("too many pixels")) from error
    except Image.UnidentifiedImageError as error:
        raise ImageError(_describe_unidentified(content)) from error
    except Exception as error:  # decoders of damaged files raise nearly anything
        raise ImageError(f"is damaged or cut off ({printable(str(error))})") from error


def _describe_unidentified(content: bytes) -> str:
    """Return the reason for bytes that no decoder accepts, by how they begin."""
    name = next((name for name, start in _STARTS.items() if content.startswith(start)), None)
    if name is None:
        return f"is not a PNG, JPEG, BMP, TIFF, WebP or DICOM image (begins {content[:8]!r})"
    return f"begins as a {name}, but is damaged or cut off, or of a kind that jaxgan can not read"


def _open_with_pillow(content: bytes) -> Image.Image:
    """Return an image with its pixels not decoded; refuse images that must not be decoded."""
    file = RationedFile(content, _count_header_bytes(content))
    image = Image.open(file, formats=FORMATS)
    file.allow_pixels()
    check_pixels(*image.size, len(content))
    _refuse_run_lengths(image)
    _refuse_sequence(image)
    _refuse_signed(image)
    check_scans(content)
    return image


def _count_header_bytes(content: bytes) -> int:
    """Return how many bytes Pillow may read to open a file: all of a WebP, which C code parses."""
    return max(MAX_HEADER_BYTES, len(content) * 2 * content.startswith(b"RIFF"))


def _refuse_run_lengths(image: Image.Image) -> None:
    """Refuse run-length BMP: Pillow decodes it in Python, in five seconds per large film."""
    if image.format == "BMP" and image.info.get("compression") in _BMP_RUN_LENGTHS:
        raise ImageError("is a run-length encoded BMP: store it as PNG")


def _refuse_sequence(image: Image.Image) -> None:
    """Refuse stacks and animations; use the first image of a camera's MPO (a JPEG file)."""
    num_frames = getattr(image, "n_frames", 1)
    if num_frames > 1 and image.format != "MPO":
        raise ImageError(f"holds {num_frames} pages or frames, expected one image")


def _get_tag(image: Image.Image, tag: int) -> Any:
    """Return the value of a TIFF's tag; None if there is none."""
    return getattr(image, "tag_v2", {}).get(tag)


def _is_signed(image: Image.Image) -> bool:
    return _SIGNED in (_get_tag(image, _TIFF_SAMPLE_FORMAT) or ())


def _refuse_signed(image: Image.Image) -> None:
    """Refuse signed bytes, which Pillow reads as unsigned ones."""
    if _is_signed(image) and image.mode not in _SIXTEEN_BIT_MODES:
        raise ImageError("holds signed values, expected 8 or 16 bits, unsigned")


def _widen_transparency(image: Image.Image) -> None:
    """Scale the transparent gray of a PNG of 2 or 4 bits to the 8 bits of Pillow's pixels."""
    factor = _WIDENING.get(_get_raw_mode(image) or "", 1)
    if image.format == "PNG" and "transparency" in image.info:
        image.info["transparency"] *= factor


def _get_raw_mode(image: Image.Image) -> str | None:
    """Return the raw mode with which Pillow will decode the pixels."""
    tiles = getattr(image, "tile", ())
    arguments = tiles[0].args if tiles else None
    raw_mode = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return raw_mode if isinstance(raw_mode, str) else None


def _is_deep(image: Image.Image) -> bool:
    """Whether an image, not decoded yet, holds numbers of more than 8 bits."""
    return image.mode in _SIXTEEN_BIT_MODES or _get_raw_mode(image) in _LOWER_BYTES


def _needs_numbers(image: Image.Image, view: View) -> bool:
    """Whether showing an image needs more than the upper byte of its numbers."""
    if image.mode in _SIXTEEN_BIT_MODES:
        return True
    is_asked = view.get_range(_COLOUR_KIND) is not None or "transparency" in image.info
    return _is_deep(image) and is_asked


def _read_values(image: Image.Image, content: bytes) -> Values:
    """Decode the numbers of an image of more than 8 bits."""
    return _read_gray(image) if image.mode in _SIXTEEN_BIT_MODES else _read_colour(image, content)


def _read_gray(image: Image.Image) -> Values:
    image.load()
    stored = np.asarray(image)
    kind, low, high = _find_bits(image, stored)
    transparent = image.info.get("transparency")  # of a PNG: one gray
    is_seen = None if transparent is None else stored != transparent
    return Values(
        stored,
        f"{kind} (PNG, TIFF)",
        low,
        high,
        # Pillow inverts only up to 8 bits
        is_inverted=_get_tag(image, _TIFF_PHOTOMETRIC) == _WHITE_IS_ZERO,
        alpha=None if is_seen is None else is_seen.astype(np.uint8) * np.uint8(255),
    )


def _find_bits(image: Image.Image, stored: np.ndarray) -> tuple[str, int, int]:
    """Return a name for the bits of a gray image, and the ends of their range."""
    bits, is_signed = _get_tag(image, _TIFF_BITS), _is_signed(image)
    least, largest = int(stored.min()), int(stored.max())
    if bits == (32,) and not is_signed and least < 0:  # Pillow reads every 32 bits as signed
        raise ImageError("holds values above 2147483647, expected at most 31 bits")
    if bits == (12,):
        return "12 bits", 0, 4095
    if bits == (16,) and is_signed:
        return "16 bits, signed", -(2**15), 2**15 - 1
    if bits == (32,) and not (least >= 0 and largest < 2**16):
        return "32 bits", -(2**31), 2**31 - 1
    return ("32 bits" if bits == (32,) else "16 bits"), 0, 2**16 - 1


def _read_colour(image: Image.Image, content: bytes) -> Values:
    """Return both bytes of colours, or of gray with transparency, of 16 bits.

    Pillow keeps the upper byte. With a raw mode of the other byte order, it keeps the lower byte.
    """
    again = _open_with_pillow(content)
    lower = _LOWER_BYTES[_get_raw_mode(image) or ""]
    again.tile = [_with_raw_mode(tile, lower) for tile in again.tile]  # type: ignore[attr-defined]
    again.load()
    image.load()
    both = [np.asarray(part, np.uint16) for part in (image, again)]
    if lower == "RGBA":  # gray and its transparency, two bytes each
        stored, alpha = both[1][..., 0] << 8 | both[1][..., 1], both[1][..., 2]
    else:
        stored, alpha = (both[0] << 8 | both[1])[..., :3], both[0][..., 3:]
    transparent = image.info.get("transparency")
    if transparent is not None:
        alpha = (stored != np.array(transparent)).any(axis=-1) * 255
    return Values(
        stored,
        _COLOUR_KIND,
        0,
        2**16 - 1,
        alpha=np.squeeze(alpha).astype(np.uint8).reshape(stored.shape[:2]) if alpha.size else None,
        keeps_upper_byte=True,
    )


def _with_raw_mode(tile: Any, raw_mode: str) -> Any:
    """Return a Pillow tile with another raw mode."""
    is_plain = isinstance(tile.args, str)
    return tile._replace(args=raw_mode if is_plain else (raw_mode, *tile.args[1:]))


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
    """Turn and mirror `pixels` by the EXIF orientation of `original`; ignore damaged EXIF."""
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
    return fit_square(image, size, "crop")


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


def resize_all(images: np.ndarray, side: int) -> np.ndarray:
    """Return uint8 images [num, height, width, 1 or 3] as `resize_square` scales them."""
    if images.shape[1:3] == (side, side):
        return images
    resized = np.zeros((len(images), side, side, images.shape[3]), np.uint8)
    for index, image in enumerate(images):
        picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
        resized[index] = as_pixels(resize_square(picture, side))
    return resized


def to_gray(image: np.ndarray) -> np.ndarray:
    """Return uint8 [height, width], the mean of the channels of uint8 [height, width, channels]."""
    return image.mean(axis=-1).round().astype(np.uint8)


def shrink_gray(gray: np.ndarray, side: int) -> np.ndarray:
    """Average a gray image uint8 [height, width] to [side, side], without its proportions."""
    return np.asarray(Image.fromarray(gray).resize((side, side), Image.Resampling.BOX))


def encode_png(image: Image.Image) -> bytes:
    """Return the image as PNG; level 1 is four times as fast as 6 and a tenth larger."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def write_png(array: np.ndarray, path: Path, *, generated: bool = False) -> None:
    """Write uint8 [height, width, channels] (1 or 3) so that `path` never holds half an image.

    A `generated` image gets a mark, so that no command uses it as a real one later.
    """
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] not in (1, 3):
        raise ValueError(
            f"write_png got {array.dtype} {list(array.shape)}, "
            "expected uint8 [height, width, 1 or 3]"
        )
    image = Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)
    with written_beside(path) as beside:
        image.save(beside, "PNG", pnginfo=create_mark() if generated else None)


def write_generated(images: Sequence[np.ndarray] | np.ndarray, paths: Sequence[Path]) -> None:
    """Write generated images (`write_png`), several at a time, because each waits for the disk."""
    write = functools.partial(write_png, generated=True)
    with ThreadPoolExecutor(NUM_THREADS) as pool:
        for _ in pool.map(write, images, paths):  # raises what a write has raised
            pass


def create_mark() -> PngImagePlugin.PngInfo:
    """Return the PNG text chunk by which `has_mark` recognises an image of jaxgan."""
    info = PngImagePlugin.PngInfo()
    info.add_text(GENERATED_KEY, "yes")
    return info


def has_mark(content: bytes) -> bool:
    """Whether an image file's content holds jaxgan's mark, at any position."""
    return GENERATED_KEY.encode() in content


def map_in_threads(
    function: Callable[[Item], Result], items: Iterable[Item], *, title: str, total: int
) -> Iterator[Result]:
    """Yield `function(item)` in the order of `items`, computing only a few items ahead.

    A progress bar is shown on standard error, if that is a terminal.
    """
    bar = tqdm(desc=title, total=total, unit=" images", disable=None, leave=False)
    with bar, ThreadPoolExecutor(NUM_THREADS) as pool:
        rest = iter(items)
        ahead = [pool.submit(function, item) for item in islice(rest, 4 * NUM_THREADS)]
        try:
            while ahead:
                yield ahead.pop(0).result()
                bar.update()
                ahead += [pool.submit(function, item) for item in islice(rest, 1)]
        finally:
            for future in ahead:
                future.cancel()


def measure_files(paths: Mapping[str, Path]) -> dict[str, Spread]:
    """Return, by name, the spread of the images that do not say how to show them.

    `paths` are by name. Of a file that can not hold such numbers, only a few bytes are read.
    """
    deep = [name for name, path in paths.items() if may_be_deep(_read_head(path))]
    measured = map_in_threads(
        lambda name: measure_image(paths[name]),
        deep,
        title="finding the range",
        total=len(deep),
    )
    return {name: spread for name, spread in zip(deep, measured, strict=True) if spread is not None}


def _read_head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(2 * _PNG_DEPTH_AT)
    except OSError:
        return b""


def decode_many(
    sources: Sequence[Path | bytes],
    *,
    channels: int,
    names: Sequence[str] | None = None,
    use: Callable[[Image.Image], Any] = as_pixels,
) -> list[Any]:
    """Return `use(image)` of every source, by default its pixels, decoded in threads.

    `names` are for messages (by default the sources themselves). Raises one `UserError` that lists
    every file that cannot be used, each with its reason.
    """
    return convert_many(sources, lambda source: use(read_image(source, channels)), names=names)


def convert_many(
    sources: Sequence[Path | bytes],
    convert: Callable[[Path | bytes], Result],
    *,
    names: Sequence[str] | None = None,
) -> list[Result]:
    """Return `convert(source)` of every source, as `decode_many` does."""

    def attempt(source: Path | bytes) -> Result | ImageError:
        try:
            return convert(source)
        except ImageError as error:
            return error

    labels = names if names is not None else [str(source) for source in sources]
    results = list(map_in_threads(attempt, sources, title="decoding", total=len(sources)))
    bad = [(n, r) for n, r in zip(labels, results, strict=True) if isinstance(r, ImageError)]
    if bad:
        raise unusable_images_error(bad, num_images=len(sources))
    return [result for result in results if not isinstance(result, ImageError)]
