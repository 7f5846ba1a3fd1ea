"""DICOM films: pixels as the file asks to show them, and which films are of the same patient.

Only the elements that describe the pixels are parsed, so no name or date enters the program. One
identifier is read, the patient's; it is replaced before any other code sees it. pydicom is an
optional dependency (`pip install 'jaxgan[dicom]'`), imported when a DICOM file is found.
"""

import contextlib
import hashlib
import importlib.util
import logging
import math
import struct
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxgan.core.untrusted import printable
from jaxgan.data import compressed
from jaxgan.data.dicom_elements import (
    MAY_BE_EMPTY,
    PALETTES,
    TABLES,
    check_segments,
    drop_empty,
    film_error,
    get_number,
    get_value,
    name_element,
)
from jaxgan.data.headings import names_nobody
from jaxgan.data.limits import (
    ImageError,
    RationedFile,
    check_pixels,
    check_scans,
    look_up,
    read_file,
    read_stream_sizes,
)
from jaxgan.data.values import AS_IT_IS, OWN_WINDOW, Values

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydicom import Dataset

INSTALL = "pip install 'jaxgan[dicom]'"
_MARK, _MARK_AT = b"DICM", 128  # PS3.10, 7.1
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_FIRST_OF_HEAD = b"\x02\x00\x00\x00UL\x04\x00"  # its group length
_MAX_FIRST_BYTES = 64  # of an element that begins a file
_GROUP_LENGTH, _TRANSFER_SYNTAX = 0x00020000, 0x00020010
_ITEM, _MAX_FRAGMENTS = b"\xfe\xff\x00\xe0", 2**14  # each takes some microseconds of Python
# Packages that decide whether a film can be decoded: pydicom and those that it uses.
_DECODERS = (
    "pydicom", "pylibjpeg", "libjpeg", "openjpeg", "rle", "gdcm", "jpeg_ls", "imagecodecs",
)  # fmt: skip
_HEAD_KINDS = ("AE", "OB", "SH", "UI", "UL", "UN", "UR", None)  # PS3.10, 7.1; None: not said
_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_MAX_VALUE_BYTES = 2**18  # of what is not pixels: a table of 65536 levels has 2**17
_INVERTED, _PALETTE, _RGB = "MONOCHROME1", "PALETTE COLOR", "RGB"
_GRAYS = (_INVERTED, "MONOCHROME2")
_HALVED = "YBR_FULL_422"  # uncompressed, two pixels share their colour: PS3.3, C.7.6.3.1.2
_MAX_LEVEL_BITS = 16  # a table of all levels is computed up to here, each pixel beyond
_FIRST_TAGS = (0, 5, 8, 0x16, 0x18)  # of group 8, one of which begins a file without a head
_KINDS_OF_FIRST = (b"UL", b"CS", b"UI")
_SHOWN = [  # elements that decide the appearance of the pixels; none is about a person
    *MAY_BE_EMPTY,
    *TABLES,
    *(f"{palette}Descriptor" for palette in PALETTES),
    *(f"{kind}{palette}Data" for palette in PALETTES for kind in ("", "Segmented")),
    *_PIXELS,
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "PlanarConfiguration",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "PixelRepresentation",
]


def is_dicom(content: bytes) -> bool:
    """Whether a file's first bytes (at least 132) are those of a DICOM file.

    Some files have lost the 132 bytes that should begin them. Some have lost the head, group 2,
    too.
    """
    return _has_mark(content) or content.startswith(_FIRST_OF_HEAD) or _begins_without_head(content)


def _has_mark(content: bytes) -> bool:
    return content[_MARK_AT : _MARK_AT + len(_MARK)] == _MARK


def _begins_without_head(content: bytes) -> bool:
    """Whether a file begins with an element of group 8, as old exports do."""
    if len(content) < _MARK_AT:
        return False
    group, element, length = struct.unpack("<HHI", content[:8])
    if group != 8 or element not in _FIRST_TAGS:
        return False
    return content[4:6] in _KINDS_OF_FIRST or (length % 2 == 0 and length <= _MAX_FIRST_BYTES)


def starts_as_dicom(path: Path) -> bool:
    """Whether a file is a DICOM file, whatever its name; False if it can not be read."""
    try:
        with path.open("rb") as file:
            return is_dicom(file.read(_MARK_AT + len(_MARK)))
    except OSError:
        return False


def find_decoders() -> tuple[str, ...]:
    """Return the installed packages that decide which films can be decoded."""
    return tuple(name for name in _DECODERS if importlib.util.find_spec(name) is not None)


def read_patient(path: Path) -> str | None:
    """Return a token that is equal for all films of one patient; None if the film names none.

    The token groups the films of one folder in memory. Never write it to a file: a short identifier
    could be guessed from its hash. The issuer of the identifier is not read, because only some
    films of a patient may name it. Too many films in one group are safer than too few. A value
    that an anonymiser writes for everybody (ANONYMOUS, 000) is not a patient.
    """
    try:
        content = read_file(path)
        header = _parse(content, ["PatientID"], stop_before_pixels=True)
        patient = str(header.get("PatientID") or "").strip()
    except MemoryError:
        raise
    except Exception:  # a damaged header raises nearly anything; decoding says what is wrong
        return None
    is_nobody = names_nobody(patient) or (len(patient) > 1 and not patient.strip("0"))
    return None if is_nobody else hashlib.sha256(patient.encode()).hexdigest()


def decode_film(content: bytes, *, keep_numbers: bool = False) -> tuple[np.ndarray | Values, str]:
    """Return a film as it asks to be shown, or its numbers; and how it is shown.

    Gray values go through the modality transform (rescale or lookup table), then through the first
    window or VOI lookup table, to uint8 pixels [height, width] or [height, width, 3]. A film of
    more than 8 bits without either is returned as its numbers, with `keep_numbers` every such film.
    MONOCHROME1 is inverted, so that high is white (PS3.3, C.7.6.3.1.2 and C.11). Raises
    `ImageError`.
    """
    with _telling_failure():
        film = _open(content)
        if _is_numbers(film) or (keep_numbers and _is_deep(film)):
            return _read_numbers(film), ""
        is_own = str(film.PhotometricInterpretation) in _GRAYS and _has_own_window(film)
        return _show(film), OWN_WINDOW if is_own else AS_IT_IS


def read_numbers(content: bytes) -> Values | None:
    """Return the numbers of a film that does not say how to show them; otherwise None.

    Raises `ImageError`.
    """
    with _telling_failure():
        film = _open(content)
        return _read_numbers(film) if _is_numbers(film) else None


def _open(content: bytes) -> "Dataset":
    """Return the needed elements of a film, checked, with the pixels not decoded."""
    film = _parse(content, _SHOWN)
    _check(film, len(content))
    return film


@contextlib.contextmanager
def _telling_failure() -> Iterator[None]:
    """Turn whatever pydicom raises into an `ImageError`."""
    try:
        yield
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # without its words, which may quote the file: a name, a date
        raise film_error(f"that is damaged or cut off ({type(error).__name__})") from None


def _import_pydicom() -> Any:
    """Import pydicom with its warnings switched off: they quote values of the file."""
    try:
        import pydicom
    except ImportError:
        raise ImageError(f"is a DICOM file, which needs pydicom: {INSTALL}") from None
    compressed.register()
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module="pydicom")
    return pydicom


def _parse(content: bytes, names: "Sequence[str]", **options: bool) -> "Dataset":
    """Return the elements called `names`; refuse values that pydicom should not quote.

    pydicom quotes values in its logs and errors. A sequence inside a sequence doubles this text:
    2590 bytes became 2.6 GiB.
    """
    pydicom = _import_pydicom()
    file = RationedFile(content, 4 * len(content))
    _check_head(file, at=_MARK_AT + len(_MARK) if _has_mark(content) else 0)
    film: Dataset = pydicom.dcmread(
        file, specific_tags=list(names), force=not _has_mark(content), **options
    )
    for element in film.values():
        _check_value(element, may_be_sequences=TABLES)
    for name in TABLES:
        for table in film.get(name) or ():
            for element in table.values():
                _check_value(element)
    return film


def _check_head(file: RationedFile, at: int) -> None:
    """Refuse a deflated file, and a head, group 2, that holds sequences or a long group length."""
    from pydicom.filereader import read_dataset

    file.seek(at)
    head = read_dataset(file, False, True, stop_when=lambda tag, kind, length: tag >> 16 != 2)
    for element in head.values():
        is_long = element.tag == _GROUP_LENGTH and len(element.value or b"") > 4
        if element.VR not in _HEAD_KINDS or is_long:
            raise film_error("with a damaged head")
        if element.tag == _TRANSFER_SYNTAX and _DEFLATED in (element.value or b""):
            raise ImageError(
                "is a deflated DICOM file (TransferSyntaxUID (0002,0010)), which may unfold to any "
                "size: store it plainly"
            )
    file.seek(0)


def _check_value(element: Any, *, may_be_sequences: "Sequence[str]" = ()) -> None:
    """Refuse an unexpected sequence, and a value that is too long."""
    from pydicom.datadict import keyword_for_tag

    name = keyword_for_tag(element.tag)
    if element.VR == "SQ" and name not in may_be_sequences:
        raise film_error(f"with a sequence where none belongs ({element.tag})")
    size = len(element.value) if isinstance(element.value, bytes) else 0
    if size > _MAX_VALUE_BYTES and name not in _PIXELS:
        raise film_error(f"with {size} bytes as its {name or element.tag}")


def _check(film: "Dataset", num_bytes: int) -> None:
    """Refuse a file that is not a single film, before any pixel is decoded."""
    _check_there(film)
    drop_empty(film)
    num_frames = get_number(film, "NumberOfFrames") if "NumberOfFrames" in film else 1
    if num_frames != 1:
        raise film_error(f"of {num_frames} frames, expected one image", "NumberOfFrames")
    samples = get_number(film, "SamplesPerPixel")
    kind = str(get_value(film, "PhotometricInterpretation"))
    if samples != (1 if kind in (*_GRAYS, _PALETTE) else 3):
        what = f"of {samples} samples per pixel in {printable(kind)}"
        raise film_error(what, "SamplesPerPixel")
    check_pixels(get_number(film, "Columns"), get_number(film, "Rows") * samples, num_bytes)
    _check_bits(film)
    check_segments(film)
    _settle_syntax(film)
    if film.file_meta.TransferSyntaxUID.is_encapsulated:
        _check_stream(film)
    else:
        _check_length(film, kind)


def _check_there(film: "Dataset") -> None:
    """Refuse a file without pixels, or with pixels that are not integers."""
    if "PixelData" in film:
        return
    for name in _PIXELS[1:]:
        if name in film:
            what = f"with floating-point pixels ({name_element(name)})"
            raise film_error(f"{what}, expected one image of integers")
    raise film_error(f"with no pixels ({name_element('PixelData')}), expected one image")


def _check_bits(film: "Dataset") -> None:
    """Refuse an unknown number of bits, and stored bits that are not the lowest ones."""
    allocated, stored = get_number(film, "BitsAllocated"), get_number(film, "BitsStored")
    least = {1: 1, 8: 1, 16: 8, 32: 8}.get(allocated)
    if least is None or not least <= stored <= allocated:
        what = f"of {stored} bits stored in {allocated}, expected 8 to 32 bits"
        raise film_error(what, "BitsStored", "BitsAllocated")
    high = get_number(film, "HighBit") if "HighBit" in film else stored - 1
    if high != stored - 1:
        what = f"with {stored} stored bits that end at bit {high}, expected bit {stored - 1}"
        raise film_error(what, "HighBit")
    sign = get_number(film, "PixelRepresentation")
    if sign not in (0, 1):
        what = f"with {sign} as its {name_element('PixelRepresentation')}"
        raise film_error(f"{what}, expected 0 (unsigned) or 1 (signed)")


def _settle_syntax(film: "Dataset") -> None:
    """Give a film without a transfer syntax the one of its header.

    This is correct for uncompressed pixels. Compressed ones without a transfer syntax are refused.
    """
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    if film.file_meta.get("TransferSyntaxUID"):
        return
    if film["PixelData"].is_undefined_length:
        raise ImageError(f"is a compressed DICOM file without {name_element('TransferSyntaxUID')}")
    is_implicit, is_little = film.original_encoding
    plain = ImplicitVRLittleEndian if is_implicit else ExplicitVRLittleEndian
    film.file_meta.TransferSyntaxUID = plain if is_little else ExplicitVRBigEndian


def _check_length(film: "Dataset", kind: str) -> None:
    """Refuse uncompressed pixels that are fewer than the film claims."""
    num_samples = int(film.Rows) * int(film.Columns) * int(film.SamplesPerPixel)
    num_bits = num_samples * int(film.BitsAllocated)
    if kind == _HALVED:
        num_bits = num_bits // 3 * 2
    expected, found = -(-num_bits // 8), len(film.PixelData)
    if found < expected:
        what = f"{name_element('PixelData')} has {found} bytes, expected {expected}"
        raise film_error(f"that is damaged or cut off: {what}")


def _check_stream(film: "Dataset") -> None:
    """Refuse compressed pixels with another size in their own header than the film's.

    A decoder uses that header: 1300 bytes of JPEG 2000 in a film of 8 x 8 pixels took 1 GiB.
    """
    from pydicom.encaps import generate_frames
    from pydicom.uid import RLELossless

    if film.PixelData.count(_ITEM) > _MAX_FRAGMENTS:
        raise film_error(f"of more than {_MAX_FRAGMENTS} fragments")
    streams = list(generate_frames(film.PixelData, number_of_frames=1))
    if len(streams) != 1:
        raise film_error("of more frames than it says, expected one image")
    if film.file_meta.TransferSyntaxUID == RLELossless:
        return  # it has no header with a size
    check_scans(streams[0])
    expected = (int(film.Columns), int(film.Rows), int(film.SamplesPerPixel))
    if read_stream_sizes(streams[0]) != {expected}:
        raise film_error(
            "with another size in the header of its compressed pixels, expected "
            f"{expected[0]} x {expected[1]} pixels with {expected[2]} value(s) each",
            "PixelData",
        )


def _decode_pixels(film: "Dataset") -> np.ndarray:
    """Return the stored numbers [height, width] or [height, width, 3]."""
    from pydicom.pixels import pixel_array

    try:
        pixels = pixel_array(film)
    except MemoryError:
        raise
    except Exception:  # without its text, which may quote the file
        raise film_error(_describe_undecodable(film)) from None
    samples = int(film.SamplesPerPixel)
    if pixels.shape != (film.Rows, film.Columns, 3)[: 2 if samples == 1 else 3]:
        raise film_error("of more frames than it says, expected one image")
    return pixels


def _describe_undecodable(film: "Dataset") -> str:
    syntax = film.file_meta.TransferSyntaxUID
    if not syntax.is_encapsulated:
        return f"with a damaged {name_element('PixelData')}"
    remedy = (
        "it is damaged, or compressed in an unusual way: store it uncompressed"
        if compressed.is_available(syntax) or syntax not in compressed.DECODER_DEPENDENCIES
        else f"that takes more packages: {INSTALL}"
    )
    name = f"{name_element('PixelData')} in {printable(str(syntax.name))}"
    return f"with {name} that can not be decoded; {remedy}"


def _show(film: "Dataset") -> np.ndarray:
    kind = str(film.PhotometricInterpretation)
    pixels = _decode_pixels(film)
    if kind in _GRAYS:
        shown = _show_gray(film, pixels)
        return 255 - shown if kind == _INVERTED else shown
    if kind == _PALETTE:
        return _show_palette(film, pixels)
    if pixels.dtype != np.uint8:  # YBR has become RGB
        what = f"of more than 8 bits in {printable(kind)}, expected RGB"
        raise film_error(what, "PhotometricInterpretation")
    return pixels


def _show_palette(film: "Dataset", pixels: np.ndarray) -> np.ndarray:
    """Return a palette's colours; entries of 16 bits may hold only 8 (PS3.3, C.7.6.3.1.6)."""
    from pydicom.pixels import apply_color_lut

    try:
        colors = apply_color_lut(pixels, film)
        every = apply_color_lut(np.arange(2 ** int(film.BitsStored), dtype=pixels.dtype), film)
    except Exception:
        name = name_element(f"{PALETTES[0]}Descriptor")
        raise film_error(f"with a damaged palette ({name} or the next elements)") from None
    return (colors >> 8 if int(every.max()) > 255 else colors).astype(np.uint8)


def _get_ends(film: "Dataset") -> tuple[int, int]:
    """Return the least and the largest number that the stored bits can hold."""
    bits = int(film.BitsStored)
    low = -(2 ** (bits - 1)) if int(film.PixelRepresentation) else 0
    return low, low + 2**bits - 1


def _show_gray(film: "Dataset", stored: np.ndarray) -> np.ndarray:
    """Return the gray film as it asks to be shown.

    Computes the steps for each value that the bits can hold, not for each pixel.
    """
    low, high = _get_ends(film)
    stored = np.clip(stored, low, high)  # bits above may hold an overlay
    if int(film.BitsStored) > _MAX_LEVEL_BITS:
        return np.stack([_to_gray(film, row) for row in stored])
    table = _to_gray(film, np.arange(low, high + 1))
    # A negative index counts from the end: rolled, the table takes signed values as they are.
    return look_up(np.roll(table, low), stored)


def _to_gray(film: "Dataset", values: np.ndarray) -> np.ndarray:
    """Return uint8 of stored values."""
    try:
        with np.errstate(all="ignore"):  # a slope of 1e300 has its own answer below
            shares = _compute_shares(film, values)
    except ImageError as error:
        # Films of 8 bits are shown as they ask, whatever range the user gives.
        remedy = ": give --window or --value_range instead" if _is_deep(film) else ""
        raise ImageError(f"{error}{remedy}") from None
    except Exception:
        raise film_error(_describe_bad_transform(film)) from None
    whole = np.nan_to_num(shares, nan=0.0, posinf=1.0, neginf=0.0)
    return np.rint(np.clip(whole, 0.0, 1.0) * 255.0).astype(np.uint8)


def _describe_bad_transform(film: "Dataset") -> str:
    """Return the reason for a rescale, table or window that can not be used."""
    named = [
        name_element(keyword)
        for keyword in (*TABLES, "RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth")
        if film.get(keyword) is not None
    ]
    return f"that is damaged: can not use {', '.join(named)}"


def _compute_shares(film: "Dataset", levels: np.ndarray) -> np.ndarray:
    """Return the share of white of each stored value."""
    from pydicom.pixels import apply_modality_lut, apply_voi

    values = apply_modality_lut(levels, film)
    if film.get("VOILUTSequence"):
        shares = apply_voi(np.rint(values).astype(np.int64), film)
        return shares / _get_top(film.VOILUTSequence)
    if _has_window(film):
        center, width = _first(film.WindowCenter), _first(film.WindowWidth)
        function = str(film.get("VOILUTFunction") or "LINEAR")
        return apply_window(values, center, width, function)
    if film.get("ModalityLUTSequence"):
        return values / _get_top(film.ModalityLUTSequence)
    # A linear rescale moves the ends of the range together with the values: only its sign counts.
    shares = (levels - levels[0]) / (len(levels) - 1)
    return shares if values[-1] >= values[0] else 1.0 - shares


def _has_window(film: "Dataset") -> bool:
    return film.get("WindowCenter") is not None and film.get("WindowWidth") is not None


def _has_own_window(film: "Dataset") -> bool:
    return bool(film.get("VOILUTSequence") or film.get("ModalityLUTSequence")) or _has_window(film)


def _is_deep(film: "Dataset") -> bool:
    """Whether a film holds gray or colour of more than 8 bits."""
    kinds = (*_GRAYS, _RGB)
    return str(film.PhotometricInterpretation) in kinds and int(film.BitsStored) > 8


def _is_numbers(film: "Dataset") -> bool:
    """Whether a film holds more than 8 bits and does not say how to show them."""
    is_colour = str(film.PhotometricInterpretation) == _RGB  # windows do not apply to colour
    return _is_deep(film) and (is_colour or not _has_own_window(film))


def _read_numbers(film: "Dataset") -> Values:
    """Return the numbers of a film; for a gray film, in the unit of its modality transform."""
    from pydicom.pixels import apply_modality_lut

    low, high = _get_ends(film)
    stored = np.clip(_decode_pixels(film), low, high)  # bits above may hold an overlay
    if stored.ndim == 3:
        return Values(stored, f"{int(film.BitsStored)} bits in colour (DICOM)", low, high)
    slope, intercept = _get_rescale(film)
    if film.get("ModalityLUTSequence"):
        table = apply_modality_lut(np.arange(low, high + 1), film)
        top = int(_get_top(film.ModalityLUTSequence))
        stored, low, high = look_up(np.roll(table, low), stored), 0, top
    return Values(
        stored,
        _name_kind(film, (slope, intercept) != (1.0, 0.0)),
        low,
        high,
        slope,
        intercept,
        is_inverted=str(film.PhotometricInterpretation) == _INVERTED,
        padding=_get_padding(film),
    )


def _get_rescale(film: "Dataset") -> tuple[float, float]:
    """Return slope and intercept of a linear rescale; 1 and 0 without a usable one."""
    slope, intercept = film.get("RescaleSlope"), film.get("RescaleIntercept")
    if slope is None or intercept is None or film.get("ModalityLUTSequence"):
        return 1.0, 0.0
    found = float(slope), float(intercept)
    is_usable = all(map(math.isfinite, found)) and 1e-100 < abs(found[0]) < 1e100
    return found if is_usable else (1.0, 0.0)


def _name_kind(film: "Dataset", is_rescaled: bool) -> str:
    """Return the kind of the film's numbers: numbers of one kind can be compared.

    It is the unit, if there is one (PS3.3, C.11.1.1.2; for CT, the unit may be left out).
    """
    unit, is_ct = film.get("RescaleType"), film.get("Modality") == "CT"
    if unit == "HU" or (is_ct and unit is None):
        return "Hounsfield units (DICOM)"
    if is_rescaled or film.get("ModalityLUTSequence"):
        return "rescaled numbers (DICOM)"
    sign = ", signed" if int(film.PixelRepresentation) else ""
    return f"{int(film.BitsStored)} bits{sign} (DICOM)"


def _get_padding(film: "Dataset") -> tuple[int, int] | None:
    """Return the first and the last stored number that mean padding, not picture."""
    first = film.get("PixelPaddingValue")
    if first is None or film.get("ModalityLUTSequence"):
        return None
    last = film.get("PixelPaddingRangeLimit")
    low, high = sorted((_as_number(first), _as_number(first if last is None else last)))
    return low, high


def _as_number(value: Any) -> int:
    return int(value if not isinstance(value, bytes) else int.from_bytes(value[:2], "little"))


def _get_top(tables: Any) -> float:
    """Return the largest value that the first of several lookup tables can give."""
    return float(2 ** int(tables[0].LUTDescriptor[2]) - 1)


def _first(value: Any) -> float:
    """Return the first of several windows, which a viewer shows first."""
    return float(value if isinstance(value, int | float) else value[0])


def apply_window(values: np.ndarray, center: float, width: float, function: str) -> np.ndarray:
    """Return the share of white, 0 to 1, of each value: PS3.3, C.11.2.1.2 and C.11.2.1.3."""
    if function == "SIGMOID":
        if width <= 0.0:
            raise film_error(f"with a window {width:g} wide, expected above 0", "WindowWidth")
        steepness = np.clip(-4.0 * (values - center) / width, -80.0, 80.0)
        return 1.0 / (1.0 + np.exp(steepness))
    exact = function == "LINEAR_EXACT"
    if width < 1.0 and not (exact and width > 0.0):
        raise film_error(f"with a window {width:g} wide, expected 1 or more", "WindowWidth")
    if not exact:
        center, width = center - 0.5, width - 1.0
    if width == 0.0:
        return (values > center).astype(np.float32)
    return np.clip((values - center) / width + 0.5, 0.0, 1.0)
