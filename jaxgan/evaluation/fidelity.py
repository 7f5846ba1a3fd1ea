"""How good are the images of one generator, by its training images alone? Two rulers.

The first images that a generator draws, before any rule selects, are compared with the real images
that it learned from. A generator that copies them looks good here: memorisation is measured
elsewhere (`jaxgan.metrics.memorisation`).

The pyramid measures texture: the sliced Wasserstein distance of Laplacian pyramids. The outside
ruler (`jaxgan.evaluation.imagenet`, where it is installed) measures the kernel distance in features
of ImageNet, and the blur of real images that is as far from real ones. Each distance is divided by
its floor, the limit that 19 of 20 random divisions of the real images stay within.
"""

from typing import Any

import numpy as np

from jaxgan.core.errors import UserError
from jaxgan.data.sets import ImageSet
from jaxgan.evaluation import equivalent, imagenet
from jaxgan.evaluation.comparisons import measure_kernel_distance, measure_texture
from jaxgan.evaluation.real_images import NamedImages, RealImages, check_count, check_real

PYRAMID, OUTSIDE = "pyramid", "outside"  # the rulers
MOST_GENERATED = 256  # per generator; the floor needs twice as many real images
METRICS = {PYRAMID: "sliced_wasserstein", OUTSIDE: "kernel_distance"}


def list_rulers() -> tuple[str, ...]:
    """Return the rulers that are installed."""
    return (PYRAMID, OUTSIDE) if imagenet.is_installed() else (PYRAMID,)


def measure(ruler: str, generated: np.ndarray, train: ImageSet, label: int) -> dict[str, Any]:
    """Measure generated uint8 images [n, h, w, c] against training images of the same class.

    Returns the `score` (value, interval, floor, n). With the outside ruler, it also returns the
    equivalent `blur` (relation, strength, interval, in pixels) and a `sentence`, each None if the
    ruler sees no degradation. If there are too few images, the score is None, and `reason` says so.
    """
    images = train.of_class(label)
    reason = _find_reason(generated, images)
    if reason is not None:
        return {"score": None, "blur": None, "sentence": None, "reason": reason}
    real = _name_real(images, train)
    if ruler == PYRAMID:
        score = measure_texture(NamedImages("generated", generated), real.sides)
        return {"score": score[METRICS[ruler]], "blur": None, "sentence": None, "reason": None}
    features = imagenet.fit_imagenet_features(train.images)
    score = measure_kernel_distance(features, generated, real.sides)[METRICS[ruler]]
    found = equivalent.measure_equivalent(score, features, real, cache_dir=None)
    return {
        "score": score,
        "blur": found and found["degradations"].get("blur"),
        "sentence": equivalent.describe_equivalent(found, "the outside ruler"),
        "reason": None,
    }


def _find_reason(generated: np.ndarray, real: ImageSet) -> str | None:
    """Return why nothing can be measured, None if it can."""
    try:
        check_real("this class", real, real.take(np.zeros(0, np.int64)))
        check_count("the generated images of this class", len(generated))
    except UserError as error:
        return str(error)
    return None


def _name_real(images: ImageSet, train: ImageSet) -> RealImages:
    """Return training images of a class, at most as many as the floor needs."""
    real = NamedImages("train", images.images, images.patients).take_at_most(2 * MOST_GENERATED)
    none = NamedImages("none", images.images[:0], ())
    return RealImages(real, held_out=none, remaining=none, encoder_set=(train.images, train.labels))
