"""R3GAN: its blocks and bases in closed form, its sizes, its penalties, its step."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import r3gan
from jaxgan.core.errors import UserError
from jaxgan.core.settings import read_settings
from jaxgan.core.types import Batch
from jaxgan.gans.protocol import Given, describe_shapes
from jaxgan.gans.r3gan import Basis, Critic, ResidualBlock, list_features
from jaxgan.sampling.settings import TrainGanSettings
from tests.helpers import check_parts_learn_as_one, compute_difference, make_image_set

TINY = {
    "image_size": 32,
    "latent_size": 6,
    "generator_width": 4,
    "discriminator_width": 4,
    "max_features": 8,
    "num_blocks": 2,
    "group_size": 4,
}


# What a step is tried with: few blocks of few features are compiled sooner.
FEW = {"generator_width": 2, "discriminator_width": 2, "max_features": 2, "num_blocks": 1}
FEW = {**FEW, "group_size": 2}


def make_settings(**changes):
    config = r3gan.get_config("recommended")
    config.gan.update({**TINY, **changes})
    return read_settings(TrainGanSettings, config.to_dict()).gan


@functools.cache
def make_networks(**changes):
    """Both networks of small settings, and their parameters."""
    settings = make_settings(**changes)
    networks = settings.create_networks()
    inputs = jnp.zeros((1, settings.latent_size)), jnp.zeros((1, 32, 32, settings.channels))
    init = jax.jit(
        lambda network, x: network.init(jax.random.key(0), x, train=True), static_argnums=0
    )
    return [(n, init(n, x)) for n, x in zip(networks, inputs, strict=True)]


def make_normal(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def make_batch(num=8):
    images = make_image_set(num)
    return Batch(jnp.asarray(images.images), jnp.asarray(images.labels))


# Sizes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        ((32, 768, 768), (768,) * 4),
        ((64, 384, 768), (384, *(768,) * 4)),
        ((256, 96, 768), (96, 192, 384, *(768,) * 4)),
    ],
)
def test_the_authors_plans_of_three_sizes_are_one_rule(plan, expected):
    """CIFAR-10, and FFHQ at 64 and 256 pixels, in the presets of their train.py."""
    assert list_features(*plan) == expected


def count(width, inside, group):
    """A block by hand: two 1x1, one 3x3 of groups, the biases of two activations."""
    return 2 * width * inside + 9 * group * inside + 2 * inside


@pytest.mark.parametrize("channels", [1, 3])
def test_the_networks_have_as_many_parameters_as_by_hand(channels):
    """Stages of 4, 8, 8, 8 features, two blocks in each, groups of 4."""
    blocks = 2 * count(4, 8, 4) + 3 * 2 * count(8, 16, 4)
    ends = channels * 4 + 4 * 8  # between image and features, between 4 and 8 features
    basis = 4 * 4 * 8
    expected = blocks + ends + basis + 6 * 8, blocks + ends + basis + 8
    networks = make_networks(channels=channels)
    found = tuple(sum(leaf.size for leaf in jax.tree.leaves(v)) for _, v in networks)
    assert found == expected


def test_the_authors_networks_of_64_pixels_fit_the_settings():
    settings = make_settings(
        image_size=64, latent_size=64, channels=3, generator_width=384, discriminator_width=384,
        max_features=768, group_size=16,
    )  # fmt: skip
    shapes = describe_shapes(settings.create(2))
    blocks = 2 * count(384, 768, 16) + 8 * count(768, 1536, 16)
    ends = 3 * 384 + 384 * 768 + 16 * 768
    expected = (blocks + ends + 64 * 768, blocks + ends + 768)
    networks = shapes.generator.params, shapes.discriminator.params
    assert tuple(map(count_shapes, networks)) == expected


def count_shapes(tree):
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


# Layers ---------------------------------------------------------------------------------------


def test_a_block_begins_as_the_identity():
    x = make_normal(2, 5, 4, 6)
    block = ResidualBlock(group_size=4, num_in_all=10)
    variables = block.init(jax.random.key(0), x)
    np.testing.assert_array_equal(block.apply(variables, x), x)
    assert float(jnp.abs(variables["params"]["groups"]["kernel"]).min()) > 0.0
    changed = jax.tree.map(lambda leaf: leaf + 0.1, variables)
    assert float(jnp.abs(block.apply(changed, x) - x).min()) > 0.0


def test_a_block_is_its_closed_form():
    """On one pixel, where a 3x3 kernel has only its centre; two groups of four."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3, 4))
    expand, project = rng.normal(size=(4, 8)), rng.normal(size=(8, 4))
    groups, biases = rng.normal(size=(3, 3, 4, 8)), rng.normal(size=(2, 8))
    params = {
        "expand": {"kernel": expand[None, None]},
        "expand_bias": {"bias": biases[0]},
        "groups": {"kernel": groups},
        "groups_bias": {"bias": biases[1]},
        "project": {"kernel": project[None, None]},
    }
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), params)
    block = ResidualBlock(group_size=4, num_in_all=10)
    found = block.apply({"params": params}, jnp.asarray(x, jnp.float32)[:, None, None])
    y = leaky(x @ expand + biases[0])
    y = np.concatenate([y[:, :4] @ groups[1, 1, :, :4], y[:, 4:] @ groups[1, 1, :, 4:]], axis=1)
    y = leaky(y + biases[1]) @ project
    np.testing.assert_allclose(found[:, 0, 0], x + y, rtol=1e-4)


def leaky(x):
    return np.where(x > 0, x, 0.2 * x)


def test_kernels_are_drawn_as_the_authors_draw_them():
    """By the inputs of a sum, with the gain of a leaky ReLU, smaller in a deeper network."""
    gain = math.sqrt(2 / 1.04)
    block = ResidualBlock(group_size=16, num_in_all=16)
    params = block.init(jax.random.key(0), make_normal(1, 2, 2, 128))["params"]
    assert params["expand"]["kernel"].std() == pytest.approx(gain / 2 / math.sqrt(128), rel=0.02)
    groups = params["groups"]["kernel"]
    assert groups.shape == (3, 3, 16, 256)
    assert groups.std() == pytest.approx(gain / 2 / math.sqrt(9 * 16), rel=0.02)
    basis = Basis(512).init(jax.random.key(0), make_normal(1, 64))["params"]
    assert basis["basis"].std() == pytest.approx(1.0, rel=0.03)
    assert basis["Dense_0"]["kernel"].std() == pytest.approx(1 / 8, rel=0.03)
    critic = Critic().init(jax.random.key(0), make_normal(1, 4, 4, 512))["params"]
    assert critic["basis"].std() == pytest.approx(1 / 4, rel=0.03)
    assert critic["Dense_0"]["kernel"].std() == pytest.approx(1 / math.sqrt(512), rel=0.1)


def test_a_latent_scales_the_maps_of_the_basis():
    latents, rng = make_normal(3, 5), np.random.default_rng(1)
    basis, kernel = rng.normal(size=(4, 4, 7)), rng.normal(size=(5, 7))
    params = {"basis": jnp.asarray(basis), "Dense_0": {"kernel": jnp.asarray(kernel)}}
    found = Basis(7).apply({"params": params}, latents)
    expected = np.einsum("hwf,bl,lf->bhwf", basis, latents, kernel)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_the_logit_is_the_weighted_sum_of_every_map():
    maps, rng = make_normal(3, 4, 4, 7), np.random.default_rng(1)
    basis, kernel = rng.normal(size=(4, 4, 7)), rng.normal(size=(7, 1))
    params = {"basis": jnp.asarray(basis), "Dense_0": {"kernel": jnp.asarray(kernel)}}
    found = Critic().apply({"params": params}, maps)
    expected = np.einsum("bhwf,hwf,fo->b", maps, basis, kernel)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


# Networks -------------------------------------------------------------------------------------


def test_both_networks_begin_linear():
    """Their blocks do nothing yet: what remains are a basis, resampling and 1x1 convolutions."""
    for index, shape in enumerate([(2, 6), (2, 32, 32, 1)]):
        network, variables = make_networks()[index]
        apply = jax.jit(functools.partial(network.apply, variables, train=True))
        x, y = make_normal(*shape), make_normal(*shape, seed=1)
        expected = 2.0 * apply(x) - 3.0 * apply(y)
        assert float(jnp.abs(expected).min()) > 0.0
        np.testing.assert_allclose(apply(2.0 * x - 3.0 * y), expected, rtol=1e-3, atol=1e-4)


def test_an_image_is_cut_to_its_range_only_outside_of_training():
    network, variables = make_networks()[0]
    latents = 5.0 * make_normal(4, 6)
    raw, shown = (network.apply(variables, latents, train=train) for train in (True, False))
    assert float(jnp.abs(raw).max()) > 1.0
    np.testing.assert_array_equal(shown, np.clip(raw, -1.0, 1.0))


def test_half_precision_gives_float32_and_nearly_the_same():
    for index, shape in enumerate([(2, 6), (2, 32, 32, 1)]):
        wide, variables = make_networks()[index]
        narrow = make_networks(dtype="bfloat16")[index][0]
        x = make_normal(*shape)
        expected, found = (n.apply(variables, x, train=True) for n in (wide, narrow))
        assert found.dtype == jnp.float32
        assert compute_difference(found, expected) < 0.1 * float(jnp.abs(expected).max())
        assert compute_difference(found, expected) > 0.0


# The step -------------------------------------------------------------------------------------


@functools.cache
def make_step():
    gan = make_settings(**FEW).create(2)
    return gan, jax.jit(gan.stages[0].create_step(None, 0))


def test_the_penalty_begins_as_gamma_times_the_squared_slope_of_a_linear_d():
    """The slope is the same everywhere, so R1 and R2 are each half of it times gamma."""
    network, variables = make_networks(**FEW)[1]
    slope = jax.grad(lambda x: jnp.sum(network.apply(variables, x, train=True)))
    expected = 2.0 * float(jnp.sum(slope(jnp.zeros((1, 32, 32, 1))) ** 2))
    gan, step = make_step()
    state = gan.create_state(jax.random.key(0))
    state = state.replace(discriminator=state.discriminator.replace(params=variables["params"]))
    _, metrics = step(state, make_batch(), jax.random.key(1))
    assert float(metrics["penalty"]) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("value", [0, 127, 255])
def test_images_of_one_gray_give_finite_gradients_that_move_everything(value):
    """R1 and R2 take a root of nothing; after two steps no kernel is where it began."""
    gan, step = make_step()
    first = state = gan.create_state(jax.random.key(0))
    gray = Batch(jnp.full((8, 32, 32, 1), value, jnp.uint8), jnp.zeros(8, jnp.int32))
    for seed in range(3):
        state, metrics = step(state, gray, jax.random.key(seed))
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((state, metrics)))
    for player in ("generator", "discriminator"):
        before, after = (getattr(s, player).params for s in (first, state))
        moved = jax.tree.map(lambda old, new: bool((old != new).all()), before, after)
        assert all(jax.tree.leaves(moved)), moved


@pytest.mark.slow
def test_one_part_of_a_batch_and_two_learn_the_same():
    gan = make_settings(**FEW).create(2)
    state = gan.create_state(jax.random.key(0))
    check_parts_learn_as_one(gan.stages[0].start_at(0), state, make_batch(4), num_steps=2)


def test_the_average_is_what_images_come_from():
    gan, step = make_step()
    state, _ = step(gan.create_state(jax.random.key(0)), make_batch(), jax.random.key(1))
    assert compute_difference(gan.get_networks(state).generator, state.ema) == 0.0
    latents = gan.draw_latents(jax.random.key(0), jnp.arange(2, dtype=jnp.uint32))
    assert gan.generate(state.ema, latents, Given()).shape == (2, 32, 32, 1)


# Settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"group_size": 5}, r"config.gan.group_size is 5, expected a divisor of 8, twice the"),
        ({"max_features": 6, "group_size": 8}, r"group_size is 8, expected a divisor of 12"),
        ({"generator_width": 9}, r"config.gan.generator_width is 9, expected 1 to config.gan.max"),
        ({"num_blocks": 0}, r"config.gan.num_blocks is 0, expected 1 or more"),
        ({"image_size": 48}, r"config.gan.image_size is 48, expected one of 32, 64, 128"),
    ],
)  # fmt: skip
def test_a_value_that_does_not_fit_is_named(changes, sentence):
    with pytest.raises(UserError, match=sentence):
        make_settings(**changes)
