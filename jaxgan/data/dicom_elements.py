"""Read single elements of a DICOM header; errors give the name and number of wrong elements.

No error quotes a text value: it may be a name or a date (see `jaxgan.data.dicom`).
"""

import struct
from typing import TYPE_CHECKING, Any

from jaxgan.data.limits import ImageError

if TYPE_CHECKING:
    from pydicom import Dataset

# Elements that may be there without a value, which means the same as absent (PS3.5, 7.4).
MAY_BE_EMPTY = (
    "HighBit",
    "Modality",
    "NumberOfFrames",
    "PixelPaddingRangeLimit",
    "PixelPaddingValue",
    "RescaleIntercept",
    "RescaleSlope",
    "RescaleType",
    "VOILUTFunction",
    "WindowCenter",
    "WindowWidth",
)
TABLES = ("ModalityLUTSequence", "VOILUTSequence")
_TABLE_PARTS = ("LUTDescriptor", "LUTData")
PALETTES = tuple(f"{colour}PaletteColorLookupTable" for colour in ("Red", "Green", "Blue"))
_MAX_LEVELS = 2**16  # of a palette
_DISCRETE, _LINEAR = 0, 1  # kinds of a palette's segment: PS3.3, C.7.9.2


def name_element(keyword: str) -> str:
    """Return an element's name and number, as `Rows (0028,0010)`."""
    from pydicom.datadict import tag_for_keyword

    tag = tag_for_keyword(keyword) or 0
    return f"{keyword} ({tag >> 16:04X},{tag & 0xFFFF:04X})"


def film_error(what: str, *keywords: str) -> ImageError:
    """Return the error for a DICOM file `what`, with the names of the wrong elements."""
    named = ", ".join(map(name_element, keywords))
    return ImageError(f"is a DICOM file {what} ({named})" if named else f"is a DICOM file {what}")


def get_value(film: "Dataset", keyword: str) -> Any:
    """Return the value of a required element. Raises `ImageError`."""
    value = _get(film, keyword)
    if value is None or value == "":
        raise film_error(f"without {name_element(keyword)}")
    return value


def _get(film: "Dataset", keyword: str) -> Any:
    try:
        return film.get(keyword)
    except Exception:  # pydicom interprets a value only when it is read
        raise film_error(f"with a damaged {name_element(keyword)}") from None


def get_number(film: "Dataset", keyword: str) -> int:
    """Return the integer of a required element. Raises `ImageError`."""
    value = get_value(film, keyword)
    try:
        return int(value)
    except (TypeError, ValueError):
        raise film_error(f"with a {name_element(keyword)} that is not an integer") from None


def drop_empty(film: "Dataset") -> None:
    """Remove elements without a value and tables without entries.

    If only one of slope and intercept is there, the other becomes 1 or 0. Raises `ImageError`.
    """
    for keyword in MAY_BE_EMPTY:
        if keyword in film and _is_empty(film, keyword):
            delattr(film, keyword)
    for keyword in TABLES:
        if keyword in film and not _is_table(film, keyword):
            delattr(film, keyword)
    if "RescaleSlope" in film and "RescaleIntercept" not in film:
        film.RescaleIntercept = 0
    if "RescaleIntercept" in film and "RescaleSlope" not in film:
        film.RescaleSlope = 1


def _is_empty(film: "Dataset", keyword: str) -> bool:
    value = _get(film, keyword)
    return value is None or (hasattr(value, "__len__") and len(value) == 0)


def _is_table(film: "Dataset", keyword: str) -> bool:
    """Whether the first item of a sequence is a lookup table."""
    items = film.get(keyword)
    if not items:
        return False
    return not any(part not in items[0] or _is_empty(items[0], part) for part in _TABLE_PARTS)


def check_segments(film: "Dataset") -> None:
    """Refuse a palette in segments that expand to more levels than a palette has.

    pydicom expands them in Python, and a segment may refer to others. Raises `ImageError`.
    """
    for palette in PALETTES:
        keyword = f"Segmented{palette}Data"
        data = film.get(keyword)
        if data is None:
            continue
        bits = film.get(f"{palette}Descriptor")
        is_wide = bool(bits) and int(bits[2]) == 16
        order = "<" if film.original_encoding[1] else ">"
        usable = data[: len(data) // 2 * 2] if is_wide else data
        words = struct.unpack(f"{order}{len(usable) // (1 + is_wide)}{'BH'[is_wide]}", usable)
        if not _fits(words):
            raise film_error(
                f"with a {name_element(keyword)} that is damaged, or expands to more than "
                f"{_MAX_LEVELS} levels"
            )


def _fits(words: tuple[int, ...]) -> bool:
    """Whether segments are plain and give at most the number of levels of a palette."""
    at = num_levels = 0
    while at + 1 < len(words):
        kind, length = words[at : at + 2]
        at += 2 + (length if kind == _DISCRETE else 1)
        num_levels += length
        if kind not in (_DISCRETE, _LINEAR) or length == 0 or num_levels > _MAX_LEVELS:
            return False
    return True
