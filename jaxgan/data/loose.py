"""Any folder of images, split or not: what `evaluate` compares."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from jaxgan.data.images import as_pixels, decode_many, resize_square
from jaxgan.data.limits import ImageError, unusable_images_error
from jaxgan.data.tree import ENDINGS, is_image, is_no_data
from jaxgan.errors import UserError

MAX_SIDE = 128
SHEETS = ("grid.png",)  # `sample` writes one beside its images: no image of its own


@dataclass(frozen=True)
class LooseImages:
    """Images uint8 [num, side, side, channels], each one's file, and the folder it lay in."""

    images: np.ndarray
    files: tuple[str, ...]
    folders: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.files)


def read_folders(roots: Sequence[Path], *, image_size: int = 0) -> list[LooseImages]:
    """Read all images in and below each of `roots`, scaled alike so that they can be compared.

    `image_size` 0 is the short side of the smallest image among them, at most 128. All are gray if
    every one is, else RGB. `folders` names the first folder below the root, "" where there is none.
    """
    paths = [_list_images(root) for root in roots]
    every = [path for group in paths for path in group]
    # Read twice rather than held at full size: a film can have fifty megabytes.
    side = image_size or min(MAX_SIDE, *decode_many(every, channels=1, use=_get_short_side))
    pixels = np.stack(
        decode_many(every, channels=3, use=lambda image: as_pixels(resize_square(image, side)))
    )
    if (pixels == pixels[..., :1]).all():
        pixels = pixels[..., :1]
    ends = np.cumsum([len(group) for group in paths])[:-1]
    parts = np.split(pixels, ends)
    return [
        _create(root, group, part) for root, group, part in zip(roots, paths, parts, strict=True)
    ]


def _get_short_side(image: Image.Image) -> int:
    return min(image.size)


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
            if is_image(path, root):
                visible.append(path)
        except ImageError as error:
            unusable.append((str(path), error))
    if unusable:
        raise unusable_images_error(unusable, num_images=len(visible) + len(unusable))
    if not visible:
        raise UserError(f"There are no images in {root}: expected {', '.join(ENDINGS)}.")
    return visible


def _create(root: Path, paths: Sequence[Path], images: np.ndarray) -> LooseImages:
    relative = [path.relative_to(root) for path in paths]
    folders = tuple(path.parts[0] if len(path.parts) > 1 else "" for path in relative)
    return LooseImages(images, tuple(path.as_posix() for path in relative), folders)
