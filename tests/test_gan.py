"""The GAN step: what it changes, what it leaves, and the same on one device and two."""

import functools

import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgan import dcgan, gan, losses
from jaxgan.data.feed import create_feed
from jaxgan.parallel import Dispatcher, choose_devices
from jaxgan.types import Batch
from tests.helpers import compute_difference, make_dcgan_settings, make_image_set, replace

SETTINGS = make_dcgan_settings()


def make_batch(seed=0, num=8):
    images = make_image_set(num, seed=seed)
    return Batch(jnp.asarray(images.images), jnp.asarray(images.labels))


def make_step(settings=SETTINGS):
    return jax.jit(dcgan.create_step(settings, None))


def make_parts(settings=SETTINGS):
    state = dcgan.create_state(settings, jax.random.key(0))
    generator, discriminator = dcgan.create_networks(settings)
    return state, generator, discriminator, dcgan.create_optimizer(settings)


def test_the_discriminator_step_leaves_the_generator_and_learns():
    state, generator, discriminator, optimizer = make_parts()
    images = jnp.asarray(make_batch().images, jnp.float32) / 127.5 - 1.0
    fake = generator.apply(state.generator.variables, jnp.ones((8, 8)), train=False)
    network, losses_seen = state.discriminator, []
    for _ in range(10):
        network, metrics = gan.update_discriminator(
            network, real=images, fake=fake, discriminator=discriminator, optimizer=optimizer
        )
        losses_seen.append(float(metrics["loss_d"]))
    assert losses_seen[-1] < losses_seen[0] - 0.1
    assert losses_seen[0] == pytest.approx(2 * np.log(2), abs=0.2)


def test_no_gradient_reaches_the_fakes_through_the_discriminator_step():
    state, _, discriminator, optimizer = make_parts()

    def run(fake):
        network, _ = gan.update_discriminator(
            state.discriminator,
            real=jnp.zeros((4, 32, 32, 1)),
            fake=fake,
            discriminator=discriminator,
            optimizer=optimizer,
        )
        return sum(jnp.sum(leaf) for leaf in jax.tree.leaves(network.params))

    gradient = jax.grad(run)(jax.random.normal(jax.random.key(0), (4, 32, 32, 1)))
    assert not np.any(gradient)


def test_each_network_is_updated_by_its_own_optimizer_alone():
    """With one optimiser at rest, that network stays bit for bit and the other moves."""
    state, generator, discriminator, optimizer = make_parts()
    at_rest = optax.set_to_zero()
    step = functools.partial(
        gan.train_step,
        generator=generator,
        discriminator=discriminator,
        generator_loss_fn=losses.non_saturating_generator_loss,
        augment_fn=lambda images, keys: images,
        latent_size=8,
        ema_decay=0.0,
    )
    for resting, moving in (("generator", "discriminator"), ("discriminator", "generator")):
        optimizers = {f"{resting}_optimizer": at_rest, f"{moving}_optimizer": optimizer}
        begin = state.replace(
            **{resting: getattr(state, resting).replace(opt_state=at_rest.init(None))}
        )
        new, _ = jax.jit(functools.partial(step, **optimizers))(
            begin, make_batch(), jax.random.key(1)
        )
        old = getattr(state, resting).params
        assert compute_difference(getattr(new, resting).params, old) == 0.0
        assert compute_difference(getattr(new, moving).params, getattr(state, moving).params) > 0


def test_the_generator_sees_the_updated_discriminator():
    """With D's learning rate at its largest, the second score of the same fakes has to differ."""
    step = make_step(replace(SETTINGS, learning_rate=0.05, diffaugment=False))
    state = dcgan.create_state(SETTINGS, jax.random.key(0))
    _, metrics = step(state, make_batch(), jax.random.key(1))
    assert float(metrics["d_fake_after"]) < float(metrics["d_fake"]) - 0.05


def test_eq_3_is_another_gradient_than_the_listings():
    state = dcgan.create_state(SETTINGS, jax.random.key(0))
    new = {
        name: make_step(replace(SETTINGS, generator_loss=name))(
            state, make_batch(), jax.random.key(1)
        )[1]["loss_g"]
        for name in ("non_saturating", "saturating")
    }
    assert float(new["non_saturating"]) == pytest.approx(np.log(2), abs=0.2)
    assert float(new["saturating"]) == pytest.approx(-np.log(2), abs=0.2)


def test_the_moving_average_follows_the_generator():
    settings = replace(SETTINGS, ema_decay=0.9)
    state = dcgan.create_state(settings, jax.random.key(0))
    new, _ = make_step(settings)(state, make_batch(), jax.random.key(1))
    expected = jax.tree.map(
        lambda old, fresh: 0.9 * old + 0.1 * fresh,
        state.generator.variables,
        new.generator.variables,
    )
    assert compute_difference(new.ema, expected) < 1e-6
    assert new.sampling_variables is new.ema
    without = dcgan.create_state(replace(settings, ema_decay=0.0), jax.random.key(0))
    assert without.sampling_variables == without.generator.variables


def test_first_fake_is_the_first_image_of_the_step():
    state = dcgan.create_state(SETTINGS, jax.random.key(0))
    _, metrics = make_step()(state, make_batch(), jax.random.key(1))
    latent_key = jax.random.split(jax.random.key(1), 4)[0]
    generator, _ = dcgan.create_networks(SETTINGS)
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
    schedule = dcgan.create_schedule(replace(settings, num_epochs=1000), len(images))
    devices = choose_devices(num_devices)
    keys = dcgan.create_keys(0)
    traced = []

    def make_step(axis_name):
        def step(*args):
            traced.append(axis_name)
            return dcgan.create_step(settings, axis_name)(*args)

        return step

    feed = create_feed(images, keys.data, schedule, devices, resident_bytes=2**20)
    dispatcher = Dispatcher(make_step, feed, keys.steps, devices=devices, max_steps=4)
    state, step = dispatcher.place(dcgan.create_state(settings, keys.init)), 0
    while step < num_steps:
        begin, step = step, min(schedule.compute_next(step), num_steps)
        state, metrics = dispatcher(state, begin, step)
    return dispatcher.unplace(state), metrics, len(traced), step - begin


@pytest.mark.parametrize("diffaugment", [True, False])
def test_one_device_equals_two_batch_statistics_included(diffaugment):
    # A discriminator that wins outright would hide a difference: the rates are moderate.
    settings = replace(SETTINGS, diffaugment=diffaugment)
    one, one_metrics, _, rows = run_steps(settings, 1)
    two, two_metrics, _, _ = run_steps(settings, 2)
    assert compute_difference(one, two) < 1e-5
    for name in one_metrics:
        assert compute_difference(one_metrics[name][:rows], two_metrics[name][:rows]) < 1e-5, name


def test_the_step_is_compiled_once():
    """One trace for the shapes of the metrics and one for the program, however many dispatches."""
    for num_devices in (1, 2):
        _, _, few, _ = run_steps(SETTINGS, num_devices, num_steps=3)
        _, _, many, _ = run_steps(SETTINGS, num_devices, num_steps=11)
        assert few == many <= 3


def test_a_key_is_used_once():
    """JAX's own checker finds a key that is used and then split again."""
    state = dcgan.create_state(SETTINGS, jax.random.key(0))
    with jax.debug_key_reuse(True):
        dcgan.create_step(SETTINGS, None)(state, make_batch(), jax.random.key(1))


def test_latents_depend_on_their_seed_alone():
    key = jax.random.key(3)
    together = gan.draw_latents(key, jnp.arange(5), 7)
    np.testing.assert_array_equal(gan.draw_latents(key, jnp.array([3]), 7)[0], together[3])
    assert np.unique(np.asarray(together)).size == 35


def test_state_survives_a_round_trip_through_flax():
    state = dcgan.create_state(SETTINGS, jax.random.key(0))
    restored = flax.serialization.from_state_dict(state, flax.serialization.to_state_dict(state))
    assert compute_difference(state, restored) == 0.0
