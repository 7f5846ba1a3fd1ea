"""The GAN step: what it changes, what it leaves, and the same on one device and two."""

import dataclasses
import functools

import flax
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats

from jaxgan.core.types import Batch
from jaxgan.devices.parallel import Dispatcher, choose_devices
from jaxgan.gans import objectives, recipe, two_player
from jaxgan.gans.protocol import Networks
from jaxgan.gans.two_player import Player
from jaxgan.ops.pixels import scale_to_unit
from jaxgan.sampling.sampler import Sampler
from jaxgan.training.feed import create_feed
from jaxgan.training.keys import create_keys
from tests.helpers import (
    compute_difference,
    create_state,
    create_step,
    make_dcgan_settings,
    make_image_set,
    replace,
)

SETTINGS = make_dcgan_settings()
OBJECTIVE = objectives.OBJECTIVES["non_saturating"]


def make_batch(seed=0, num=8):
    images = make_image_set(num, seed=seed)
    return Batch(jnp.asarray(images.images), jnp.asarray(images.labels))


def once_a_setting(make):
    """Make something once for all tests of equal settings, which have no hash."""
    made = {}

    @functools.wraps(make)
    def find(settings=SETTINGS):
        if repr(settings) not in made:
            made[repr(settings)] = make(settings)
        return made[repr(settings)]

    return find


@once_a_setting
def make_step(settings):
    return jax.jit(create_step(settings, None))


@once_a_setting
def make_state(settings):
    return create_state(settings, jax.random.key(0))


def make_parts():
    optimizer = recipe.create_optimizer(SETTINGS.gan)
    players = [Player(network, optimizer) for network in SETTINGS.gan.create_networks()]
    return make_state(), *players


def test_the_discriminator_step_leaves_the_generator_and_learns():
    state, generator, discriminator = make_parts()
    images = jnp.asarray(make_batch().images, jnp.float32) / 127.5 - 1.0
    fake = generator.network.apply(state.generator.variables, jnp.ones((8, 8)), train=False)
    network, losses_seen = state.discriminator, []
    update = jax.jit(
        functools.partial(
            two_player.update_discriminator,
            discriminator=discriminator,
            objective=OBJECTIVE,
        )
    )
    labels = jnp.zeros(len(images), jnp.int32)
    for _ in range(10):
        network, metrics = update(network, real=images, fake=fake, labels=labels)
        losses_seen.append(float(metrics["loss_d"]))
    assert losses_seen[-1] < losses_seen[0] - 0.1
    assert losses_seen[0] == pytest.approx(2 * np.log(2), abs=0.2)


def test_no_gradient_reaches_the_fakes_through_the_discriminator_step():
    state, _, discriminator = make_parts()

    def run(fake):
        network, _ = two_player.update_discriminator(
            state.discriminator,
            real=jnp.zeros((4, 32, 32, 1)),
            fake=fake,
            labels=jnp.zeros(4, jnp.int32),
            discriminator=discriminator,
            objective=OBJECTIVE,
        )
        return sum(jnp.sum(leaf) for leaf in jax.tree.leaves(network.params))

    gradient = jax.jit(jax.grad(run))(jax.random.normal(jax.random.key(0), (4, 32, 32, 1)))
    assert not np.any(gradient)


def test_each_network_is_updated_by_its_own_optimizer_alone():
    """With one optimiser at rest, that network stays bit for bit and the other moves."""
    state, generator, discriminator = make_parts()
    players = {"generator": generator, "discriminator": discriminator}
    at_rest = optax.set_to_zero()
    how = two_player.Recipe(
        OBJECTIVE, lambda images, keys, strength: images, latent_size=8, ema_decay=0.0
    )
    for resting, moving in (("generator", "discriminator"), ("discriminator", "generator")):
        parts = {**players, resting: players[resting]._replace(optimizer=at_rest)}
        begin = state.replace(
            **{resting: getattr(state, resting).replace(opt_state=at_rest.init(None))}
        )
        step = functools.partial(two_player.train_step, **parts, recipe=how)
        new, _ = jax.jit(step)(begin, make_batch(), jax.random.key(1))
        old = getattr(state, resting).params
        assert compute_difference(getattr(new, resting).params, old) == 0.0
        assert compute_difference(getattr(new, moving).params, getattr(state, moving).params) > 0


def test_the_generator_sees_the_updated_discriminator():
    """With D's learning rate at its largest, the second score of the same fakes has to differ."""
    step = make_step(replace(SETTINGS, learning_rate=0.05, diffaugment=False))
    state = make_state()
    _, metrics = step(state, make_batch(), jax.random.key(1))
    assert float(metrics["d_fake_after"]) < float(metrics["d_fake"]) - 0.05


def test_eq_3_is_another_gradient_than_the_listings():
    state = make_state()
    new = {
        name: make_step(replace(SETTINGS, objective=name))(state, make_batch(), jax.random.key(1))[
            1
        ]["loss_g"]
        for name in ("non_saturating", "saturating")
    }
    assert float(new["non_saturating"]) == pytest.approx(np.log(2), abs=0.2)
    assert float(new["saturating"]) == pytest.approx(-np.log(2), abs=0.2)


def test_the_moving_average_follows_the_generator():
    settings = replace(SETTINGS, ema_decay=0.9)
    state = make_state(settings)
    new, _ = make_step(settings)(state, make_batch(), jax.random.key(1))
    expected = jax.tree.map(
        lambda old, fresh: 0.9 * old + 0.1 * fresh,
        state.generator.variables,
        new.generator.variables,
    )
    assert compute_difference(new.ema, expected) < 1e-6
    assert new.sampling_variables is new.ema
    without = make_state(replace(settings, ema_decay=0.0))
    assert without.sampling_variables == without.generator.variables


def test_first_fake_is_the_first_image_of_the_step():
    state = make_state()
    _, metrics = make_step()(state, make_batch(), jax.random.key(1))
    latent_key = jax.random.split(jax.random.key(1), 4)[0]
    generator, _ = SETTINGS.gan.create_networks()
    images, _ = generator.apply(
        state.generator.variables,
        jax.random.normal(latent_key, (8, 8)),
        train=True,
        mutable=["batch_stats"],
    )
    np.testing.assert_allclose(metrics["first_fake"], images[0], atol=1e-6)


def run_steps(settings, num_devices, num_steps=20):
    """Return the state after some steps, and how often the step was traced."""
    images = make_image_set(22)
    settings = replace(settings, num_epochs=1000)
    plan = settings.create_plan(len(images))
    devices = choose_devices(num_devices)
    keys = create_keys(0)
    traced = []

    def make_step(axis_name):
        def step(*args):
            traced.append(axis_name)
            return create_step(settings, axis_name)(*args)

        return step

    feed = create_feed(images, keys.data, plan, devices, resident_bytes=2**20)
    dispatcher = Dispatcher(make_step, feed, keys.steps, devices=devices, max_steps=4)
    state, step = dispatcher.to_devices(create_state(settings, keys.init)), 0
    while step < num_steps:
        begin, step = step, min(plan.compute_next(step), num_steps)
        state, metrics = dispatcher(state, begin, step)
    return dispatcher.to_host(state), metrics, len(traced), step - begin


@pytest.mark.parametrize(
    "values",
    [
        pytest.param({"diffaugment": True}, id="diffaugment", marks=pytest.mark.slow),
        pytest.param({"diffaugment": False}, id="as printed"),
        pytest.param(
            {
                "diffaugment": True,
                "augment_policy": ("colour", "rotate_zoom", "shift", "cutout"),
                "augment_target": 0.1,
                "augment_ramp_images": 100,
                "num_classes": 2,
            },
            id="adaptive, rotated, class-conditional",
        ),
        pytest.param(
            {
                "objective": "relativistic",
                "discriminator_norm": "none",
                "r1_weight": 0.1,
                "r2_weight": 0.1,
            },
            id="relativistic, both penalties",
        ),
        pytest.param({"diffaugment": False, "lecam_weight": 0.1}, id="lecam"),
    ],
)
def test_one_device_equals_two_batch_statistics_included(values):
    """And either traces the step once, for its metrics and its program, over many dispatches."""
    # A discriminator that wins outright would hide a difference: the rates are moderate.
    settings = make_alternative(**values)
    one, one_metrics, one_traces, rows = run_steps(settings, 1)
    two, two_metrics, two_traces, _ = run_steps(settings, 2)
    assert one_traces == two_traces == 1
    assert compute_difference(one, two) < 1e-5
    for name in one_metrics:
        assert compute_difference(one_metrics[name][:rows], two_metrics[name][:rows]) < 1e-5, name


@pytest.mark.parametrize("values", [{}, {"num_classes": 3}], ids=["paper's", "class-conditional"])
def test_parameters_are_the_bytes_that_one_program_would_draw(values):
    """They are drawn one by one, a second of compilation less for each."""
    settings, key = make_dcgan_settings(**values), jax.random.key(7)
    state = create_state(settings, key)
    shapes = (
        (settings.gan.latent_size,),
        (settings.gan.image_size, settings.gan.image_size, settings.gan.channels),
    )
    drawn = zip(settings.gan.create_networks(), jax.random.split(key), shapes, strict=True)
    for (network, own_key, shape), found in zip(
        drawn, (state.generator, state.discriminator), strict=True
    ):
        init = jax.jit(functools.partial(network.init, train=False))
        expected = init(own_key, jnp.zeros((1, *shape)), jnp.zeros(1, jnp.int32))
        for name, tree in (("params", found.params), ("batch_stats", found.batch_stats)):
            for leaf, other in zip(
                jax.tree.leaves(tree), jax.tree.leaves(expected[name]), strict=True
            ):
                assert np.asarray(leaf).tobytes() == np.asarray(other).tobytes()


def test_latents_depend_on_their_seed_alone():
    key = jax.random.key(3)
    together = two_player.draw_latents(key, jnp.arange(5), 7)
    np.testing.assert_array_equal(two_player.draw_latents(key, jnp.array([3]), 7)[0], together[3])
    assert np.unique(np.asarray(together)).size == 35


@pytest.mark.parametrize("truncation", [0.02, 0.35, 0.7, 0.99])
def test_truncated_latents_are_a_normal_distribution_within_its_bounds(truncation):
    key, seeds, bound = jax.random.key(3), jnp.arange(500), 2 * truncation
    latents = np.asarray(two_player.draw_truncated(key, seeds, truncation, 20))
    assert latents.shape == (500, 20) and latents.dtype == np.float32
    assert 0.99 * bound < np.abs(latents).max() < bound
    test = scipy.stats.kstest(latents.ravel(), scipy.stats.truncnorm(-bound, bound).cdf)
    assert test.pvalue > 0.01
    one = two_player.draw_truncated(key, jnp.array([3]), truncation, 20)[0]
    np.testing.assert_array_equal(one, latents[3])


def test_a_truncated_latent_is_that_of_its_seed_nearer_to_0():
    """The same random bits: the values are in the same order, each with its sign."""
    key, seeds = jax.random.key(3), jnp.arange(50)
    whole = np.asarray(two_player.draw_latents(key, seeds, 20)).ravel()
    for truncation in (0.3, 0.7):
        cut = np.asarray(two_player.draw_truncated(key, seeds, truncation, 20)).ravel()
        assert (np.diff(cut[np.argsort(whole)]) >= 0.0).all()
        assert (np.sign(cut) == np.sign(whole)).all() and (np.abs(cut) < np.abs(whole)).all()
        mass = scipy.stats.norm.cdf(2 * truncation) - scipy.stats.norm.cdf(-2 * truncation)
        expected = scipy.stats.norm.ppf(0.5 + mass * (scipy.stats.norm.cdf(whole) - 0.5))
        np.testing.assert_allclose(cut, expected, atol=1e-4)


def test_state_survives_a_round_trip_through_flax():
    state = make_state()
    restored = flax.serialization.from_state_dict(state, flax.serialization.to_state_dict(state))
    assert compute_difference(state, restored) == 0.0


ALTERNATIVES = {
    "least_squares": {"objective": "least_squares"},
    "hinge, spectral": {"objective": "hinge", "discriminator_norm": "spectral"},
    "wasserstein, clipped": {"objective": "wasserstein", "clip_weights": 0.01},
    "wasserstein, penalised": {
        "objective": "wasserstein",
        "gradient_penalty_weight": 10.0,
        "discriminator_norm": "none",
    },
    "relativistic": {"objective": "relativistic"},
    "r1, smoothed": {"r1_weight": 1.0, "label_smoothing": 0.1, "discriminator_norm": "spectral"},
}


@pytest.mark.parametrize(
    "values",
    [
        pytest.param(values, marks=[] if "penalised" in name else pytest.mark.slow, id=name)
        for name, values in ALTERNATIVES.items()
    ],
)
def test_every_objective_moves_both_networks(values):
    settings = make_alternative(**values)
    state = make_state(settings)
    new, metrics = make_step(settings)(state, make_batch(), jax.random.key(1))
    assert all(np.isfinite(value).all() for value in metrics.values())
    is_probability = settings.gan.objective in objectives.CROSS_ENTROPY_OBJECTIVES
    for name in ("real", "fake", "fake_after"):
        assert (f"d_{name}" in metrics) is is_probability
        assert (f"d_score_{name}" in metrics) is not is_probability
    for name in ("generator", "discriminator"):
        old_params, new_params = getattr(state, name).params, getattr(new, name).params
        assert compute_difference(old_params, new_params) > 1e-6
    if settings.gan.clip_weights:
        leaves = jax.tree.leaves(new.discriminator.params)
        assert max(float(jnp.abs(leaf).max()) for leaf in leaves) <= 0.01 + 1e-6


class LinearGenerator(nn.Module):
    """Images are linear in the latents."""

    @nn.compact
    def __call__(self, latents, labels=None, *, train):
        kernel = self.param("kernel", nn.initializers.normal(0.1), (8, 32 * 32))
        return (latents @ kernel).reshape(-1, 32, 32, 1)


class QuadraticDiscriminator(nn.Module):
    """The slope at an image is the image times a weight a pixel."""

    @nn.compact
    def __call__(self, images, labels=None, *, train):
        kernel = self.param("kernel", nn.initializers.normal(0.1), (32, 32, 1))
        return score(kernel, images)


def score(kernel, images):
    return 0.5 * jnp.sum(kernel * images**2, axis=(1, 2, 3))


def add_strength(images, keys, strength):
    return images + strength


def softplus(x):
    return jnp.logaddexp(x, 0.0)


@pytest.mark.parametrize(
    "values",
    [
        pytest.param({}, id="plain"),
        pytest.param({"r1_weight": 0.03}, id="r1"),
        pytest.param({"gradient_penalty_weight": 0.02}, id="gradient penalty"),
        pytest.param({"r2_weight": 0.05}, id="r2"),
        pytest.param({"lecam_weight": 0.1}, id="lecam"),
        pytest.param({"lecam_weight": 0.1, "r1_weight": 0.03}, id="lecam, r1"),
        pytest.param({"r1_weight": 0.03, "gradient_penalty_weight": 0.02}, id="both"),
        pytest.param({"label_smoothing": 0.2}, id="smoothed"),
        pytest.param({"objective": "relativistic"}, id="relativistic"),
        pytest.param(
            {"objective": "relativistic", "r1_weight": 0.03, "r2_weight": 0.03}, id="of R3GAN"
        ),
    ],
)
def test_a_step_is_the_closed_form_of_its_settings_on_augmented_images(values):
    """Real, generated and G's images are all brightened; descent at the rate 1 shows gradients."""
    settings = make_alternative(discriminator_norm="none", **values)
    parts = {
        "generator": Player(LinearGenerator(), optax.sgd(1.0)),
        "discriminator": Player(QuadraticDiscriminator(), optax.sgd(1.0)),
    }
    shapes = {"latent_size": 8, "image_shape": (32, 32, 1), "keep_ema": False}
    state = two_player.create_gan_state(jax.random.key(0), **parts, **shapes, augment_strength=0.5)
    lecam_weight = settings.gan.lecam_weight
    if lecam_weight:
        before = jnp.array([0.3, -0.2])
        state = state.replace(step=jnp.int32(2), logit_averages=before)
    step = create_step(settings, None)
    how = step.keywords["recipe"]._replace(augment_fn=add_strength, ema_decay=0.0)
    step = functools.partial(step, **parts, recipe=how)
    batch, key = make_batch(), jax.random.key(1)
    new, metrics = jax.jit(step)(state, batch, key)

    kernel = state.discriminator.params["kernel"]
    latents = jax.random.normal(jax.random.split(key, 4)[0], (8, 8))
    share = jax.vmap(jax.random.uniform)(jax.random.split(jax.random.fold_in(key, 4), 8))
    share = share[:, None, None, None]

    def make(kernel):
        return (latents @ kernel).reshape(8, 32, 32, 1) + 0.5

    real, fake = scale_to_unit(batch.images) + 0.5, make(state.generator.params["kernel"])

    is_relativistic = settings.gan.objective == "relativistic"

    def compute_parts(kernel):
        logits, slopes = score(kernel, real), kernel * real
        between = kernel * (share * real + (1.0 - share) * fake)
        lengths = jnp.sqrt(jnp.sum(between**2, axis=(1, 2, 3)))
        r1 = settings.gan.r1_weight / 2 * jnp.mean(jnp.sum(slopes**2, axis=(1, 2, 3)))
        r2 = settings.gan.r2_weight / 2 * jnp.mean(jnp.sum((kernel * fake) ** 2, axis=(1, 2, 3)))
        gp = settings.gan.gradient_penalty_weight * jnp.mean((lengths - 1.0) ** 2)
        smoothing = settings.gan.label_smoothing
        parts = {
            "loss_d_real": jnp.mean(
                (1.0 - smoothing) * softplus(-logits) + smoothing * softplus(logits)
            ),
            "loss_d_fake": jnp.mean(softplus(score(kernel, fake))),
            "penalty": r1 + r2 + gp,
        }
        if is_relativistic:
            half = jnp.mean(softplus(score(kernel, fake) - logits)) / 2
            parts |= {"loss_d_real": half, "loss_d_fake": half}
        if lecam_weight:
            of_fake, (real_average, fake_average) = score(kernel, fake), new.logit_averages
            distances = (logits - fake_average) ** 2 + (of_fake - real_average) ** 2
            parts["lecam"] = lecam_weight * jnp.mean(distances)
        return parts

    def compute_generator_loss(generator_kernel):
        updated = new.discriminator.params["kernel"]
        of_real = score(updated, real) if is_relativistic else 0.0
        return jnp.mean(softplus(of_real - score(updated, make(generator_kernel))))

    weights = ("r1_weight", "r2_weight", "gradient_penalty_weight")
    assert ("penalty" in metrics) == any(getattr(settings.gan, name) for name in weights)
    assert ("lecam" in metrics) == bool(lecam_weight)
    if lecam_weight:
        # Of the third step: the two steps before it count 0.99 and 0.99^2 times as much as it.
        means = [float(jnp.mean(score(kernel, images))) for images in (real, fake)]
        earlier = 0.99 + 0.99**2
        expected = (earlier * np.array([0.3, -0.2]) + means) / (earlier + 1.0)
        np.testing.assert_allclose(new.logit_averages, expected, rtol=1e-4)
    for name, expected in compute_parts(kernel).items():
        assert float(metrics.get(name, 0.0)) == pytest.approx(float(expected), rel=1e-4), name
    generator_kernel = state.generator.params["kernel"]
    assert float(metrics["loss_g"]) == pytest.approx(
        float(compute_generator_loss(generator_kernel)), rel=1e-4
    )
    for network, loss, old in (
        ("discriminator", lambda kernel: sum(compute_parts(kernel).values()), kernel),
        ("generator", compute_generator_loss, generator_kernel),
    ):
        moved = getattr(new, network).params["kernel"] - old
        expected = -jax.grad(loss)(old)
        assert np.abs(expected).max() > 1e-3
        np.testing.assert_allclose(moved, expected, rtol=1e-3, atol=1e-5)


def make_alternative(**values):
    selection = replace(SETTINGS.selection, rule="none")
    return replace(SETTINGS, selection=selection, **values)


def test_a_step_moves_what_its_labels_name_and_no_other_class():
    """With images of class 1 alone: a class without a gradient stays exactly where it was."""
    settings = replace(SETTINGS, num_classes=3)
    state = make_state(settings)
    batch = make_batch()._replace(labels=jnp.ones(8, jnp.int32))
    new, _ = make_step(settings)(state, batch, jax.random.key(1))
    for name in ("generator", "discriminator"):
        moved = jax.tree.map(
            lambda old, now: np.abs(np.asarray(now - old)).max(axis=tuple(range(1, old.ndim))),
            getattr(state, name).params,
            getattr(new, name).params,
        )
        tables = [
            leaf
            for path, leaf in jax.tree.leaves_with_path(moved)
            if ("norm" in str(path) and leaf.shape == (3,)) or "projection" in str(path)
        ]
        assert len(tables) == {"generator": 6, "discriminator": 1}[name]
        for table in tables:
            assert table[1] > 0.0 and table[0] == table[2] == 0.0


@pytest.mark.parametrize("objective", objectives.OBJECTIVES)
def test_a_score_is_a_probability_with_the_cross_entropy_alone(objective):
    """D's logit is the brightness: three images far from and near to what a sigmoid flattens."""

    class Brightness(nn.Module):
        @nn.compact
        def __call__(self, images, labels=None, *, train):
            return 5.0 * jnp.mean(images, axis=(1, 2, 3))

    settings = make_alternative(objective=objective)
    latents = jnp.zeros((3, 8)).at[:, 0].set(jnp.array([-1.0, 0.2, 1.0]))
    gan = dataclasses.replace(
        recipe.create_gan(settings.gan, lambda axis_name: (LinearGenerator(), Brightness()), 1),
        draw_latents=lambda key, seeds: latents,
    )
    kernel = jnp.zeros((8, 32 * 32)).at[0].set(1.0)
    networks = Networks({"params": {"kernel": kernel}}, {"params": {}, "batch_stats": {}})
    scores = Sampler(gan, jax.random.key(0), 3).draw_scored(networks, 0, 3).scores
    logits = np.array([-5.0, 1.0, 5.0])
    is_probability = objective in ("non_saturating", "saturating")
    expected = 1 / (1 + np.exp(-logits)) if is_probability else logits
    np.testing.assert_allclose(scores, expected, rtol=1e-5)


def test_the_generator_waits_for_its_critic():
    settings = make_alternative(objective="wasserstein", num_critic_steps=3)
    state, step = make_state(settings), make_step(settings)
    moved = []
    for number in range(6):
        new, _ = step(state, make_batch(), jax.random.key(number))
        moved.append(compute_difference(state.generator.params, new.generator.params) > 0.0)
        state = new
    assert moved == [False, False, True, False, False, True]


def test_between_two_updates_of_the_generator_nothing_of_it_moves():
    """Six steps with three of D for each of G, the moving average and statistics by hand."""
    settings = make_alternative(objective="wasserstein", num_critic_steps=3, ema_decay=0.9)
    state, step = make_state(settings), make_step(settings)
    generator, _ = settings.gan.create_networks()
    ema, stats = state.ema, state.generator.batch_stats
    for number in range(6):
        key = jax.random.key(number)
        if number in (2, 5):
            latents = jax.random.normal(jax.random.split(key, 4)[0], (8, 8))
            variables = state.generator.variables
            _, new = generator.apply(variables, latents, train=True, mutable=["batch_stats"])
            stats = new["batch_stats"]
        state, _ = step(state, make_batch(), key)
        if number in (2, 5):
            ema = jax.tree.map(
                lambda old, now: 0.9 * old + 0.1 * now, ema, state.generator.variables
            )
        assert compute_difference(state.generator.batch_stats, stats) < 1e-6
        assert compute_difference(state.ema, ema) < 1e-6
    assert compute_difference(state.ema, make_state(settings).ema) > 1e-4


@pytest.mark.slow
def test_spectral_norm_bounds_every_kernel():
    settings = make_alternative(discriminator_norm="spectral")
    state, step = make_state(settings), make_step(settings)
    _, discriminator = settings.gan.create_networks()
    for number in range(8):
        state, _ = step(state, make_batch(), jax.random.key(number))
    kernel = state.discriminator.params["down1"]["kernel"]
    sigma = state.discriminator.batch_stats["down1_spectral"]["down1/kernel/sigma"]
    largest = np.linalg.svd(np.reshape(kernel, (-1, kernel.shape[-1])), compute_uv=False)[0]
    assert float(sigma) == pytest.approx(largest, rel=0.1)
    scaled = jax.tree.map(lambda leaf: 3.0 * leaf, state.discriminator.params)
    images = jax.random.normal(jax.random.key(9), (4, 32, 32, 1))

    @jax.jit
    def score(params):
        variables = {"params": params, "batch_stats": state.discriminator.batch_stats}
        # eight passes: the singular vectors are followed one step a pass
        for _ in range(8):
            logits, updates = discriminator.apply(
                variables, images, train=True, mutable=["batch_stats"]
            )
            variables = {"params": params, **updates}
        return logits - params["head"]["bias"]

    zero_bias = {
        name: {**layer, "bias": jnp.zeros_like(layer["bias"])} for name, layer in scaled.items()
    }
    plain = {
        name: {**layer, "bias": jnp.zeros_like(layer["bias"])}
        for name, layer in state.discriminator.params.items()
    }
    np.testing.assert_allclose(score(zero_bias), score(plain), rtol=0.05, atol=1e-4)


def test_adaptive_strength_rises_while_d_knows_the_real_images():
    adaptation = two_player.Adaptation(target=0.6, ramp_images=100)
    strength = jnp.float32(0.0)
    for _ in range(4):
        strength = adaptation.adapt(strength, jnp.float32(0.9), 10)
    assert float(strength) == pytest.approx(0.4)
    assert float(adaptation.adapt(strength, jnp.float32(0.2), 10)) == pytest.approx(0.3)
    assert float(adaptation.adapt(jnp.float32(0.95), jnp.float32(1.0), 10)) == 1.0
    settings = replace(SETTINGS, augment_target=0.6, augment_ramp_images=80)
    state = make_state(settings)
    assert float(state.augment_strength) == 0.0
    new, metrics = make_step(settings)(state, make_batch(), jax.random.key(1))
    expected = max(0.0, np.sign(float(metrics["d_real_sign"]) - 0.6) * 8 / 80)
    assert float(new.augment_strength) == pytest.approx(expected)


def test_the_averages_of_logits_begin_at_the_first_ones_and_forget():
    lecam = two_player.Lecam(weight=1.0, decay=0.9)
    means, averages = np.array([[2.0, -1.0], [4.0, 0.0], [0.0, 5.0]]), jnp.zeros(2)
    for number, of_step in enumerate(means):
        averages = lecam.follow(averages, jnp.array(of_step), jnp.int32(number))
        shares = 0.9 ** np.arange(number, -1, -1)
        expected = shares @ means[: number + 1] / shares.sum()
        np.testing.assert_allclose(averages, expected, rtol=1e-5)


def test_a_state_has_averages_of_logits_only_for_lecam():
    """Checkpoints of runs without it stay what they were."""
    without, settings = make_state(), make_alternative(lecam_weight=0.1)
    assert without.logit_averages is None
    state = create_state(settings, jax.random.key(0))
    np.testing.assert_array_equal(state.logit_averages, [0.0, 0.0])
    assert len(jax.tree.leaves(state)) == len(jax.tree.leaves(without)) + 1


@pytest.mark.slow
@pytest.mark.parametrize(("size", "channels"), [(32, 3), (64, 1), (128, 1)])
def test_a_step_runs_at_every_size(size, channels):
    settings = replace(SETTINGS, image_size=size, channels=channels)
    images = make_image_set(4, size=size, channels=channels)
    batch = Batch(jnp.asarray(images.images), jnp.asarray(images.labels))
    state = make_state(settings)
    _, metrics = make_step(settings)(state, batch, jax.random.key(1))
    assert metrics["first_fake"].shape == (size, size, channels)
    assert np.isfinite(metrics["loss_d"])
