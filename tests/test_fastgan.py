"""FastGAN: its layers in closed form, its sizes, its reconstruction, its noise, its step."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import fastgan
from jaxgan.core.errors import UserError
from jaxgan.core.settings import read_settings
from jaxgan.core.types import Batch
from jaxgan.gans import fastgan as module
from jaxgan.gans.protocol import Given, describe_shapes
from jaxgan.sampling.settings import TrainGanSettings
from tests.helpers import check_parts_learn_as_one, compute_difference, make_image_set

TINY = {"image_size": 32, "latent_size": 6, "generator_width": 2, "discriminator_width": 2}


def make_settings(**changes):
    config = fastgan.get_config("recommended")
    config.gan.update({**TINY, **changes})
    return read_settings(TrainGanSettings, config.to_dict()).gan


def make_normal(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def make_batch(num=8):
    images = make_image_set(num)
    return Batch(jnp.asarray(images.images), jnp.asarray(images.labels))


def init(network, *inputs):
    return jax.jit(lambda: network.init(jax.random.key(0), *inputs, train=True))()


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


# Layers ---------------------------------------------------------------------------------------


def test_a_gated_unit_is_its_closed_form():
    x = np.random.default_rng(0).normal(size=(3, 2, 2, 6)).astype(np.float32)
    found = module.compute_glu(jnp.asarray(x))
    np.testing.assert_allclose(found, x[..., :3] * sigmoid(x[..., 3:]), rtol=1e-5)


def test_pixels_are_repeated_and_blocks_averaged():
    x = jnp.arange(4.0).reshape(1, 2, 2, 1)
    doubled = [[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 3, 3], [2, 2, 3, 3]]
    np.testing.assert_array_equal(module.double_size(x)[0, :, :, 0], doubled)
    np.testing.assert_array_equal(module.average_blocks(module.double_size(x), 2), x)
    np.testing.assert_allclose(module.average_blocks(x, 2)[0, 0, 0], [1.5])


def test_the_quarters_are_in_reading_order():
    x = make_normal(2, 6, 6, 3)
    for quarter, (rows, columns) in enumerate([(0, 0), (0, 3), (3, 0), (3, 3)]):
        expected = x[:, rows : rows + 3, columns : columns + 3]
        np.testing.assert_array_equal(module.take_quarter(x, quarter), expected)
        traced = jax.jit(module.take_quarter)(x, jnp.int32(quarter))
        np.testing.assert_array_equal(traced, expected)


def test_a_new_noise_changes_nothing_and_then_all_features_alike():
    x, noise = make_normal(2, 4, 4, 3), make_normal(2, 4, 4, 1, seed=1)
    variables = module.Noise().init(jax.random.key(0), x, noise)
    np.testing.assert_array_equal(module.Noise().apply(variables, x, noise), x)
    found = module.Noise().apply({"params": {"weight": jnp.array([0.5])}}, x, noise)
    np.testing.assert_allclose(found, x + 0.5 * noise, rtol=1e-6)


def normalise(kernel):
    """A kernel divided by its largest singular value: what spectral norm comes to."""
    matrix = np.asarray(kernel).reshape(-1, kernel.shape[-1])
    return np.asarray(kernel) / np.linalg.svd(matrix, compute_uv=False)[0]


def test_an_excitation_is_its_closed_form():
    """Means of 2x2, a 4x4 sum for each feature, swish, a mix, and a gate from 0 to 1."""
    layer, other, x = module.Excitation(), make_normal(2, 8, 8, 3), make_normal(2, 5, 6, 4, seed=1)
    variables = init(layer, other, x)
    apply = jax.jit(functools.partial(layer.apply, mutable=["batch_stats"], train=True))
    for _ in range(100):  # the power iteration finds the singular values
        found, stats = apply(variables, other, x)
        variables = {**variables, **stats}
    params = variables["params"]
    squeeze, excite = (normalise(params[name]["conv"]["kernel"]) for name in ("squeeze", "excite"))
    means = np.asarray(other).reshape(2, 4, 2, 4, 2, 3).mean(axis=(2, 4))
    seen = np.einsum("bhwi,hwio->bo", means, squeeze)
    gate = sigmoid((seen * sigmoid(seen)) @ excite[0, 0])
    np.testing.assert_allclose(found, np.asarray(x) * gate[:, None, None], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("num_noise", [0, 2])
def test_a_block_doubles_the_size_and_convolves_once_or_with_noise_twice(num_noise):
    block, noise = module.UpBlock(3), tuple(make_normal(2, 8, 8, 1) for _ in range(num_noise))
    variables = init(block, make_normal(2, 4, 4, 5), noise)
    kernels = [name for name in variables["params"] if name.startswith("conv")]
    assert len(kernels) == max(num_noise, 1)
    found = block.apply(variables, make_normal(2, 4, 4, 5), noise, train=False)
    assert found.shape == (2, 8, 8, 3)


def test_a_halving_block_is_the_mean_of_two_ways():
    """With a scale of 0 and a bias in its last norm, a way ends with that bias everywhere."""
    block, x = module.DownBlock(3), make_normal(4, 8, 8, 2)
    variables = init(block, x)

    def apply_with(**biases):
        params = {**variables["params"]}
        for name, bias in biases.items():
            params[name] = {"scale": jnp.zeros(3), "bias": jnp.full(3, bias)}
        return block.apply({**variables, "params": params}, x, train=False)

    whole = apply_with()
    assert whole.shape == (4, 4, 4, 3)
    parts = apply_with(conv_norm=0.0), apply_with(direct_norm=0.0)
    assert all(float(jnp.abs(part).max()) > 0.0 for part in parts)
    np.testing.assert_allclose(parts[0] + parts[1], whole, atol=1e-6)
    both = apply_with(conv_norm=3.0, direct_norm=5.0)
    np.testing.assert_array_equal(both, jnp.full((4, 4, 4, 3), 4.0))


# The reconstruction ---------------------------------------------------------------------------


def test_the_loss_of_a_reconstruction_is_its_closed_form():
    """A shift counts at every scale, a pattern of single pixels at the finest alone."""
    wanted = make_normal(2, 8, 8, 1)
    loss = module.compute_reconstruction_loss
    np.testing.assert_array_equal(loss(wanted, wanted), [0.0, 0.0])
    shifts = jnp.array([0.3, -0.6])[:, None, None, None]
    np.testing.assert_allclose(loss(wanted + shifts, wanted), [0.3, 0.6], rtol=1e-5)
    signs = 1.0 - 2.0 * (jnp.indices((8, 8)).sum(axis=0) % 2)[None, :, :, None]
    np.testing.assert_allclose(loss(wanted + signs, wanted), [1 / 3, 1 / 3], rtol=1e-5)
    pairs = module.double_size(signs[:, :4, :4])
    np.testing.assert_allclose(loss(wanted + pairs, wanted), [2 / 3, 2 / 3], rtol=1e-5)


@functools.cache
def make_discriminator():
    _, discriminator = make_settings().create_networks()
    images = make_normal(3, 32, 32, 1)
    return discriminator, init(discriminator, images), images


def test_reconstructing_does_not_change_the_logits():
    network, variables, images = make_discriminator()
    key, labels = jax.random.key(3), jnp.zeros(3, jnp.int32)
    logits, stats, loss = module.reconstruct(network, variables, images, labels, key, weight=2.0)
    plain, updates = network.apply(variables, images, train=True, mutable=["batch_stats"])
    assert logits.shape == (3, 25)
    np.testing.assert_array_equal(logits, plain)
    # Its statistics are those of a plain pass, and those of the decoders in addition.
    own = {name: tree for name, tree in stats.items() if not name.startswith("decode")}
    plain_stats = updates["batch_stats"]
    assert own.keys() < stats.keys()
    assert all(compute_difference(own[name], plain_stats[name]) == 0.0 for name in own)
    assert compute_difference(stats["decode_part"], plain_stats["decode_part"]) > 0.0
    quarter = jax.random.randint(key, (), 0, 4)
    (_, (whole, part)), _ = network.apply(
        variables, images, train=True, quarter=quarter, mutable=["batch_stats"]
    )
    assert whole.shape == part.shape == (3, 16, 16, 1)
    blocks = np.asarray(images).reshape(3, 16, 2, 16, 2, 1).mean(axis=(2, 4))
    parts = module.take_quarter(images, int(quarter))
    compare = module.compute_reconstruction_loss
    np.testing.assert_allclose(
        loss, 2.0 * (compare(whole, blocks) + compare(part, parts)), rtol=1e-5
    )


def test_every_quarter_is_drawn():
    keys = jax.vmap(jax.random.key)(jnp.arange(64))
    drawn = jax.vmap(lambda key: jax.random.randint(key, (), 0, 4))(keys)
    assert set(np.asarray(drawn)) == {0, 1, 2, 3}


def test_outside_of_training_a_score_is_the_mean_of_25_logits():
    network, variables, images = make_discriminator()
    scores = network.apply(variables, images, train=False)
    assert scores.shape == (3,)
    gan = make_settings().create(2)
    np.testing.assert_array_equal(gan.score(variables, images, Given()), scores)
    of_batch = gan.score_batch(variables, images, Given())
    logits, _ = network.apply(variables, images, train=True, mutable=["batch_stats"])
    np.testing.assert_allclose(of_batch, np.mean(logits, axis=1), rtol=1e-5)


# Sizes ----------------------------------------------------------------------------------------


def up(features_in, features, num):
    """An UpBlock by hand: kernels for both halves of the gates, scales and biases, noise."""
    first = 9 * features_in * 2 * features + 2 * 2 * features
    return first + (9 * features * 2 * features + 2 * 2 * features + 2 if num == 2 else 0)


def down(features_in, features):
    kernels = (16 + 1) * features_in * features + 9 * features * features
    return kernels + 3 * 2 * features


def excitation(features_in, features):
    return 16 * features_in * features + features * features


# With a width of 2: G has maps of 32, 16, 8, 4, 4, 2 features from 4 pixels to 128.
G_ENDS = 16 * 6 * 64 + 2 * 64  # from 6 latents to 32 features, doubled for the gates
G = {
    32: up(32, 16, 2) + up(16, 8, 1) + up(8, 4, 2) + excitation(32, 4) + 9 * 4,
    64: up(32, 16, 2) + up(16, 8, 1) + up(8, 4, 2) + up(4, 4, 1) + excitation(32, 4) + 9 * 4,
    128: (
        *(up(32, 16, 2), up(16, 8, 1), up(8, 4, 2), up(4, 4, 1), up(4, 2, 2)),
        *(excitation(32, 4), excitation(16, 2), 9 * 2),
    ),
}


def end(features):
    """From the last map to 25 logits."""
    return 2 * features * features + 2 * 2 * features + 16 * 2 * features


def decoder(features, *plan):
    """A decoder from a map of so many features; its own have a width of 4."""
    total = 0
    for own in plan:
        total, features = total + up(features, own, 1), own
    return total + 9 * features


D = {
    32: 9 * 2 + down(2, 4) + down(4, 8) + end(8) + decoder(8, 16) + decoder(4, 16),
    64: (
        *(9 * 2, down(2, 4), down(4, 8), down(8, 16), excitation(2, 16), end(16)),
        *(decoder(16, 16, 8), decoder(8, 16, 8)),
    ),
    128: (
        *(9 * 2, down(2, 4), down(4, 8), down(8, 16), down(16, 32), end(32)),
        *(excitation(2, 16), excitation(4, 32), decoder(32, 16, 8, 8), decoder(16, 16, 8, 8)),
    ),
}


@pytest.mark.parametrize("size", [32, 64, 128])
def test_the_networks_have_as_many_parameters_as_by_hand(size):
    shapes = describe_shapes(make_settings(image_size=size).create(2))
    found = [
        sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(player.params))
        for player in (shapes.generator, shapes.discriminator)
    ]
    assert found == [G_ENDS + np.sum(G[size]), np.sum(D[size])]


# Noise ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "sides"), [(32, (8, 32)), (64, (8, 32)), (128, (8, 32, 128))])
def test_the_numbers_of_an_image_are_its_latents_and_its_noise(size, sides):
    """Two maps for each size that two convolutions make, each number used once."""
    settings = make_settings(image_size=size)
    num = sum(2 * side**2 for side in sides)
    assert settings.num_latents == 6 + num
    latents = settings.create(2).draw_latents(jax.random.key(0), jnp.arange(3, dtype=jnp.uint32))
    assert latents.shape == (3, 6 + num)
    noise = module.split_noise(latents[:, 6:], size)
    assert [part.shape for s in sides for part in noise[s]] == [
        (3, side, side, 1) for side in sides for _ in range(2)
    ]
    joined = np.concatenate([p.reshape(3, -1) for s in sides for p in noise[s]], axis=1)
    np.testing.assert_array_equal(joined, latents[:, 6:])


def test_an_image_is_a_function_of_its_numbers_alone():
    """With weights above 0, noise changes an image; the same numbers give the same image."""
    generator, _ = make_settings().create_networks()
    latents = make_normal(2, make_settings().num_latents)
    variables = init(generator, latents)
    other = latents.at[:, 6:].multiply(-1.0)
    apply = jax.jit(functools.partial(generator.apply, train=False))
    np.testing.assert_array_equal(
        apply(variables, latents), apply(variables, other)
    )  # weights of 0
    noisy = jax.tree_util.tree_map_with_path(
        lambda path, leaf: leaf + 1.0 if "weight" in jax.tree_util.keystr(path) else leaf, variables
    )
    assert float(jnp.abs(apply(noisy, latents) - apply(noisy, other)).max()) > 1e-3
    np.testing.assert_array_equal(apply(noisy, latents), apply(noisy, latents))


# The step -------------------------------------------------------------------------------------


@functools.cache
def take_step():
    """A state, and the one after a step with its metrics."""
    gan = make_settings().create(2)
    before = gan.create_state(jax.random.key(0))
    step = jax.jit(gan.stages[0].create_step(None, 0))
    return before, *step(before, make_batch(), jax.random.key(1))


def test_a_step_moves_every_kernel_and_the_decoders_too():
    before, after, metrics = take_step()
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((after, metrics)))
    for player in ("generator", "discriminator"):
        trees = [getattr(state, player).params for state in (before, after)]
        moved = jax.tree.map(lambda old, new: bool((old != new).any()), *trees)
        assert all(jax.tree.leaves(moved)), moved


def test_the_reconstruction_adds_its_loss_to_that_of_d_alone():
    """Two reconstructions of gray, each with a weight of 10: from a tenth of the range to all."""
    metrics = take_step()[2]
    assert 10 * 0.1 < float(metrics["supervision"]) < 10 * 2.0
    halves = metrics["loss_d_real"] + metrics["loss_d_fake"]
    assert float(metrics["loss_d"]) == pytest.approx(float(halves), rel=1e-6)
    gan = make_settings(reconstruction_weight=0.0).create(2)
    step, state = gan.stages[0].create_step(None, 0), describe_shapes(gan)
    _, shapes = jax.eval_shape(step, state, make_batch(), jax.random.key(1))
    assert metrics.keys() - shapes.keys() == {"supervision"}


def test_noise_gets_its_weight_in_training():
    before, after, _ = take_step()
    weight = after.generator.params["up8"]["noise0"]["weight"]
    assert float(before.generator.params["up8"]["noise0"]["weight"][0]) == 0.0
    assert abs(float(weight[0])) == pytest.approx(2e-4, rel=0.1)  # Adam's first step


@pytest.mark.slow
def test_one_part_of_a_batch_and_two_learn_the_same():
    gan = make_settings().create(2)
    state = gan.create_state(jax.random.key(0))
    check_parts_learn_as_one(gan.stages[0].start_at(0), state, make_batch(4), num_steps=2)


# Settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"r1_weight": 1.0},
            r"config.gan.r1_weight is 1.0: it needs the gradient of each",
        ),
        ({"reconstruction_weight": -1.0}, r"config.gan.reconstruction_weight is -1.0, expected 0"),
        ({"generator_width": 0}, r"config.gan.generator_width is 0, expected 1 or more"),
        ({"image_size": 256}, r"config.gan.image_size is 256, expected one of 32, 64, 128"),
    ],
)
def test_a_value_that_does_not_fit_is_named(changes, sentence):
    with pytest.raises(UserError, match=sentence):
        make_settings(**changes)
