"""Map the numbers in an image to the 8 bits that networks see.

| image | black to white is |
|---|---|
| 8 bits and fewer, gray or colour, any format | what the file says: shown as it is |
| DICOM with a window, a VOI table or a modality table | the first of these, after the rescale |
| any other of 9 to 32 bits, gray or colour, signed or not | one range for the whole data set |
| gray or colour of more than 8 bits, with `--value_range` or `--window` | the requested range |

Numbers are compared only within one *kind*. 16-bit numbers of PNG and TIFF are one kind. DICOM
films are of other kinds, one for each number of stored bits, signed or not. Hounsfield units are
another kind. The range of a kind is the first of four in which its median film keeps 64 grays:

1. all that the bits can hold, which is how most films are made to be shown; if slopes differ
   (PET), the bits of all films together;
2. from the smallest number of all films to the largest: nothing is cut off;
3. the same without the darkest 0.5 % and the brightest 0.5 % of each film's pixels, which may be a
   marker, a hot pixel or padding;
4. the same without the 5 % of the films that reach farthest at either end.

The range is found from all films of all splits and classes, in any order. It is never one range per
film, because the brightness of a film relative to others may be the finding. Only such files are
read twice.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from jaxgan.core.errors import UserError, list_some, name_few
from jaxgan.core.untrusted import printable
from jaxgan.data.limits import map_blocks

MIN_GRAYS = 64  # of 256: a film that keeps fewer is named
NAMED = 10  # films that a notice names at most
AUTO = "auto"
AS_IT_IS = "of 8 bits as they are"
OWN_WINDOW = "through a window or table of their own"
ASKED = "through the range or window that was asked for"
Range = tuple[float, float]

_TAIL = 0.005  # share of a film's pixels, at either end
_FAR = 0.05  # share of the films, at either end
_MOST_SAMPLED = 2**20  # pixels of a film, evenly spaced, from which its tails are found
_LEAST_PIXELS = 1024  # grays are not counted in smaller films, which can not have many


@dataclass(frozen=True)
class Values:
    """The numbers of an image that does not say how to show them.

    `stored` is an integer array [height, width], or [height, width, 3] in colour. A number n means
    `slope * n + intercept`; the bits can hold `low` to `high`. `is_inverted`: the highest is black.
    `alpha` is uint8 [height, width], over black. `padding` are the first and last number that mean
    padding. `keeps_upper_byte`: without a range, a pixel is the upper of its two bytes.
    """

    stored: np.ndarray
    kind: str
    low: int
    high: int
    slope: float = 1.0
    intercept: float = 0.0
    is_inverted: bool = False
    alpha: np.ndarray | None = None
    padding: tuple[int, int] | None = None
    keeps_upper_byte: bool = False


class Spread(NamedTuple):
    """The spread of one image's numbers, in their unit: ends, tails, and the range of the bits."""

    kind: str
    least: float
    low: float
    high: float
    largest: float
    full: Range


@dataclass(frozen=True)
class View:
    """How numbers of more than 8 bits are shown.

    `asked` is the range from black to white that a user gave for every such image. Without it,
    `ranges` holds the range of each kind. A kind that is not in it is shown over all that its bits
    can hold.
    """

    asked: Range | None = None
    ranges: Mapping[str, Range] = field(default_factory=dict)

    def get_range(self, kind: str) -> Range | None:
        """Return the numbers of black and white for a kind; None: all that the bits can hold."""
        return self.asked or self.ranges.get(kind)


AS_STORED = View()


# Settings --------------------------------------------------------------------------------------


def parse_view(value_range: str, window: str) -> View:
    """Return the view that the settings `value_range` and `window` ask for.

    `value_range` is "auto" or "LOW,HIGH", `window` "" or "CENTER,WIDTH", both in the unit of the
    images. Raises `UserError`.
    """
    if window and value_range != AUTO:
        raise UserError(
            f"--value_range={value_range} and --window={window} were both given: give only one."
        )
    if window:
        center, width = _parse_pair("window", window, "CENTER,WIDTH, such as 40,400")
        if width < 1.0:
            raise UserError(f"--window={window} is {width:g} wide, expected 1 or more.")
        return View(asked=compute_window_range(center, width))
    if value_range == AUTO:
        return AS_STORED
    low, high = _parse_pair("value_range", value_range, "auto, or LOW,HIGH such as 0,4095")
    if low >= high:
        raise UserError(
            f"--value_range={value_range} goes from {low:g} to {high:g}, expected the lower first."
        )
    return View(asked=(low, high))


def no_numbers_error() -> UserError:
    """Return the error for a range that no image uses."""
    return UserError(
        "--value_range or --window was given, but no image holds gray of more than 8 bits: all "
        "images are shown as they are. Leave it out."
    )


def _parse_pair(name: str, text: str, expected: str) -> tuple[float, float]:
    try:
        first, second = (float(part) for part in text.split(","))
    except ValueError:
        raise UserError(f"--{name}={printable(text)}: expected {expected}.") from None
    if not (math.isfinite(first) and math.isfinite(second)):
        raise UserError(f"--{name}={printable(text)}: expected {expected}, finite numbers.")
    return first, second


def compute_window_range(center: float, width: float) -> Range:
    """Return the numbers that a linear window shows as black and white: PS3.3, C.11.2.1.2.1."""
    return center - 0.5 - (width - 1.0) / 2.0, center - 0.5 + (width - 1.0) / 2.0


# Showing ---------------------------------------------------------------------------------------


def show(values: Values, view: View) -> np.ndarray:
    """Return uint8 [height, width] or [height, width, 3]; transparent pixels are over black."""
    bounds = view.get_range(values.kind)
    if bounds is None and values.keeps_upper_byte:
        shown = (values.stored >> 8).astype(np.uint8)
    else:
        shown = _map(values, bounds)
    if values.is_inverted:
        shown = np.uint8(255) - shown
    return shown if values.alpha is None else _over_black(shown, values.alpha)


def _map(values: Values, bounds: Range | None) -> np.ndarray:
    """Return uint8 of the stored numbers, black to white over `bounds`."""

    def show_block(stored: np.ndarray) -> np.ndarray:
        return np.rint(np.clip(_compute_shares(values, stored, bounds), 0.0, 1.0) * 255.0)

    return map_blocks(show_block, values.stored, np.uint8)


def _compute_shares(values: Values, stored: np.ndarray, bounds: Range | None) -> np.ndarray:
    numbers = stored.astype(np.float64)
    if bounds is None:  # in the numbers as stored, so that no rescale rounds them
        ends = (values.low, values.high) if values.slope > 0 else (values.high, values.low)
        return (numbers - ends[0]) / (ends[1] - ends[0])
    meant = values.slope * numbers + values.intercept
    low, high = bounds
    return (meant - low) / (high - low) if high > low else (meant > low).astype(np.float64)


def _over_black(shown: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Return `shown` over black, rounded as Pillow's `alpha_composite` does."""
    wide = shown.astype(np.uint16) * (alpha if shown.ndim == 2 else alpha[:, :, None]) + 128
    return (((wide >> 8) + wide) >> 8).astype(np.uint8)


def count_grays(pixels: np.ndarray) -> int | None:
    """Return how many of 256 grays an image has, uint8 [height, width] or [height, width, 3].

    In colour, the channel with the most counts. None if there are too few pixels.
    """
    if pixels.shape[0] * pixels.shape[1] < _LEAST_PIXELS:
        return None
    channels = pixels.reshape(-1, 1 if pixels.ndim == 2 else pixels.shape[2])
    return max(int((np.bincount(channel, minlength=256) > 0).sum()) for channel in channels.T)


# Finding the range -----------------------------------------------------------------------------


def measure(values: Values) -> Spread:
    """Return the spread of an image's numbers, without padding and transparent pixels."""
    stored = _get_picture(values)
    sample = stored[:: max(1, stored.size // _MOST_SAMPLED)]
    tails = np.quantile(sample, [_TAIL, 1.0 - _TAIL], method="nearest")
    marks = (float(stored.min()), float(tails[0]), float(tails[1]), float(stored.max()))
    least, low, high, largest = sorted(values.slope * n + values.intercept for n in marks)
    ends = sorted(values.slope * n + values.intercept for n in (values.low, values.high))
    return Spread(values.kind, least, low, high, largest, (ends[0], ends[1]))


def _get_picture(values: Values) -> np.ndarray:
    """Return the stored numbers [num] of picture pixels; if there are none, all numbers."""
    stored = values.stored
    is_picture = np.ones(stored.shape[:2], bool)
    if values.padding is not None and stored.ndim == 2:
        is_picture &= (stored < values.padding[0]) | (stored > values.padding[1])
    if values.alpha is not None:
        is_picture &= values.alpha > 0
    return (
        stored.ravel() if is_picture.all() or not is_picture.any() else stored[is_picture].ravel()
    )


def choose_ranges(spreads: Sequence[Spread]) -> dict[str, Range]:
    """Return the range of each kind that is not shown over all that its bits can hold."""
    kinds = sorted({spread.kind for spread in spreads})
    found = {kind: _choose([s for s in spreads if s.kind == kind]) for kind in kinds}
    return {kind: chosen for kind, chosen in found.items() if chosen is not None}


def _choose(spreads: Sequence[Spread]) -> Range | None:
    """Return the range of one kind by the rules above; None: all that the bits can hold."""
    films = [spread for spread in spreads if spread.largest > spread.least]
    if not films:
        return None
    # In a film of nearly one gray, both tails are the same number.
    middle = float(np.median([(f.high - f.low) or (f.largest - f.least) for f in films]))
    full = _join(film.full for film in films)
    if _keeps_grays(middle, full):
        # As stored, films with different slopes would each have their own black and white.
        return full if len({spread.full for spread in spreads}) > 1 else None
    ranges = [
        (min(film.least for film in films), max(film.largest for film in films)),
        (min(film.low for film in films), max(film.high for film in films)),
        _leave_out_far(films),
    ]
    usable = [(low, high) for low, high in ranges if high > low]
    return next((bounds for bounds in usable if _keeps_grays(middle, bounds)), usable[-1])


def _join(ranges: Iterable[Range]) -> Range:
    """Return the smallest range that contains all of `ranges`."""
    lows, highs = zip(*ranges, strict=True)
    return min(lows), max(highs)


def _keeps_grays(span: float, bounds: Range) -> bool:
    return span * 255.0 >= (MIN_GRAYS - 1) * (bounds[1] - bounds[0])


def _leave_out_far(films: Sequence[Spread]) -> Range:
    num_far = min(math.ceil(_FAR * len(films)), (len(films) - 1) // 2)
    lows, highs = sorted(film.low for film in films), sorted(film.high for film in films)
    return lows[num_far], highs[-1 - num_far]


# What is said ----------------------------------------------------------------------------------


def find_view(spreads: Mapping[str, Spread]) -> tuple[View, list[str]]:
    """Return the common view for the images of these spreads, by file, and its notices."""
    ranges = choose_ranges(list(spreads.values()))
    return View(ranges=ranges), describe_ranges(spreads, ranges)


def describe_look(ways: Sequence[str], grays: Mapping[str, int | None], view: View) -> list[str]:
    """Return the notices on decoded images; raise `UserError` if no image uses the asked view."""
    if view.asked is not None and ASKED not in ways:
        raise no_numbers_error()
    return [*describe_ways(ways), *describe_few_grays(grays)]


def describe_ranges(spreads: Mapping[str, Spread], ranges: Mapping[str, Range]) -> list[str]:
    """Return a notice for each kind that has a range: `spreads` are of images, by file."""
    return [_describe_range(kind, spreads, bounds) for kind, bounds in sorted(ranges.items())]


def _describe_range(kind: str, spreads: Mapping[str, Spread], bounds: Range) -> str:
    of_kind = {file: spread for file, spread in spreads.items() if spread.kind == kind}
    low = min(spread.least for spread in of_kind.values())
    high = max(spread.largest for spread in of_kind.values())
    beyond = [f for f, s in sorted(of_kind.items()) if s.low < bounds[0] or s.high > bounds[1]]
    cut = (
        f" {len(beyond)} of them have more than {_TAIL:.1%} of their pixels beyond it, which "
        f"become all black or all white: {list_some(beyond)}."
        if beyond
        else ""
    )
    is_whole = bounds == _join(s.full for s in of_kind.values() if s.largest > s.least)
    why = (
        "and what the bits can hold is not the same in all"
        if is_whole
        else "a small part of what the bits can hold"
    )
    return (
        f"{len(of_kind)} image(s) of {kind} have no window and use {low:g} to {high:g}, {why}: "
        f"{bounds[0]:g} is shown as black and {bounds[1]:g} as white, for all of them.{cut} "
        "To change this, give --value_range=LOW,HIGH or --window=CENTER,WIDTH."
    )


def describe_ways(ways: Sequence[str]) -> list[str]:
    """Return a notice if images are shown in several ways; `ways` has one entry per image."""
    counts = Counter(ways)
    if len(counts) < 2:
        return []
    listed = "; ".join(f"{count} {way}" for way, count in sorted(counts.items()))
    return [
        f"Images are shown in {len(counts)} ways: {listed}. The same gray has different meanings "
        "in different ways. If classes differ in it, a network can distinguish them by that."
    ]


def describe_few_grays(grays: Mapping[str, int | None]) -> list[str]:
    """Return a notice that names images of fewer than `MIN_GRAYS` grays."""
    few = {f: n for f, n in grays.items() if n is not None and n < MIN_GRAYS}
    if not few:
        return []
    named = name_few([f"{file} has {few[file]}" for file in sorted(few)], NAMED)
    return [
        f"{len(few)} image(s) have fewer than {MIN_GRAYS} of 256 grays: {named}. "
        "Where they hold more than 8 bits, --value_range=LOW,HIGH or --window=CENTER,WIDTH may "
        "show more of them."
    ]
