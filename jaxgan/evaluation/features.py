"""Feature spaces: they turn images into vectors, and distances are measured between these."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
from jax import export

from jaxgan.core.errors import UserError
from jaxgan.data.images import resize_all
from jaxgan.evaluation.encoder import SIDE, load_or_train_encoder
from jaxgan.ops.batches import map_batches

PIXEL_SIDE = 16
MEMORISATION_SIDE = 32
_BATCH = 32
_DTYPES = ("uint8", "float32")  # of exported functions


@dataclass(frozen=True)
class Features:
    """A feature space: `name` labels the numbers in the report.

    `compute` maps uint8 images [n, h, w, c] to one vector per image, float [n, d].
    """

    name: str
    compute: Callable[[np.ndarray], np.ndarray]

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Return [n, d]."""
        return self.compute(images)


def create_pixel_features(side: int = PIXEL_SIDE) -> Features:
    """Return gray values in [-1, 1] of the image averaged down to `side` x `side`."""

    def compute(images: np.ndarray) -> np.ndarray:
        small = shrink(images, side).astype(np.float64) / 127.5 - 1.0
        return small.reshape(len(images), -1)

    return Features(f"pixels {side}x{side}", compute)


def create_encoder_features(
    images: np.ndarray, labels: np.ndarray, *, cache_dir: Path | None
) -> Features:
    """Train an encoder on uint8 images [n, h, w, c] and labels [n], or read the saved one.

    Its features are partly whitened over these images.
    """
    encoder = load_or_train_encoder(shrink(images, SIDE), labels, cache_dir=cache_dir)
    name = f"own encoder, trained on {len(images)} real images"
    return Features(name, lambda images: encoder.encode(shrink(images, SIDE)))


def hold_out_for_floor(
    labels: np.ndarray, patients: Sequence[str], num_held_out: Sequence[int], *, seed: int = 0
) -> np.ndarray:
    """Return which training images [n] the encoder must not see, because the floor needs them.

    An encoder puts the images that it has learned from close together. A floor that is computed
    from them is too low. So for each class, as many training images as held-out ones
    (`num_held_out`) are not shown to the encoder, but at most half. A patient is never divided.
    """
    unseen, owners = np.zeros(len(labels), bool), np.asarray(patients)
    for label, num in enumerate(num_held_out):
        of_class = labels == label
        wanted = min(num, int(of_class.sum()) // 2)
        for patient in np.random.default_rng(seed).permutation(np.unique(owners[of_class])):
            if int((unseen & of_class).sum()) >= wanted:
                break
            unseen |= owners == patient
    return unseen


def choose_remaining(unseen: np.ndarray, num: int) -> np.ndarray:
    """Return the indices of the images for the floor: those the encoder has not seen.

    `unseen` is bool [n]. The floor needs `num` images, as many as are held out. If fewer are
    unseen, images that the encoder has seen fill the rest.
    """
    order = np.argsort(~unseen, kind="stable")
    return order[: max(num, int(unseen.sum()))]


def read_exported_features(path: Path) -> Features:
    """Read a feature function that `jax.export` has written, such as an Inception network.

    It maps images [n, h, w, c], n symbolic or fixed, uint8 or float32 in [-1, 1], to [n, d].
    Images are scaled to its height and width. Gray is repeated if it expects three channels.
    Raises `UserError` if the file is not such a function.
    """
    exported = _read_exported(path)
    call = jax.jit(exported.call)
    (wanted,) = exported.in_avals
    num, height, _, channels = wanted.shape

    def compute(images: np.ndarray) -> np.ndarray:
        inputs = _match_channels(shrink(images, height, enlarge=True), channels)
        if wanted.dtype != np.uint8:
            inputs = inputs.astype(wanted.dtype) / np.asarray(127.5, wanted.dtype) - 1
        found = map_batches(call, inputs, num if isinstance(num, int) else _BATCH)
        found = found.astype(np.float64)
        if not np.isfinite(found).all():
            raise UserError(
                f"The features of {path} are not all finite, expected finite numbers: check the "
                "function, and export it again."
            )
        return found

    return Features(path.name, compute)


def draw_thumbnails(images: np.ndarray) -> np.ndarray:
    """Return gray images [n, side, side] in [-1, 1], for the search for copies."""
    gray = shrink(images, MEMORISATION_SIDE).mean(axis=-1, dtype=np.float32)
    return gray / np.float32(127.5) - np.float32(1)


def shrink(images: np.ndarray, side: int, *, enlarge: bool = False) -> np.ndarray:
    """Average uint8 images [n, h, w, c] down to `side`; smaller ones stay, unless `enlarge`."""
    if min(images.shape[1:3]) < side and not enlarge:
        side = min(images.shape[1:3])
    return resize_all(images, side)


def _match_channels(images: np.ndarray, channels: int) -> np.ndarray:
    if images.shape[-1] == channels:
        return images
    gray = images.mean(axis=-1, keepdims=True).round().astype(np.uint8)
    return np.repeat(gray, channels, axis=-1)


def _read_exported(path: Path) -> export.Exported:
    expected = (
        "expected what jax.export's serialize() gives for one function of images "
        "[n, size, size, 1 or 3], uint8 or float32, to features [n, d]"
    )
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(
            f"The features file {path} can not be read ({error.strerror}): {expected}."
        ) from None
    try:
        exported = export.deserialize(bytearray(content))
    except Exception:  # a parser of unknown bytes raises nearly any error
        raise UserError(f"{path} is not an exported JAX function: {expected}.") from None
    shapes = [(aval.shape, aval.dtype.name) for aval in exported.in_avals]
    if not _is_usable(exported):
        raise UserError(
            f"{path} maps {shapes} to {[aval.shape for aval in exported.out_avals]}: {expected}."
        )
    if jax.default_backend() not in exported.platforms:
        raise UserError(
            f"{path} was exported for {' and '.join(exported.platforms)}, and this machine runs "
            f"on {jax.default_backend()}: export it again with platforms=[...] that name both."
        )
    return exported


def _is_usable(exported: export.Exported) -> bool:
    if len(exported.in_avals) != 1 or len(exported.out_avals) != 1:
        return False
    (given,), (result,) = exported.in_avals, exported.out_avals
    if len(given.shape) != 4 or len(result.shape) != 2 or given.dtype.name not in _DTYPES:
        return False
    _, height, width, channels = given.shape
    return isinstance(height, int) and height == width and channels in (1, 3)
