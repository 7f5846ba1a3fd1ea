import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score

from jaxgan.metrics.gan_train import compute_balanced_accuracy, measure_gan_train_test


def draw(num, seed, shift=2.0):
    """Two classes, told apart by their mean."""
    labels = np.arange(num) % 2
    images = np.random.default_rng(seed).normal(size=(num, 2, 2, 1))
    return images + shift * labels[:, None, None, None], labels


def fit(images, labels):
    model = LogisticRegression().fit(images.reshape(len(images), -1), labels)
    return lambda queries: model.predict(queries.reshape(len(queries), -1))


def measure(generated):
    return measure_gan_train_test(
        fit, generated=generated, train=draw(80, 1), held_out=draw(60, 2), features="logistic"
    )


def test_images_like_the_real_ones_reach_the_floor():
    found = measure(draw(100, 0))
    for score in found.values():
        assert abs(score.value - score.floor) < 0.08
        assert score.interval[0] <= score.value <= score.interval[1]
    assert found["gan_train"].n == 60
    assert found["gan_test"].n == 80  # as many of each class as the smaller set has


def test_images_with_the_wrong_labels_are_worth_nothing():
    images, labels = draw(100, 0)
    found = measure((images, 1 - labels))
    assert found["gan_train"].value < 0.2
    assert found["gan_test"].value < 0.2


def test_a_generator_that_repeats_one_clear_image_passes_gan_test():
    labels = np.arange(80) % 2
    clear = np.where(labels[:, None, None, None], 4.0, -2.0) * np.ones((80, 2, 2, 1))
    assert measure((clear, labels))["gan_test"].value == 1.0


def test_balanced_accuracy_agrees_with_scikit_learn():
    rng = np.random.default_rng(0)
    labels, predicted = rng.integers(0, 3, (2, 50))
    expected = balanced_accuracy_score(labels, predicted)
    assert compute_balanced_accuracy(labels, predicted) == pytest.approx(expected)
