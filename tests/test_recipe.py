"""The GAN that two networks make: whose statistics its scores are by."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.gans.protocol import Given
from jaxgan.ops.pixels import scale_to_unit
from tests.helpers import make_dcgan_settings, make_image_set


def score_with_neighbours(method, labels=None, **changes):
    """Scores of two images [2], once among two bright and once among two dark ones."""
    gan = make_dcgan_settings(**changes).create_gan()
    critic = gan.get_networks(gan.create_state(jax.random.key(0))).critic
    images = scale_to_unit(jnp.asarray(make_image_set(2).images))
    given = Given(None if labels is None else jnp.asarray(labels))
    sets = [jnp.concatenate([images, jnp.full_like(images, gray)]) for gray in (0.9, -0.9)]
    return [np.asarray(getattr(gan, method)(critic, batch, given))[:2] for batch in sets]


def test_the_listing_s_score_is_by_the_statistics_of_the_batch_and_the_other_is_not():
    bright, dark = score_with_neighbours("score_batch")
    assert np.abs(bright - dark).min() > 1e-3
    bright, dark = score_with_neighbours("score")
    np.testing.assert_allclose(bright, dark, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "labels"),
    [({"num_classes": 2}, [0, 1, 0, 1]), ({"discriminator_norm": "none"}, None)],
)
def test_of_all_classes_or_without_statistics_it_is_of_each_image_alone(changes, labels):
    """A batch of one class is not what a D of all classes has learnt the statistics of."""
    bright, dark = score_with_neighbours("score_batch", labels, **changes)
    np.testing.assert_allclose(bright, dark, atol=1e-6)
