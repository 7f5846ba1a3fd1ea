"""Do the generators remember? Nearest real neighbours of generated images, with a control.

A generator that had seen test images would be nearer to them than to other images. It can not have
seen them, and this checks it: of two equally large sets, how often does the nearest neighbour of a
generated image lie in the test images, and not in training images drawn at random? The control
draws both sets from the training images.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from jaxgan.data.sets import ImageSet

NUM_DRAWS = 100
SIDE = 32
MOST_GENERATED = 200  # looked at, a fold and class


@dataclass(frozen=True)
class Nearness:
    """Of one fold and class: shares nearer to test [num_draws], the control's shares, the pairs.

    `pairs` are (generated index, training index, distance), nearest first.
    """

    test_shares: np.ndarray
    control_shares: np.ndarray
    pairs: list[tuple[int, int, float]]


def compute_nearness(
    generated: np.ndarray, train: ImageSet, test: ImageSet, *, seed: int, num_pairs: int = 4
) -> Nearness:
    """Compare generated uint8 images [num, h, w, c] with the real ones of their class and fold."""
    rng = np.random.default_rng(seed)
    points = _shrink(generated[:MOST_GENERATED])
    to_train, to_test = (
        _distances(points, _shrink(train.images)),
        _distances(points, _shrink(test.images)),
    )
    num = max(1, min(to_test.shape[1], to_train.shape[1] // 2))
    test_shares, control_shares = [], []
    for _ in range(NUM_DRAWS):
        order = rng.permutation(to_train.shape[1])
        first = to_train[:, order[:num]].min(axis=1)
        second = to_train[:, order[num : 2 * num]].min(axis=1)
        tested = to_test[:, rng.permutation(to_test.shape[1])[:num]].min(axis=1)
        test_shares.append(float(np.mean(tested < first)))
        control_shares.append(float(np.mean(second < first)))
    nearest = to_train.argmin(axis=1)
    distances = to_train[np.arange(len(points)), nearest]
    order = np.argsort(distances, kind="stable")[:num_pairs]
    pairs = [(int(i), int(nearest[i]), float(distances[i])) for i in order]
    return Nearness(np.array(test_shares), np.array(control_shares), pairs)


def summarise(found: list[Nearness]) -> dict[str, Any] | None:
    """Return the shares over all folds and classes, and whether test images are suspiciously near.

    Suspicious: above what 99 % of the control's draws reach.
    """
    if not found:
        return None
    tested = np.mean([n.test_shares for n in found], axis=0)
    control = np.mean([n.control_shares for n in found], axis=0)
    limit = float(np.percentile(control, 99))
    return {
        "share_nearer_to_test": float(tested.mean()),
        "control_share": float(control.mean()),
        "control_99_percent": limit,
        "suspicious": bool(tested.mean() > limit),
    }


def _shrink(images: np.ndarray) -> np.ndarray:
    if not len(images):
        return np.zeros((0, SIDE * SIDE), np.float32)
    size = (SIDE, SIDE)
    small = [
        Image.fromarray(image.mean(axis=-1).round().astype(np.uint8)).resize(
            size, Image.Resampling.BOX
        )
        for image in images
    ]
    return np.stack([np.asarray(image, np.float32).ravel() / 255 for image in small])


def _distances(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return root mean square differences [num, num_others] of gray values from 0 to 1."""
    squares = (points**2).sum(1)[:, None] + (others**2).sum(1) - 2 * points @ others.T
    return np.sqrt(np.maximum(squares, 0.0) / points.shape[1])
