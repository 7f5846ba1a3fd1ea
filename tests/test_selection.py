"""The paper's two rules."""

import numpy as np
import pytest

from jaxgan.selection import accept_by_batch_loss, accept_by_probability


def test_the_text_keeps_an_image_from_the_threshold_on():
    scores = np.array([0.75, 0.76, 0.77, 0.0, 1.0])
    assert accept_by_probability(scores, 0.76).tolist() == [False, True, True, False, True]


@pytest.mark.parametrize(
    ("fake_loss", "real_loss", "expected"),
    [(0.75, 0.5, False), (0.76, 0.5, True), (3.0, 0.5, True), (0.4, 0.4, True), (0.4, 0.41, False)],
)
def test_the_listing_keeps_by_the_loss_of_the_batch(fake_loss, real_loss, expected):
    assert (
        accept_by_batch_loss(fake_loss=fake_loss, real_loss=real_loss, threshold=0.76) == expected
    )


def test_the_two_rules_contradict_each_other():
    """A batch with D(G(z)) of 0.54 for every image: the listing saves one, the text none."""
    scores = np.full(8, 0.54)
    loss = float(np.mean(-np.log(1 - scores)))
    assert accept_by_batch_loss(fake_loss=loss, real_loss=0.1, threshold=0.76)
    assert not accept_by_probability(scores, 0.76).any()
