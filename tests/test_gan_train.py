import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from jaxgan.metrics.gan_train import measure_gan_train_test


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


def three_classes(sizes):
    labels = np.repeat(np.arange(3), sizes)
    return labels[:, None, None, None] * np.ones((len(labels), 2, 2, 1)), labels


def test_as_many_of_each_class_as_both_sets_have():
    seen = []

    def note(images, labels):
        seen.append(np.bincount(labels).tolist())
        assert (images[:, 0, 0, 0] == labels).all()
        return lambda queries: queries[:, 0, 0, 0].astype(int)

    found = measure_gan_train_test(
        note,
        generated=three_classes((10, 20, 30)),
        train=three_classes((40, 15, 12)),
        held_out=three_classes((5, 6, 7)),
        features="made",
    )
    assert seen == [[10, 15, 12]] * 2
    assert (found["gan_train"].n, found["gan_test"].n) == (18, 37)
    assert found["gan_test"].value == 1.0


def test_the_interval_is_that_of_halves_of_every_class():
    """A half of m, drawn without replacement, strays from their mean by s / sqrt(m)."""
    images, labels = three_classes((40, 60, 100))
    images[::2, 0, 1] = 9.0  # half of each class are told wrongly

    def fit(*_):
        return lambda queries: queries[:, 0, 0, 0] + (queries[:, 0, 1, 0] == 9.0)

    sets = dict.fromkeys(("generated", "train", "held_out"), (images, labels))
    found = measure_gan_train_test(fit, **sets, features="made")["gan_train"]
    assert found.value == 0.5
    error = np.sqrt(sum(0.25 / (m - 1) for m in (40, 60, 100))) / 3
    assert found.interval[1] - found.value == pytest.approx(1.96 * error, rel=0.12)
    assert found.value - found.interval[0] == pytest.approx(1.96 * error, rel=0.12)


def test_the_interval_ends_at_one():
    def fit(*_):
        return lambda queries: np.where(np.arange(len(queries)) == 0, 1, queries[:, 0, 0, 0])

    sets = dict.fromkeys(("generated", "train", "held_out"), three_classes((6, 6, 6)))
    found = measure_gan_train_test(fit, **sets, features="made")["gan_train"]
    assert 0.9 < found.value < found.interval[1] == 1.0


def test_images_with_the_wrong_labels_are_worth_nothing():
    images, labels = draw(100, 0)
    found = measure((images, 1 - labels))
    assert found["gan_train"].value < 0.2
    assert found["gan_test"].value < 0.2


def test_a_generator_that_repeats_one_clear_image_passes_gan_test():
    labels = np.arange(80) % 2
    clear = np.where(labels[:, None, None, None], 4.0, -2.0) * np.ones((80, 2, 2, 1))
    assert measure((clear, labels))["gan_test"].value == 1.0
