"""Feature maps that are computed once, if every layer before them is frozen.

Such layers give the same maps for an image in every epoch: batch norm uses its running statistics,
and there is no dropout. So training on maps gives the same result as training on images, except
for rounding. This is not true if training changes the images, or has heads on earlier maps.

If all features are frozen, these are the last maps. If the last stage learns, they are the maps
before it.
"""

import functools
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.classifiers.protocol import Classifier, ClassifierModule, InputForm
from jaxgan.classifiers.weights import Start, create_shapes
from jaxgan.core.types import Array, Params
from jaxgan.data.sets import ImageSet
from jaxgan.ops.batches import map_batches

MAX_BYTES = 2**30  # of maps in memory; an image of 128 pixels has 80 KB of EfficientNet-Lite's


@dataclass(frozen=True)
class KeptMaps:
    """A classifier that reads maps, and the function that computes the maps of images.

    `compute` maps uint8 images [num, h, w, c] to maps [num, h', w', features].
    """

    learner: Classifier
    compute: Callable[[np.ndarray], np.ndarray]

    def with_cache(self, batch_size: int) -> "KeptMaps":
        """Return the same with a cache: the maps of equal batches are computed once.

        The batches have the size of `keep_maps`, so that the maps are the same to the bit.
        """
        return replace(self, compute=MapCache(self.compute, batch_size))

    def replace(self, images: ImageSet) -> ImageSet:
        """Return a set with maps in place of its images."""
        return replace(images, images=self.compute(images.images))


def keep_maps(
    classifier: Classifier, start: Start | None, *, num_images: int, batch_size: int
) -> KeptMaps | None:
    """Return how maps are kept; None if they cannot be kept or need more than `MAX_BYTES`.

    `start` has the weights of the frozen layers. Training must not change the images.
    """
    methods = _find_methods(classifier)
    if start is None or methods is None or classifier.auxiliary_weight:
        return None
    shapes = create_shapes(classifier)
    variables = start.fill(jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes))
    compute = functools.partial(_compute_maps, classifier=classifier, extract=methods.extract)
    size, channels = classifier.input.image_size, classifier.input.channels
    image = jax.ShapeDtypeStruct((1, size, size, channels), jnp.uint8)
    maps = jax.eval_shape(compute, shapes, image)
    if num_images * maps.size * maps.dtype.itemsize > MAX_BYTES:
        return None
    bound = functools.partial(jax.jit(compute), variables)
    learner = replace(
        classifier, input=InputForm(size, channels, _take_as_it_is), method=methods.classify
    )
    return KeptMaps(learner, lambda images: map_batches(bound, images, batch_size))


class MapCache:
    """Compute maps in batches; keep at most `max_bytes` of them, by the content of the batch.

    A full cache takes no new maps and drops none. Trainings use their images again in the same
    order, so the maps that were dropped last would be needed first.
    """

    def __init__(
        self,
        compute: Callable[[np.ndarray], np.ndarray],
        batch_size: int,
        max_bytes: int = MAX_BYTES,
    ):
        self._compute, self._batch_size, self._left = compute, batch_size, max_bytes
        self._found: dict[bytes, np.ndarray] = {}

    def __call__(self, images: np.ndarray) -> np.ndarray:
        starts = range(0, max(len(images), 1), self._batch_size)
        return np.concatenate([self._find(images[i : i + self._batch_size]) for i in starts])

    def _find(self, batch: np.ndarray) -> np.ndarray:
        key = hashlib.sha256(repr(batch.shape).encode() + batch.tobytes()).digest()
        if key in self._found:
            return self._found[key]
        maps = self._compute(batch)
        if maps.nbytes <= self._left:
            self._found[key] = maps
            self._left -= maps.nbytes
        return maps


class _Methods(NamedTuple):
    """The module's methods that give the maps, and that read them."""

    extract: str
    classify: str


def _find_methods(classifier: Classifier) -> _Methods | None:
    """Return the methods on both sides of the frozen layers; None if no method begins there."""
    if not classifier.frozen:
        return None
    if classifier.frozen == _list_layers(classifier.stages):
        return _Methods("extract_maps", "classify")
    divides = type(classifier.module).extract_early is not ClassifierModule.extract_early
    if divides and classifier.frozen == _list_layers(classifier.stages[:-1]):
        return _Methods("extract_early", "classify_early")
    return None


def _list_layers(stages: Sequence[Sequence[str]]) -> tuple[str, ...]:
    return tuple(name for stage in stages for name in stage)


def _compute_maps(
    variables: Params, images: Array, *, classifier: Classifier, extract: str
) -> Array:
    seen = classifier.input.scale(images)
    found: Any = classifier.module.apply(variables, seen, train=False, method=extract)
    return found[0]


def _take_as_it_is(maps: Array) -> Array:
    return maps
