"""How good one generator's images are: films planted among them, blurred and noisy ones."""

import numpy as np
import pytest

from jaxgan.data.sets import ImageSet
from jaxgan.evaluation import imagenet
from jaxgan.evaluation.degradations import REFERENCE_SIDE, blur
from jaxgan.evaluation.fidelity import measure
from tests.helpers import IMAGENET_ABSENT, draw_films

needs_weights = pytest.mark.skipif(not imagenet.is_installed(), reason=IMAGENET_ABSENT)
NUM, SIDE = 48, 32


@pytest.fixture(scope="module")
def films():
    """Twice as many films as a training part has, of patients of their own."""
    return np.concatenate([draw_films("normal", 1, i) for i in range(2 * NUM)])


@pytest.fixture(scope="module")
def train(films):
    files = tuple(f"{i}.png" for i in range(NUM))
    return ImageSet(films[:NUM], np.zeros(NUM, np.int32), files, files)


def test_other_films_are_within_the_floor_of_texture_and_noise_is_not(films, train):
    noise = np.random.default_rng(0).integers(0, 256, films[NUM:].shape, dtype=np.uint8)
    unseen, far = (measure("pyramid", g, train, 0)["score"] for g in (films[NUM:], noise))
    assert unseen["n"] == NUM // 2 and unseen["value"] < unseen["floor"]
    assert far["value"] > 3 * far["floor"]


@pytest.mark.slow
@needs_weights
def test_films_blurred_by_hand_are_as_far_as_that_blur(films, train):
    for sigma in (4.0, 8.0):
        found = measure("outside", blur(films[NUM:], sigma), train, 0)
        assert found["blur"]["relation"] == "as"
        expected = sigma * SIDE / REFERENCE_SIDE
        assert found["blur"]["strength"] == pytest.approx(expected, rel=0.25)
    unseen = measure("outside", films[NUM:], train, 0)
    assert unseen["score"]["value"] < unseen["score"]["floor"]
    assert unseen["blur"]["relation"] == "less"
    assert unseen["sentence"].startswith(
        "In the outside ruler they are no farther from real images"
    )


def test_too_few_images_are_not_measured_and_the_reason_is_given(films, train):
    few = measure("pyramid", films[:3], train, 0)
    assert few["score"] is None and "found 3 images, expected at least 20" in few["reason"]
    one_patient = ImageSet(train.images, train.labels, train.files, ("a",) * NUM)
    assert "of one patient" in measure("pyramid", films[NUM:], one_patient, 0)["reason"]
