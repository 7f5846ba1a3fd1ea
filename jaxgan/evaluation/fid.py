"""FID and KID: distances in the features of the Inception network that the literature uses.

The user brings the file of weights. Images are scaled as by TensorFlow 1 and torch-fidelity. With
another file of the same form the same numbers are computed, but they are not called FID and KID.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import unflatten_dict

from jaxgan.classifiers.fid_inception import SHA256, SIDE, create_fid_inception, read_fid_weights
from jaxgan.classifiers.protocol import Classifier
from jaxgan.classifiers.weights import Start
from jaxgan.core.console import say
from jaxgan.core.errors import UserError
from jaxgan.core.types import Array, Params
from jaxgan.core.untrusted import printable
from jaxgan.evaluation.features import Features
from jaxgan.evaluation.real_images import NamedImages, RealImages, take_at_most
from jaxgan.metrics.frechet_distance import compute_frechet_distance
from jaxgan.metrics.kernel_distance import compute_subset_distance
from jaxgan.ops.batches import map_batches

NUM_FEATURES = 2048  # with fewer images the covariance has no inverse
_BATCH = 32


@dataclass(frozen=True)
class InceptionFeatures(Features):
    """The features [n, 2048] in front of the head; `weights` says from which file."""

    weights: Start

    @property
    def is_published(self) -> bool:
        """Whether these are the weights of the literature, by the sha256 of the file."""
        return self.weights.file.sha256 == SHA256


def read_inception_features(path: Path) -> InceptionFeatures:
    """Read the weights of 2015-12-05 that pytorch-fid and torch-fidelity use.

    Raises `UserError` if the file cannot be read or is of another network.
    """
    classifier = create_fid_inception()
    weights = read_fid_weights(path, classifier)
    variables = jax.device_put(unflatten_dict(dict(weights.arrays)))
    extract = jax.jit(functools.partial(extract_features, classifier))

    def compute(images: np.ndarray) -> np.ndarray:
        # float32 in full, also where an accelerator would round the factors of its products.
        with jax.default_matmul_precision("float32"):
            found = map_batches(functools.partial(extract, variables), images, _BATCH)
        return _check_finite(found.astype(np.float64), weights.file.name)

    return InceptionFeatures(f"Inception v3 of {printable(weights.file.name)}", compute, weights)


def _check_finite(features: np.ndarray, name: str) -> np.ndarray:
    if not np.isfinite(features).all():
        raise UserError(
            f"The features by {printable(name)} are not all finite, expected finite numbers: the "
            "file is damaged, or not of this network."
        )
    return features


def extract_features(
    classifier: Classifier, variables: Params, images: Array, dtype: Any = jnp.float32
) -> Array:
    """Return the features [n, 2048] of uint8 images [n, h, w, 1 or 3]; gray is repeated."""
    images = jnp.broadcast_to(images, (*images.shape[:-1], 3)).astype(dtype)
    inputs = classifier.input.scale(resize_as_tensorflow(images, SIDE))
    maps, _ = classifier.module.apply(variables, inputs, train=False, method="extract_maps")
    return maps.mean(axis=(1, 2))


def resize_as_tensorflow(images: Array, side: int) -> Array:
    """Return float images [n, h, w, c] as [n, side, side, c], by TensorFlow 1's bilinear rule.

    Pixel i of the result is at i * h / side of the image: the first pixels of both coincide, and no
    average is taken where an image shrinks. (`align_corners=False`, `half_pixel_centers=False`.)
    """
    columns = _interpolate(images, side, axis=2)
    return _interpolate(columns, side, axis=1)


def _interpolate(images: Array, side: int, *, axis: int) -> Array:
    size = images.shape[axis]
    # The factor is a float32 in TensorFlow, whatever the type of the images.
    place = np.arange(side, dtype=images.dtype) * images.dtype.type(np.float32(size / side))
    low = place.astype(np.int64)
    share = (place - low).astype(images.dtype)
    share = share.reshape([side if i == axis else 1 for i in range(4)])
    first, second = (images.take(i, axis=axis) for i in (low, np.minimum(low + 1, size - 1)))
    return first + (second - first) * share


# The block of an evaluation ----------------------------------------------------------------------


def measure_inception(
    features: InceptionFeatures, generated: NamedImages, real: RealImages
) -> dict[str, Any]:
    """Return the block `inception` of an evaluation: all generated against all real images.

    Nothing is drawn: the numbers are those of the whole sets. `real_against_real` compares training
    images, as many as there are generated ones if there are enough, with the held-out images.
    """
    sets = [generated, real.train, *([real.held_out] if real.has_held_out else [])]
    images = np.concatenate([one.images for one in sets])
    say(f"Computing the Inception features of {len(images)} images, at {SIDE} x {SIDE} pixels.")
    ends = np.cumsum([len(one) for one in sets])[:-1]
    ours, train, *held_out = np.split(features(images), ends)
    compare = functools.partial(_compare, is_published=features.is_published)
    return {
        "features": features.name,
        "file": printable(features.weights.file.name),
        "is_published": features.is_published,
        "weights": features.weights.describe(),
        "against_train": compare(ours, train),
        "against_held_out": compare(ours, *held_out) if held_out else None,
        "real_against_real": (
            compare(take_at_most(train, len(ours)), *held_out) if held_out else None
        ),
    }


def _compare(x: np.ndarray, y: np.ndarray, *, is_published: bool) -> dict[str, Any]:
    """Return both distances of features [n, d] and [m, d], with n and m."""
    frechet, kernel = ("fid", "kid") if is_published else ("frechet_distance", "kernel_distance")
    found, num = compute_subset_distance(x, y), [len(x), len(y)]
    return {
        frechet: {"value": compute_frechet_distance(x, y), "n": num},
        kernel: {
            "value": found.mean,
            "deviation": found.deviation,
            "subset_size": found.subset_size,
            "n": num,
        },
    }


def describe_inception(block: Mapping[str, Any]) -> list[str]:
    """Return what has to be known to read the block `inception` of an evaluation."""
    sides = [block[name] for name in ("against_held_out", "against_train") if block[name]]
    counts = sorted({n for side in sides for score in side.values() for n in score["n"]})
    kind = "FID" if block["is_published"] else "Frechet distance"
    bias = (
        f"{kind} in {block['file']}: computed from {', '.join(map(str, counts))} images. It is too "
        "high, the more so the fewer images there are: compare it only at the same n."
    )
    if counts[0] < NUM_FEATURES:
        bias += f" Below {NUM_FEATURES:,} images its covariances are singular."
    if block["real_against_real"]:
        (num, _) = next(iter(block["real_against_real"].values()))["n"]
        bias += f" Real against real: one value, of {num} training images and the held-out ones."
    return [_describe_source(block), bias]


def _describe_source(block: Mapping[str, Any]) -> str:
    name, found = block["file"], block["weights"]["sha256"]
    if block["is_published"]:
        return f"FID and KID: {name} holds the published weights of 2015-12-05 (sha256 {found})."
    return (
        f"{name} does not hold the published weights of 2015-12-05: its sha256 is {found}, theirs "
        f"is {SHA256}. So these numbers are not FID and KID."
    )
