"""What a classifier says of any number of images."""

import functools
from collections.abc import Callable

import jax
import numpy as np

from jaxgan.classifiers.protocol import Classifier
from jaxgan.classifiers.step import compute_probabilities
from jaxgan.core.types import Params
from jaxgan.ops.batches import map_batches

Predict = Callable[[Params, np.ndarray], np.ndarray]


def create_predict(classifier: Classifier, batch_size: int) -> Predict:
    """Return (variables, uint8 images [num, h, w, c]) -> probabilities [num, outputs].

    Every image is predicted once and by itself, in batches of one compiled size.
    """
    compute = jax.jit(functools.partial(compute_probabilities, classifier=classifier))

    def predict(variables: Params, images: np.ndarray) -> np.ndarray:
        return map_batches(functools.partial(compute, variables), images, batch_size)

    return predict
