"""Do the generators memorise? Nearest real neighbours of generated images, with a control.

A generator that had seen test images would be nearer to them than to other images. It can not have
seen them, and this module checks that. It compares two equally large sets: test images, and
training images drawn at random. How often is the nearest neighbour of a generated image a test
image? The control draws both sets from the training images. A generated image that is a copy of a
test image is always suspicious: a few copies among many images do not change the shares.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxgan.data.images import shrink_gray, to_gray
from jaxgan.data.leaks import find_copies_between
from jaxgan.data.sets import ImageSet
from jaxgan.metrics.memorisation import find_nearest

NUM_DRAWS = 100
SIDE = 32
MOST_GENERATED = 200  # per fold and class, for the shares; copies are searched among all


@dataclass(frozen=True)
class Nearness:
    """The results of one fold and class: shares [num_draws] of test and control, and pairs.

    `test_shares` are the shares nearer to test images. `pairs` are (generated index, training
    index, distance), nearest first. `num_copies` is the number of generated images that are copies
    of test images.
    """

    test_shares: np.ndarray
    control_shares: np.ndarray
    pairs: list[tuple[int, int, float]]
    num_copies: int


def join_generated(result: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return all images of a GAN that arms may train on, uint8 [num, h, w, c]."""
    return np.concatenate([result["images"], result["code_images"]])


def compute_nearness(
    generated: np.ndarray, train: ImageSet, test: ImageSet, *, seed: int, num_pairs: int = 4
) -> Nearness:
    """Compare generated uint8 images [num, h, w, c] with the real ones of their class and fold."""
    rng = np.random.default_rng(seed)
    points, others = _shrink(generated[:MOST_GENERATED]), _shrink(train.images)
    to_train, to_test = _distances(points, others), _distances(points, _shrink(test.images))
    num = max(1, min(to_test.shape[1], to_train.shape[1] // 2))
    test_shares, control_shares = [], []
    for _ in range(NUM_DRAWS):
        order = rng.permutation(to_train.shape[1])
        first = to_train[:, order[:num]].min(axis=1)
        second = to_train[:, order[num : 2 * num]].min(axis=1)
        tested = to_test[:, rng.permutation(to_test.shape[1])[:num]].min(axis=1)
        test_shares.append(float(np.mean(tested < first)))
        control_shares.append(float(np.mean(second < first)))
    nearest = find_nearest(_shrink(generated), others, num=num_pairs, distance_fn=_distances)
    pairs = [(int(i), int(j), float(distance)) for i, j, distance in zip(*nearest, strict=True)]
    copied = np.unique(find_copies_between(generated, test.images).pairs[:, 0])
    return Nearness(np.array(test_shares), np.array(control_shares), pairs, len(copied))


def summarise(found: list[Nearness]) -> dict[str, Any] | None:
    """Return the shares over all folds and classes, and whether they are suspicious.

    Suspicious: a share above the 99th percentile of the control, or any copy of a test image.
    """
    if not found:
        return None
    tested = np.mean([n.test_shares for n in found], axis=0)
    control = np.mean([n.control_shares for n in found], axis=0)
    share, limit = float(tested.mean()), float(np.percentile(control, 99))
    copies = sum(n.num_copies for n in found)
    warning = _describe(share, limit, copies)
    return {
        "share_nearer_to_test": share,
        "control_share": float(control.mean()),
        "control_99_percent": limit,
        "copies_of_test_images": copies,
        "suspicious": warning is not None,
        "warning": warning,
    }


def _describe(share: float, limit: float, copies: int) -> str | None:
    """Return a sentence about what chance does not explain, or None."""
    found = []
    if copies:
        found.append(f"{copies} generated image(s) are copies of test images")
    if share > limit:
        found.append(
            f"the nearest real neighbour of a generated image is a test image in {share:.1%} of "
            f"comparisons, more than chance explains ({limit:.1%})"
        )
    if not found:
        return None
    return (
        f"Beware of the generated images: {', and '.join(found)}. Either test images are very "
        "similar to training images, or generators have seen them. Find out which before you trust "
        "the arms with generated images."
    )


def _shrink(images: np.ndarray) -> np.ndarray:
    if not len(images):
        return np.zeros((0, SIDE * SIDE), np.float32)
    small = np.stack([shrink_gray(to_gray(image), SIDE) for image in images])
    return small.reshape(len(images), -1).astype(np.float32) / 255


def _distances(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return root mean square differences [num, num_others] of gray values from 0 to 1."""
    squares = (points**2).sum(1)[:, None] + (others**2).sum(1) - 2 * points @ others.T
    return np.sqrt(np.maximum(squares, 0.0) / points.shape[1])
