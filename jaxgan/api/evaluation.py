"""Measure generated images that are given as arrays."""

import hashlib
from pathlib import Path

import numpy as np

from jaxgan.api.errors import convert_errors
from jaxgan.api.images import choose_cache
from jaxgan.core.errors import UserError
from jaxgan.data.arrays import check_images
from jaxgan.data.copies import find_copies_between
from jaxgan.evaluation import evaluate as evaluation
from jaxgan.evaluation.evaluate import Evaluation
from jaxgan.evaluation.features import choose_remaining, hold_out_for_floor
from jaxgan.evaluation.real_images import NamedImages, RealImages, check_count
from jaxgan.evaluation.subjects import MIN_SIDE, EvaluationSets

_NO_CLASSES = "GAN-train and GAN-test: not measured for arrays, which have one class."


def evaluate(
    generated: np.ndarray,
    real: np.ndarray,
    held_out: np.ndarray | None = None,
    *,
    out: Path | str = "runs/evaluation",
    cache_dir: Path | str | None = None,
    inception: Path | str | None = None,
) -> Evaluation:
    """Measure generated images against real ones of the same class; the verdict comes first.

    All are uint8 [num, size, size] or [num, size, size, 1 or 3]. `real` are the images that the
    generator was trained on. `held_out` are real images of other patients: they show whether
    the generator copies its training images. The report is in `out`. `inception` is a file of
    weights for FID and KID: pt_inception-2015-12-05-6726825d.pth. Raises `UserError`.

    >>> films = np.random.default_rng(0).integers(0, 256, (40, 32, 32), np.uint8)
    >>> jaxgan.evaluate(films / 255, films)
    Traceback (most recent call last):
        ...
    jaxgan.core.errors.UserError: Found generated images of float64 [40, 32, 32] with values ...
    """
    with convert_errors():
        sets = create_sets(generated, real, held_out)
        weights = Path(inception).expanduser() if inception else None
        return evaluation.evaluate(
            sets,
            out=Path(out).expanduser(),
            cache_dir=choose_cache(cache_dir),
            inception_file=weights,
        )


def create_sets(
    generated: np.ndarray, real: np.ndarray, held_out: np.ndarray | None
) -> EvaluationSets:
    """Check the arrays and return them as the sets of an evaluation. Raises `UserError`."""
    made = check_images(generated, "generated images")
    known = check_images(real, "real images")
    others = known[:0] if held_out is None else check_images(held_out, "held-out images")
    given = {"generated": made, "real": known, **({} if held_out is None else {"held-out": others})}
    for name, images in given.items():
        check_count(f"the {name} images", len(images))
        _check_form(name, images, made)
    _check_no_copies(others, known)
    labels = np.zeros(len(known), np.int32)
    unseen = hold_out_for_floor(labels, [str(i) for i in range(len(known))], [len(others)])
    return EvaluationSets(
        generated=NamedImages("array 'generated'", made),
        real=RealImages(
            train=NamedImages("array 'real'", known),
            held_out=NamedImages("array 'held_out'", others),
            remaining=NamedImages("array 'real'", known[choose_remaining(unseen, len(others))]),
            encoder_set=(known[~unseen], labels[~unseen]),
        ),
        no_classes=_NO_CLASSES,
        comparison={"arrays": {name: _hash(images) for name, images in given.items()}},
    )


def _check_form(name: str, images: np.ndarray, made: np.ndarray) -> None:
    """Raise unless images have the form of the generated ones: square, and not too small."""
    height, width, channels = images.shape[1:]
    if height != width or height < MIN_SIDE:
        raise UserError(
            f"The {name} images are {height} x {width} pixels: expected squares of at least "
            f"{MIN_SIDE} x {MIN_SIDE}. Images.at(image_size) returns such images."
        )
    if images.shape[1:] != made.shape[1:]:
        side, colours = made.shape[1], made.shape[3]
        raise UserError(
            f"The {name} images have {height} x {width} pixels and {channels} channel(s), but the "
            f"generated images have {side} x {side} and {colours}: expected the same. Load the "
            f"real images with Images.at({side}, {colours})."
        )


def _check_no_copies(held_out: np.ndarray, real: np.ndarray) -> None:
    if not len(held_out):
        return
    pairs = find_copies_between(held_out, real).pairs
    if len(pairs):
        raise UserError(
            f"{len(set(pairs[:, 0]))} of the {len(held_out)} held-out images are copies of real "
            f"images (for example, {pairs[0, 0]} of {pairs[0, 1]}), expected none. With copies, "
            "memorisation cannot be found: remove them, or give images of other patients."
        )


def _hash(images: np.ndarray) -> str:
    return hashlib.sha256(str(images.shape).encode() + images.tobytes()).hexdigest()
