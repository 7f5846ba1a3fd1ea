"""Make images square.

| fit | the square holds | what is lost |
|---|---|---|
| crop | the centre, with its proportions | the parts beyond it, at two sides |
| pad | the whole image, with its proportions, between two black margins | size |
| stretch | the whole image, its longer side compressed | proportions |
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image

FITS = ("crop", "pad", "stretch")
WORTH_SAYING = 0.05  # cut-off share of an image above which there is a notice


def fit_square(image: Image.Image, size: int, fit: str) -> Image.Image:
    """Return `image` as a square of `size` pixels per side: area average down, bilinear up."""
    if fit == "crop":
        return _resize(_cut_centre(image), size, size)
    if fit == "stretch":
        return _resize(image, size, size)
    if fit == "pad":
        return _pad(image, size)
    raise ValueError(f"fit is {fit!r}, expected one of {', '.join(FITS)}")


def _cut_centre(image: Image.Image) -> Image.Image:
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))


def _pad(image: Image.Image, size: int) -> Image.Image:
    scale = size / max(image.size)
    width, height = (max(1, round(n * scale)) for n in image.size)
    square = Image.new(image.mode, (size, size))
    square.paste(_resize(image, width, height), ((size - width) // 2, (size - height) // 2))
    return square


def _resize(image: Image.Image, width: int, height: int) -> Image.Image:
    if image.size == (width, height):
        return image
    is_smaller = width < image.width or height < image.height
    method = Image.Resampling.BOX if is_smaller else Image.Resampling.BILINEAR
    return image.resize((width, height), method)


def compute_cut(aspects: Sequence[float]) -> np.ndarray:
    """Return the share of each image that `crop` cuts off; `aspects` are widths over heights."""
    aspect = np.asarray(aspects, float)
    return 1.0 - np.minimum(aspect, 1.0 / aspect)


def describe_fit(fit: str, aspects: Sequence[float]) -> list[str]:
    """Return a notice if much of some images is cut off, or if a fit changes nothing."""
    cut = compute_cut(aspects)
    much = cut > WORTH_SAYING
    if fit != "crop":
        nothing = f"All images are square: --fit={fit} changes nothing."
        return [] if (cut > 0.0).any() else [nothing]
    if not much.any():
        return []
    return [
        f"{int(much.sum())} of {len(cut)} images are so far from square that more than "
        f"{WORTH_SAYING:.0%} is cut off, up to {cut.max():.0%} and {cut.mean():.0%} on average: "
        "only the central square of each is used. --fit=pad uses all of it, with black margins; "
        "--fit=stretch uses all of it, without margins."
    ]
