"""GAN-train and GAN-test (Shmelkov et al. 2018): classifiers and generated images.

GAN-train: trained on generated images, tested on held-out real images. Are the generated images
good and diverse enough to learn from? GAN-test: trained on real images, tested on generated images.
Can their class be recognised? High GAN-test with low GAN-train: the generator repeats itself.
Accuracies are balanced: the mean over classes.
"""

from collections.abc import Callable, Sequence

import numpy as np

from jaxgan.metrics.classification import compute_balanced_accuracy
from jaxgan.metrics.measure import Measure, compute_interval, draw_half

# Trains on images [n, h, w, c] and labels [n]; what it returns maps images to labels [m].
Fit = Callable[[np.ndarray, np.ndarray], Callable[[np.ndarray], np.ndarray]]
Labelled = tuple[np.ndarray, np.ndarray]


def label_classes(images: Sequence[np.ndarray]) -> Labelled:
    """Return the images of all classes, in the order of their labels, as one set."""
    labels = [np.full(len(of_class), label, np.int32) for label, of_class in enumerate(images)]
    return np.concatenate(list(images)), np.concatenate(labels)


def measure_gan_train_test(
    fit: Fit, *, generated: Labelled, train: Labelled, held_out: Labelled, features: str
) -> dict[str, Measure]:
    """Return `gan_train` and `gan_test`; every set is images and labels.

    Both train on the same number of images per class. The floor of both is the accuracy on
    held-out images after training on these real images. `n` is the number of test images. The
    interval is over test images, not over trainings.
    """
    generated, train = _match_counts(generated, train)
    from_generated, from_real = fit(*generated), fit(*train)
    floor = compute_balanced_accuracy(held_out[1], from_real(held_out[0]))
    return {
        "gan_train": _measure(held_out[1], from_generated(held_out[0]), floor, features),
        "gan_test": _measure(generated[1], from_real(generated[0]), floor, features),
    }


def _measure(labels: np.ndarray, predicted: np.ndarray, floor: float, features: str) -> Measure:
    """Give a balanced accuracy its interval, from halves of every class."""
    rng = np.random.default_rng(0)
    classes = [np.flatnonzero(labels == c) for c in np.unique(labels)]
    value = compute_balanced_accuracy(labels, predicted)
    spread = []
    for _ in range(400):
        half = np.concatenate([draw_half(rng, members) for members in classes])
        spread.append(compute_balanced_accuracy(labels[half], predicted[half]))
    interval = compute_interval(value, np.array(spread), limits=(0.0, 1.0))
    return Measure(value, interval, floor, len(labels), features, floor)


def _match_counts(one: Labelled, other: Labelled) -> tuple[Labelled, Labelled]:
    """Keep the same number per class in both sets (the smaller number), drawn at random."""
    rng = np.random.default_rng(0)
    kept: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for label in np.unique(one[1]):
        members = [rng.permutation(np.flatnonzero(labels == label)) for _, labels in (one, other)]
        num = min(map(len, members))
        for chosen, indices in zip(kept, members, strict=True):
            chosen.append(indices[:num])
    first, second = (np.concatenate(chosen) for chosen in kept)
    return (one[0][first], one[1][first]), (other[0][second], other[1][second])
