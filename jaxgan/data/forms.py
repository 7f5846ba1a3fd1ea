"""Any image in the form that a trained network sees, by the same steps as in its training.

In training an image is first made smaller (`jaxgan.data.builders`), then square. Here both steps
are taken too, so that an image of the training gives the same pixels.
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
    """Images [size, size, channels], made square by `fit`; more than 8 bits shown by `view`."""

    size: int
    channels: int
    fit: str
    view: View


class Prepared(NamedTuple):
    """One image in every form that was asked for, and what is to be said of it.

    `sides` are its width and height, `thumbnails` what copies are found by.
    """

    pixels: list[np.ndarray]
    thumbnails: list[np.ndarray]
    sides: tuple[int, int]
    is_generated: bool
    way: str
    num_grays: int | None


class Part(NamedTuple):
    """Some images, by their `indices`: each prepared, and their pixels for each form."""

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
    """Yield the images some at a time, read in threads; `bad` grows by those that can not be used.

    Unless they are to be skipped, one `UserError` at the end lists them all.
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
    """Return the thumbnails of images, of each one or two, as copies are searched among."""
    owners = np.repeat(np.arange(len(thumbnails)), [len(t) for t in thumbnails])
    pixels = [pixel for versions in thumbnails for pixel in versions]
    return Thumbnails(np.stack(pixels), owners, len(thumbnails), len(thumbnails))
