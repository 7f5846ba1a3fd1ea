"""Read any folder of images, split or not, for `evaluate` to compare."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jaxgan.core.errors import UserError, name_few
from jaxgan.data.fit import describe_fit, fit_square
from jaxgan.data.images import (
    as_pixels,
    convert_many,
    decode_image,
    decode_many,
    measure_files,
)
from jaxgan.data.limits import ImageError, unusable_images_error
from jaxgan.data.tree import ENDINGS, is_image, is_inside, is_no_data
from jaxgan.data.values import (
    AS_STORED,
    View,
    describe_look,
    find_view,
)

MAX_SIDE = 128
_ODD_SHARE = 0.1  # of a folder's images, at most, that are left out for being small
_NAMED = 5
SHEETS = ("grid.png",)  # `sample` writes this overview next to its images: not an image itself


@dataclass(frozen=True)
class LooseImages:
    """Images uint8 [num, side, side, channels], and the file and folder of each.

    `notices` are sentences for the user about images that are left out or enlarged. Notices about
    all folders that were read together are in the first one.
    """

    images: np.ndarray
    files: tuple[str, ...]
    folders: tuple[str, ...]
    notices: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.files)


def read_folders(
    roots: Sequence[Path], *, image_size: int = 0, fit: str = "crop", view: View = AS_STORED
) -> list[LooseImages]:
    """Read all images in and below each of `roots`, scaled to one size so that they are comparable.

    `image_size` 0 means the short side of the smallest image, at most 128 pixels. If a few images
    of a folder have less than half of its usual size, they are left out and named; otherwise one
    unusual image would set the size of all. All images are gray if every one is; otherwise all are
    RGB. `folders` names the first folder below the root, "" if there is none. If `view` asks for no
    range, numbers of more than 8 bits are shown over one range for all folders.
    """
    paths = [_list_images(root) for root in roots]
    # Read the files twice and keep none at full size: a film can have 50 megabytes.
    sizes = [np.array(decode_many(p, channels=1, use=lambda image: image.size)) for p in paths]
    sides = [size.min(axis=1) for size in sizes]
    odd = [np.zeros(len(s), bool) if image_size else _find_odd(s) for s in sides]
    side = image_size or min(MAX_SIDE, *(int(s[~o].min()) for s, o in zip(sides, odd, strict=True)))
    notices = [
        _describe_sizes(*of_root, side) for of_root in zip(roots, paths, sides, odd, strict=True)
    ]
    paths = [[p[i] for i in np.flatnonzero(~o)] for p, o in zip(paths, odd, strict=True)]
    every = [path for group in paths for path in group]
    pixels, said = _read(every, side, fit, view)
    aspects = [w / h for s, o in zip(sizes, odd, strict=True) for w, h in s[~o]]
    notices[0] += (*said, *describe_fit(fit, aspects))
    if (pixels == pixels[..., :1]).all():
        pixels = pixels[..., :1]
    parts = np.split(pixels, np.cumsum([len(group) for group in paths])[:-1])
    return [_create(*of_root) for of_root in zip(roots, paths, parts, notices, strict=True)]


def _read(paths: Sequence[Path], side: int, fit: str, view: View) -> tuple[np.ndarray, list[str]]:
    """Return uint8 [num, side, side, 3] of all folders' images, and the notices about them."""
    notices: list[str] = []
    if view.asked is None:
        view, notices = find_view(measure_files({str(path): path for path in paths}))

    def convert(path: Path | bytes) -> tuple[np.ndarray, str, int | None]:
        decoded = decode_image(path, 3, view)
        return as_pixels(fit_square(decoded.image, side, fit)), decoded.way, decoded.num_grays

    images, ways, grays = zip(*convert_many(paths, convert), strict=True)
    notices += describe_look(ways, dict(zip(map(str, paths), grays, strict=True)), view)
    return np.stack(images), notices


def _find_odd(sides: np.ndarray) -> np.ndarray:
    """Return a mask [num] of the few images below half the usual short side of their folder."""
    odd = sides < np.median(sides) / 2
    return odd if odd.sum() <= _ODD_SHARE * len(sides) else np.zeros_like(odd)


def _describe_sizes(
    root: Path, paths: Sequence[Path], sides: np.ndarray, odd: np.ndarray, side: int
) -> tuple[str, ...]:
    """Name the images that are left out, are enlarged, or set a size much below the usual one."""
    usual, sentences = int(np.median(sides)), []
    if odd.any():
        sentences.append(
            f"{root}: {odd.sum()} of {len(paths)} images are left out, because they are much "
            f"smaller than the others ({_name(root, paths, sides, odd)}; usually {usual} pixels): "
            "all would be scaled to the smallest. --image_size=N includes them."
        )
    small = (sides < side) & ~odd
    if small.any():
        sentences.append(
            f"{root}: {small.sum()} of {len(paths)} images are enlarged to {side} pixels "
            f"({_name(root, paths, sides, small)})."
        )
    deciding = (sides <= side) & (sides < min(usual, MAX_SIDE) / 2) & ~odd
    if deciding.any():
        sentences.append(
            f"{root}: {deciding.sum()} of {len(paths)} images have {side} pixels or fewer "
            f"({_name(root, paths, sides, deciding)}; usually {usual}), and all are compared at "
            "that size: remove them, or give --image_size=N."
        )
    return tuple(sentences)


def _name(root: Path, paths: Sequence[Path], sides: np.ndarray, chosen: np.ndarray) -> str:
    named = [
        f"{path.relative_to(root)} has {side}"
        for path, side, is_chosen in zip(paths, sides, chosen, strict=True)
        if is_chosen
    ]
    return name_few(named, _NAMED)


def _list_images(root: Path) -> list[Path]:
    if not root.is_dir():
        found = "is a file" if root.exists() else "does not exist"
        raise UserError(f"The folder {root} {found}: expected a folder of images.")
    if (root / "config.json").exists():
        raise UserError(
            f"{root} is the folder of a run: expected a folder of images such as {root}/accepted, "
            f"or --class={root.name} --workdir={root.parent} to evaluate the run itself."
        )
    if (root / "train").is_dir():
        raise UserError(
            f"{root} holds splits: expected one of them, such as --against={root}/train and "
            f"--held_out={root}/val, or a class of it."
        )
    visible, unusable = [], []
    for path in sorted(root.rglob("*")):
        parts = path.relative_to(root).parts
        if path.name in SHEETS or any(map(is_no_data, parts)):
            continue
        try:
            _refuse_link_out(path, root)
            if is_image(path, root):
                visible.append(path)
        except ImageError as error:
            unusable.append((str(path), error))
    if unusable:
        raise unusable_images_error(unusable, num_images=len(visible) + len(unusable))
    if not visible:
        raise UserError(f"There are no images in {root}: expected {', '.join(ENDINGS)}.")
    return visible


def _refuse_link_out(path: Path, root: Path) -> None:
    """Refuse a link out of `root`: the images behind it would be left out in silence.

    A link to a folder in `root` is skipped, because its images are read already.
    """
    leads_out = path.is_symlink() and path.exists() and not is_inside(path, root)
    if leads_out and (path.is_dir() or path.is_file()):
        raise ImageError("is a link that leads out of the folder: copy there what it leads to")


def _create(
    root: Path, paths: Sequence[Path], images: np.ndarray, notices: tuple[str, ...]
) -> LooseImages:
    relative = [path.relative_to(root) for path in paths]
    folders = tuple(path.parts[0] if len(path.parts) > 1 else "" for path in relative)
    files = tuple(path.as_posix() for path in relative)
    return LooseImages(images, files, folders, notices)
