"""An outside ruler: features of a network that has learned from ImageNet, not from your images.

The network is EfficientNet-Lite0 with published weights (the extra `jaxgan[imagenet]`). The own
encoder hardly sees blur and noise; this network does. Its maps at three depths are averaged over
the image: those of stride 8 (texture), of stride 16 (shape), and the last ones (objects).

Films differ from one another far less than the photographs of ImageNet do. So each depth is partly
whitened over the real training images, as the encoder's features are, and counts equally. So it is
a ruler for one data set too. But no weight of it is learned from these images.

The depths, the side and the whitening were chosen on training films only: see docs/quality.md.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.classifiers.efficientnet import create_published
from jaxgan.classifiers.kept_maps import MapCache
from jaxgan.classifiers.protocol import Classifier
from jaxgan.classifiers.weight_packages import IMAGENET, INSTALL, is_packaged
from jaxgan.classifiers.weights import create_shapes, read_start
from jaxgan.core.errors import UserError
from jaxgan.core.types import Array, Params
from jaxgan.evaluation.encoder import compute_whitening
from jaxgan.evaluation.features import Features, shrink
from jaxgan.ops.batches import map_batches

VERSION = 1  # raise it when the features change: saved scores in them are then measured again
SIDE = 128  # every image is scaled to it, smaller ones too
_STAGES = (3, 5)  # of `Classifier.stages`: strides 8 and 16; the last maps are the third depth
_MOST_DIRECTIONS = 128  # of one depth: those in which the training images vary most
_MOST_FITTED = 500  # training images
_BATCH = 32


def is_installed() -> bool:
    """Whether the package with the weights is installed."""
    return is_packaged(_create_network())


def fit_imagenet_features(images: np.ndarray) -> Features:
    """Return the space that is partly whitened over these real images uint8 [n, h, w, c], n >= 2.

    Images may have any size. Gray is repeated over three channels. The features of an image do not
    depend on the other images of a call. Raises `UserError` if the weights are not installed.
    """
    compute = load_activations()
    chosen = np.random.default_rng(0).permutation(len(images))[:_MOST_FITTED]
    projections = [_Projection.fit(depth) for depth in compute(images[np.sort(chosen)])]

    def project(images: np.ndarray) -> np.ndarray:
        pairs = zip(projections, compute(images), strict=True)
        parts = [projection(depth) for projection, depth in pairs]
        return np.concatenate(parts, axis=1) * (sum(p.shape[1] for p in parts) / len(parts)) ** 0.5

    return Features("EfficientNet-Lite0 of ImageNet", project)


class _Projection:
    """Centre features of one depth, and scale the directions in which real images vary most."""

    def __init__(self, mean: np.ndarray, matrix: np.ndarray):
        self._mean, self._matrix = mean, matrix

    @classmethod
    def fit(cls, features: np.ndarray) -> "_Projection":
        """Fit to [n, d]. Each depth then weighs the same, however many features it has."""
        num = min(_MOST_DIRECTIONS, features.shape[1], len(features) - 1)
        # The directions are in the order of their variances, from the smallest.
        matrix = compute_whitening(features)[:, -num:]
        return cls(features.mean(axis=0), matrix / num**0.5)

    def __call__(self, features: np.ndarray) -> np.ndarray:
        return (features - self._mean) @ self._matrix


@functools.cache
def load_activations() -> Callable[[np.ndarray], list[np.ndarray]]:
    """Return the function from uint8 images [n, h, w, c] to averages [n, d] of each depth.

    What was computed is kept: an evaluation asks for the same images several times. Raises
    `UserError`.
    """
    network = _create_network()
    if not is_packaged(network):
        raise UserError(
            f"The features {IMAGENET!r} need the package {network.package}, which is not "
            f"installed: {INSTALL}"
        )
    start = read_start(IMAGENET, network)
    assert start is not None
    shapes = create_shapes(network)
    variables = start.fill(jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes))
    average = jax.jit(functools.partial(_average_depths, network=network))
    edges = np.cumsum([d.shape[1] for d in _describe_depths(network, variables)])

    def compute(images: np.ndarray) -> np.ndarray:
        joined = functools.partial(_join, functools.partial(average, variables))
        return map_batches(joined, images, _BATCH).astype(np.float64)

    kept = MapCache(compute, _BATCH)
    return lambda images: np.split(kept(_prepare(images)), edges[:-1], axis=1)


def _create_network() -> Classifier:
    return create_published(0, image_size=SIDE)


def _prepare(images: np.ndarray) -> np.ndarray:
    scaled = shrink(images, SIDE, enlarge=True)
    return scaled if scaled.shape[-1] == 3 else np.repeat(scaled[..., :1], 3, axis=-1)


def _average_depths(variables: Params, images: Array, *, network: Classifier) -> list[Array]:
    """Return the mean [n, d] over each map of each depth, of images uint8 [n, SIDE, SIDE, 3]."""
    names = [network.stages[stage][-1] for stage in _STAGES]
    (last, _), state = network.module.apply(
        variables,
        network.input.scale(images),
        train=False,
        method="extract_maps",
        capture_intermediates=lambda module, _: module.name in names,
        mutable=["intermediates"],
    )
    found: Any = state["intermediates"]
    depths = [*(found[name]["__call__"][0] for name in names), last]
    return [jnp.mean(depth, axis=(1, 2)) for depth in depths]


def _describe_depths(network: Classifier, variables: Params) -> list[Any]:
    image = jax.ShapeDtypeStruct((1, SIDE, SIDE, 3), jnp.uint8)
    compute = functools.partial(_average_depths, network=network)
    return list(jax.eval_shape(compute, variables, image))


def _join(average: Callable[[Any], list[Array]], images: np.ndarray) -> np.ndarray:
    return np.concatenate([np.asarray(depth) for depth in average(images)], axis=1)
