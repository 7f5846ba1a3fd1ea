"""The GAN that two networks make: whose statistics its scores are by."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.core.types import Batch
from jaxgan.gans.protocol import Given
from jaxgan.gans.recipe import create_gan
from jaxgan.networks.layers import BatchNorm, Dropout, glorot_init
from jaxgan.ops.pixels import scale_to_unit
from tests.helpers import compute_difference, make_dcgan_settings, make_image_set


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


class DroppingGenerator(nn.Module):
    @nn.compact
    def __call__(self, latents, labels=None, *, train):
        x = Dropout(0.5)(nn.Dense(32, kernel_init=glorot_init)(latents), train=train)
        return jnp.tanh(nn.Dense(32 * 32)(x)).reshape(-1, 32, 32, 1)


class DroppingDiscriminator(nn.Module):
    @nn.compact
    def __call__(self, images, labels=None, *, train):
        x = nn.Dense(32, kernel_init=glorot_init)(images.reshape(len(images), -1))
        x = Dropout(0.5)(BatchNorm()(x, use_running_average=not train), train=train)
        return nn.Dense(1, kernel_init=glorot_init)(x)[:, 0]


def test_networks_may_drop_units_beside_batch_norm():
    """What a family of two modules may bring: both networks learn, and scores repeat."""
    settings = make_dcgan_settings().gan
    gan = create_gan(settings, lambda axis: (DroppingGenerator(), DroppingDiscriminator()), 1)
    state = gan.create_state(jax.random.key(0))
    images = make_image_set(8)
    batch = Batch(jnp.asarray(images.images), jnp.asarray(images.labels))
    new, metrics = gan.stages[0].create_step(None, 0)(state, batch, jax.random.key(1))
    assert np.isfinite(metrics["loss_d"] + metrics["loss_g"])
    assert compute_difference(new.generator.params, state.generator.params) > 0.0
    critic, unit = gan.get_networks(new).critic, scale_to_unit(batch.images)
    first, second = (gan.score_batch(critic, unit, Given()) for _ in range(2))
    np.testing.assert_array_equal(first, second)
