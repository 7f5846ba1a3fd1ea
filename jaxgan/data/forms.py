"""Prepare any image for a trained network, by the same steps as in its training.

In training an image is first made smaller (`jaxgan.data.builders`), then square. Both steps are
done here too, so that an image of the training gives the same pixels.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import NamedTuple

import numpy as np

from jaxgan.data.copies import Thumbnails, shrink
from jaxgan.data.fit import fit_square
from jaxgan.data.images import (
    as_pixels,
    decode_image,
    has_mark,
    map_in_threads,
    shrink_to,
    to_gray,
)
from jaxgan.data.limits import ImageError, read_file, unusable_images_error
from jaxgan.data.new_images import NewImages
from jaxgan.data.source import STORED_SIDE
from jaxgan.data.values import View

_PART = 512  # images that are in memory at once


@dataclass(frozen=True)
class Form:
    """Images [size, size, channels]: made square by `fit`; more than 8 bits shown by `view`."""

    size: int
    channels: int
    fit: str
    view: View


class Prepared(NamedTuple):
    """One image in every requested form, and what is known about it.

    `sides` are its width and height. `thumbnails` serve to find copies.
    """

    pixels: list[np.ndarray]
    thumbnails: list[np.ndarray]
    sides: tuple[int, int]
    is_generated: bool
    way: str
    num_grays: int | None


class Part(NamedTuple):
    """Some images: their `indices`, each image prepared, and the pixels [num, ...] of each form."""

    indices: list[int]
    prepared: list[Prepared]
    pixels: list[np.ndarray]


def prepare_image(content: bytes, forms: Sequence[Form]) -> Prepared:
    """Return the image in a file's content in each of the forms. Raises `ImageError`."""
    pixels: list[np.ndarray] = []
    for form in forms:
        decoded = decode_image(content, form.channels, form.view)
        image = shrink_to(decoded.image, max(STORED_SIDE, form.size))
        pixels.append(as_pixels(fit_square(image, form.size, form.fit)))
    thumbnails = shrink(to_gray(as_pixels(image.convert("L"))))
    sides, way, grays = decoded.image.size, decoded.way, decoded.num_grays
    return Prepared(pixels, thumbnails, sides, has_mark(content), way, grays)


def read_parts(
    images: NewImages, forms: Sequence[Form], *, skip_bad: bool, bad: list[tuple[str, ImageError]]
) -> Iterator[Part]:
    """Yield the images in parts, read in threads; add those that can not be used to `bad`.

    Without `skip_bad`, one `UserError` at the end lists all of these.
    """

    def attempt(file: str) -> Prepared | ImageError:
        try:
            return prepare_image(read_file(images.root / file), forms)
        except ImageError as error:
            return error

    bad += images.unusable
    indices: list[int] = []
    prepared: list[Prepared] = []
    found = map_in_threads(attempt, images.files, title="reading", total=len(images))
    for index, result in enumerate(found):
        if isinstance(result, ImageError):
            bad.append((images.files[index], result))
            continue
        indices.append(index)
        prepared.append(result)
        if len(indices) == _PART:
            yield _create_part(indices, prepared)
            indices, prepared = [], []
    if indices:
        yield _create_part(indices, prepared)
    if bad and not skip_bad:
        num_images = len(images) + len(images.unusable)
        remedy = "Repair or remove them, or leave them out with --on_bad_image=skip."
        raise unusable_images_error(
            sorted(bad, key=itemgetter(0)), num_images=num_images, remedy=remedy
        )


def _create_part(indices: list[int], prepared: list[Prepared]) -> Part:
    stacks = zip(*(image.pixels for image in prepared), strict=True)
    return Part(indices, prepared, [np.stack(stack) for stack in stacks])


def join_thumbnails(thumbnails: Sequence[Sequence[np.ndarray]]) -> Thumbnails:
    """Return the thumbnails of images, one or two for each image, for a search of copies."""
    owners = np.repeat(np.arange(len(thumbnails)), [len(t) for t in thumbnails])
    pixels = [pixel for versions in thumbnails for pixel in versions]
    return Thumbnails(np.stack(pixels), owners, len(thumbnails), len(thumbnails))
