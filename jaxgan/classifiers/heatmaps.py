"""Where a classifier looks: Grad-CAM (Selvaraju et al. 2017, section 3), place by place.

The heat is the sum of the last maps, each times the gradient of a class's logit with respect to it,
where the sum is positive (eq. 2). Grad-CAM takes the mean gradient over all places of a map (eq.
1). We take the gradient at each place (HiResCAM, Draelos and Carin 2020). Both are equal if the
head reads the means of the maps. A dense head (GMD, VGG16) has a separate weight for each place.
There, the mean would put heat where the classifier does not look.

This needs only the two parts of a `ClassifierModule`, so it is the same for all families. The heat
has only as many places as the last maps: 2 x 2 places say little.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.classifiers.protocol import Classifier
from jaxgan.core.types import Array, Params
from jaxgan.ops.batches import map_batches

_MORE = 64  # pixels: a multiple of the stride of all families (1 to 64)

Explain = Callable[[Params, np.ndarray], np.ndarray]


def compute_heatmaps(
    variables: Params, images: Array, outputs: Array, *, classifier: Classifier
) -> Array:
    """Return the heatmaps float32 [num, h, w] of outputs [num] in uint8 images [num, h, w, c].

    The highest value of a heatmap is 1. It is 0 everywhere if no place is evidence for the output.
    """
    maps = _extract(variables, images, classifier)
    logits, backward = jax.vjp(_bind_head(variables, classifier), maps)
    return _draw_heat(variables, images, maps, backward(_mark(outputs, logits))[0], classifier)


def explain_predictions(variables: Params, images: Array, *, classifier: Classifier) -> Array:
    """Return the heatmaps [num, h, w] of uint8 images [num, h, w, c], each for its prediction."""
    maps = _extract(variables, images, classifier)
    logits, backward = jax.vjp(_bind_head(variables, classifier), maps)
    gradients = backward(_mark(logits.argmax(axis=-1), logits))[0]
    return _draw_heat(variables, images, maps, gradients, classifier)


def create_explain(classifier: Classifier, batch_size: int) -> Explain:
    """Return (variables, uint8 images [num, h, w, c]) -> heatmaps of the predictions [num, h, w].

    Every image is explained by itself, in batches of one compiled size.
    """
    compute = jax.jit(functools.partial(explain_predictions, classifier=classifier))

    def explain(variables: Params, images: np.ndarray) -> np.ndarray:
        return map_batches(functools.partial(compute, variables), images, batch_size)

    return explain


def count_places(variables: Params, classifier: Classifier) -> tuple[int, int]:
    """Return the rows and columns of the classifier's last maps."""
    size, channels = classifier.input.image_size, classifier.input.channels
    images = jax.ShapeDtypeStruct((1, size, size, channels), jnp.uint8)
    rows, columns = _measure_maps(variables, images, classifier)
    return rows, columns


def _extract(variables: Params, images: Array, classifier: Classifier) -> Array:
    seen = classifier.input.scale(images)
    found: Any = classifier.module.apply(variables, seen, train=False, method="extract_maps")
    return found[0]


def _bind_head(variables: Params, classifier: Classifier) -> Callable[[Array], Array]:
    def classify(maps: Array) -> Array:
        logits: Any = classifier.module.apply(variables, maps, train=False, method="classify_maps")
        return logits

    return classify


def _mark(outputs: Array, logits: Array) -> Array:
    return jax.nn.one_hot(outputs, logits.shape[-1], dtype=logits.dtype)


def _draw_heat(
    variables: Params, images: Array, maps: Array, gradients: Array, classifier: Classifier
) -> Array:
    maps, gradients = maps.astype(jnp.float32), gradients.astype(jnp.float32)
    heat = jax.nn.relu((gradients * maps).sum(axis=-1))
    rows, columns = (
        create_spread(images.shape[axis], maps.shape[axis], more)
        for axis, more in zip((1, 2), _count_more(variables, images, classifier), strict=True)
    )
    heat = jnp.einsum("yi,nij,xj->nyx", rows, heat, columns, precision="highest")
    highest = heat.max(axis=(1, 2), keepdims=True)
    return jnp.where(highest > 0, heat / jnp.where(highest > 0, highest, 1.0), 0.0)


# From the places of the maps to pixels ----------------------------------------------------------


def create_spread(size: int, num: int, more: int) -> np.ndarray:
    """Return the matrix [size, num] that spreads `num` places over `size` pixels, linearly.

    `more` is how much `num` grows if the image has 64 more pixels. This gives the distance of two
    places in pixels. Without padding, this distance is less than `size / num`. The outermost
    places are then farther from the edge.
    """
    distance = _MORE / more if more > 0 else size / num
    at = (np.arange(size) - (size - 1) / 2) / distance + (num - 1) / 2
    gaps = np.abs(np.clip(at, 0, num - 1)[:, None] - np.arange(num))
    return np.maximum(1.0 - gaps, 0.0).astype(np.float32)


def _count_more(variables: Params, images: Array, classifier: Classifier) -> list[int]:
    _, height, width, channels = images.shape
    found = [
        _measure_maps(variables, jax.ShapeDtypeStruct((1, *sides, channels), jnp.uint8), classifier)
        for sides in ((height, width), (height + _MORE, width + _MORE))
    ]
    return [large - small for small, large in zip(*found, strict=True)]


def _measure_maps(
    variables: Params, images: jax.ShapeDtypeStruct, classifier: Classifier
) -> tuple[int, ...]:
    """Return the rows and columns of the maps for this shape of images, without computing maps."""
    extract = functools.partial(_extract, classifier=classifier)
    return jax.eval_shape(extract, variables, images).shape[1:3]
