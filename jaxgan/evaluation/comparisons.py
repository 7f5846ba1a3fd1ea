"""Measure generated images: in feature spaces, in pixels, by copies and by classifiers."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy  # spatial is loaded where it is used

from jaxgan.evaluation.encoder import SIDE, train_classifier
from jaxgan.evaluation.features import Features, draw_thumbnails, shrink
from jaxgan.evaluation.real_images import MAX_COMPARED, NamedImages, RealImages, Sides
from jaxgan.metrics.diversity import MAX_IMAGES, create_diversity_comparison
from jaxgan.metrics.frechet_distance import create_frechet_comparison
from jaxgan.metrics.gan_train import Labelled, measure_gan_train_test
from jaxgan.metrics.kernel_distance import create_kernel_comparison
from jaxgan.metrics.measure import Compare, Groups, Measure, measure
from jaxgan.metrics.memorisation import compute_aligned_distances, measure_memorisation
from jaxgan.metrics.neighbours import create_neighbour_comparison
from jaxgan.metrics.sliced_wasserstein import create_sliced_wasserstein_comparison, describe_levels


def measure_space(features: Features, generated: np.ndarray, sides: Sides) -> dict[str, Any]:
    """Measure distances and scores of uint8 images [n, h, w, c] in one feature space."""
    sets = (generated, sides.real.images, sides.others.images)
    pool = np.concatenate([features(images) for images in sets if len(images)])
    parts = [
        create_kernel_comparison(pool),
        create_frechet_comparison(pool),
        create_neighbour_comparison(pool),
    ]
    return _measure_pool(parts, [len(s) for s in sets], sides.patients, features.name)


def measure_kernel_distance(
    features: Features, generated: np.ndarray, sides: Sides
) -> dict[str, Any]:
    """Measure the kernel distance alone: the first of `measure_space`, in less time."""
    sets = (generated, sides.real.images, sides.others.images)
    pool = np.concatenate([features(images) for images in sets if len(images)])
    parts = [create_kernel_comparison(pool)]
    return _measure_pool(parts, [len(s) for s in sets], sides.patients, features.name)


def measure_pixels(generated: NamedImages, sides: Sides) -> dict[str, Any]:
    """Measure texture (sliced Wasserstein) and diversity (MS-SSIM): both need no features."""
    few = Sides(*(side.take_at_most(MAX_IMAGES) for side in sides))
    few_generated = generated.take_at_most(MAX_IMAGES)
    diversity = [create_diversity_comparison(_join(few_generated, few))]
    return {
        **measure_texture(generated, sides),
        **_measure_pool(diversity, [len(few_generated), *map(len, few)], few.patients, "MS-SSIM"),
    }


def measure_texture(generated: NamedImages, sides: Sides) -> dict[str, Any]:
    """Measure the sliced Wasserstein distance of Laplacian pyramids."""
    joined = _join(generated, sides)
    parts = [create_sliced_wasserstein_comparison(joined)]
    name = f"Laplacian pyramid {describe_levels(joined.shape)}"
    return _measure_pool(parts, [len(generated), *map(len, sides)], sides.patients, name)


def _join(generated: NamedImages, sides: Sides) -> np.ndarray:
    return np.concatenate([generated.images, *(side.images for side in sides)])


def _measure_pool(
    parts: Sequence[Compare],
    sizes: Sequence[int],
    patients: Groups | None,
    features: str,
) -> dict[str, Any]:
    """Measure `parts` in a pool: `sizes` counts generated, real and other real images."""

    def compare(a: np.ndarray, b: np.ndarray) -> Mapping[str, float]:
        return {name: value for part in parts for name, value in part(a, b).items()}

    generated, real, others = np.split(np.arange(sum(sizes)), np.cumsum(sizes)[:-1])
    measures = measure(
        compare,
        generated=generated,
        real=real,
        others=others,
        groups=patients,
        features=features,
    )
    return _to_json(measures)


def measure_copies(generated: np.ndarray, real: RealImages) -> dict[str, Any]:
    """Measure memorisation in thumbnails, without effects of brightness, contrast, small shifts."""
    known = Sides(real.searched, real.held_out)
    sets = (generated, *(side.images for side in known))
    thumbnails = [draw_thumbnails(images) for images in sets]
    side = thumbnails[0].shape[1]
    return measure_memorisation(
        *thumbnails,
        features=f"pixels {side}x{side}, brightness, contrast and small shifts taken out",
        groups=known.patients,
        distance_fn=compute_aligned_distances,
    ).to_json()


def measure_copies_in(
    features: Features, generated: np.ndarray, real: RealImages
) -> dict[str, Any]:
    """Measure memorisation in a feature space: there a copy need not be one pixel by pixel."""
    known = Sides(real.train.take_at_most(MAX_COMPARED), real.held_out)
    return measure_memorisation(
        features(generated),
        *(features(side.images) for side in known),
        features=features.name,
        groups=known.patients,
        distance_fn=scipy.spatial.distance.cdist,
    ).to_json()


def measure_classes(
    classes: tuple[Labelled, Labelled, Labelled], *, seed: int = 0
) -> dict[str, Any]:
    """Measure GAN-train and GAN-test of generated, training and held-out images of all classes."""
    generated, train, held_out = (
        (shrink(images, SIDE), np.asarray(labels)) for images, labels in classes
    )
    measures = measure_gan_train_test(
        functools.partial(train_classifier, seed=seed),
        generated=generated,
        train=train,
        held_out=held_out,
        features="balanced accuracy of a small classifier",
    )
    return _to_json(measures)


def _to_json(measures: Mapping[str, Measure]) -> dict[str, Any]:
    return {name: value.to_json() for name, value in measures.items()}
