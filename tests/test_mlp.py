"""The first GAN: its sizes, its maxout, its latents, what it drops."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import mlp
from jaxgan.core.errors import UserError
from jaxgan.core.settings import read_settings
from jaxgan.core.types import Batch
from jaxgan.gans.mlp import Generator, compute_maxout
from jaxgan.networks.schedules import Pace
from jaxgan.sampling.settings import TrainGanSettings
from tests.helpers import compute_difference


def make_settings(**changes):
    config = mlp.get_config("paper")
    config.gan.update(changes)
    return read_settings(TrainGanSettings, config.to_dict()).gan


@pytest.mark.parametrize(
    ("image_size", "counts"), [(64, (6_481_696, 5_205_841)), (32, (2_792_224, 1_519_441))]
)
def test_the_paper_s_networks_have_so_many_parameters(image_size, counts):
    generator, discriminator = make_settings(image_size=image_size).create_networks()
    inputs = jnp.zeros((1, 100)), jnp.zeros((1, image_size, image_size, 1))
    for network, given, expected in zip((generator, discriminator), inputs, counts, strict=True):
        shapes = jax.eval_shape(
            lambda n=network, x=given: n.init(jax.random.key(0), x, train=False)
        )
        assert sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes)) == expected


def test_maxout_is_the_largest_of_its_pieces():
    x = np.random.default_rng(0).normal(size=(3, 20)).astype(np.float32)
    np.testing.assert_array_equal(compute_maxout(x, 5), x.reshape(3, 4, 5).max(axis=2))
    np.testing.assert_allclose(compute_maxout(x, 1), np.where(x > 0, x, 0.2 * x), rtol=1e-6)


def test_latents_are_uniform_with_variance_1():
    """Seen through a generator whose first layer passes on what it is given."""
    latents = np.random.default_rng(0).normal(size=(4000, 1)).astype(np.float32)
    module = Generator(image_size=1, channels=1, width=1)
    ones = {"kernel": jnp.ones((1, 1)), "bias": jnp.full(1, 10.0)}
    last = {"kernel": jnp.full((1, 1), 0.1), "bias": jnp.full(1, -2.0)}
    params = {"Dense_0": ones, "Dense_1": ones, "Dense_2": last}
    images = np.asarray(module.apply({"params": params}, latents, train=True)).ravel()
    uniform = np.arctanh(images) / 0.1
    assert np.abs(uniform).max() <= math.sqrt(3.0) + 1e-3
    assert uniform.var() == pytest.approx(1.0, abs=0.05)
    share = [np.mean(uniform < x) for x in (-1.0, 0.0, 1.0)]
    expected = [(x + math.sqrt(3.0)) / (2 * math.sqrt(3.0)) for x in (-1.0, 0.0, 1.0)]
    np.testing.assert_allclose(share, expected, atol=0.03)


def test_its_discriminator_drops_in_training_alone():
    _, discriminator = make_settings(image_size=32).create_networks()
    images = jnp.ones((4, 32, 32, 1))
    variables = discriminator.init(jax.random.key(0), images, train=False)

    def score(key):
        return discriminator.apply(variables, images, train=True, rngs={"dropout": key})

    asked = discriminator.apply(variables, images, train=False)
    assert float(jnp.ptp(asked)) == 0.0  # equal images, equal scores
    first, second = (score(jax.random.key(seed)) for seed in (1, 2))
    assert float(jnp.ptp(first)) > 0.0
    assert float(jnp.abs(first - second).max()) > 0.0
    np.testing.assert_array_equal(first, score(jax.random.key(1)))


@pytest.mark.parametrize(
    ("field", "value"), [("unit_dropout", 1.0), ("maxout_pieces", 0), ("image_size", 8)]
)
def test_a_value_out_of_range_is_named(field, value):
    with pytest.raises(UserError, match=f"config.gan.{field} is {value}, expected"):
        make_settings(**{field: value})


def test_both_players_follow_the_schedule():
    """Adam's first step is as long as its rate, which is half of the initial one here."""
    tiny = {"image_size": 16, "generator_width": 4, "discriminator_width": 4, "latent_size": 3}
    batch = Batch(jnp.zeros((4, 16, 16, 1), jnp.uint8), jnp.zeros(4, jnp.int32))
    schedule = {"name": "step", "every_epochs": 1, "factor": 0.5}
    settings = make_settings(**tiny, learning_rate=2e-4, schedule=schedule)
    gan = settings.create(2)
    step = settings.pace_step(gan.stages[0].create_step(None, 0), Pace((1, 2), 2))
    before = gan.create_state(jax.random.key(0))
    state, metrics = jax.jit(step)(before, batch, jax.random.key(1))
    assert float(metrics["learning_rate"]) == pytest.approx(1e-4)
    players = ((before.generator, state.generator), (before.discriminator, state.discriminator))
    for old, new in players:
        assert compute_difference(old.params, new.params) == pytest.approx(1e-4, rel=0.2)


def test_without_a_schedule_there_is_none():
    settings = make_settings()
    assert not settings.has_schedule
    step = settings.create(2).stages[0].create_step(None, 0)
    assert settings.pace_step(step, Pace((1, 2), 2)) is step
