"""What every family of GANs has to do, and a toy of two stages that nothing else knows of."""

import contextlib
import typing

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import dcgan, fastgan, mlp, projected, r3gan
from jaxgan.core.errors import UserError
from jaxgan.core.settings import read_settings, to_dict
from jaxgan.core.types import Batch
from jaxgan.devices.parallel import Dispatcher
from jaxgan.experiments import train_gan as module
from jaxgan.experiments.train_gan import create_stages, train_gan
from jaxgan.gans import families
from jaxgan.gans.protocol import Given, describe_shapes
from jaxgan.sampling.runs import create_sampler, restore_run
from jaxgan.sampling.settings import TrainGanSettings
from jaxgan.training.feed import ResidentFeed
from jaxgan.training.keys import create_keys
from jaxgan.training.loop import Stopped
from tests.helpers import (
    compute_difference,
    make_dataset,
    make_dcgan_settings,
    make_image_set,
    make_small_eye,
    widen,
)
from tests.toy_gan import ToySettings

TINY = {"image_size": 32, "channels": 1, "latent_size": 8, "diffaugment": False}
FEW = {"generator_width": 2, "discriminator_width": 2}
SETTINGS = {
    "dcgan": (dcgan, {**TINY, "generator_width": 4, "discriminator_width": 4}),
    "mlp": (mlp, {**TINY, "generator_width": 8, "discriminator_width": 8}),
    "projected": (
        projected,
        {
            **{**TINY, "generator_width": 4, "discriminator_width": 4, "projection_width": 4},
            **{"eye_weights": "random", "eye_size": 64},
        },
    ),
    "r3gan": (r3gan, {**TINY, **FEW, "max_features": 4, "group_size": 4}),
    "fastgan": (fastgan, {**TINY, **FEW}),
}
TOY = {"family": "toy", "image_size": 32, "channels": 1, "rate": 0.5, "mean_epochs": 2}
NAMES = [*SETTINGS, "toy"]
# Their programs are large: two of them compile for minutes.
LARGE = ("fastgan", "projected", "r3gan")
SLOW_IF_LARGE = [
    pytest.param(name, marks=pytest.mark.slow) if name in LARGE else name for name in NAMES
]


@pytest.fixture(autouse=True)
def toy_is_known(monkeypatch):
    """The one line that a newcomer adds."""
    monkeypatch.setattr(families, "GanSettings", families.GanSettings | ToySettings)


@pytest.fixture(autouse=True)
def eye_is_small(monkeypatch):
    make_small_eye(monkeypatch)
    monkeypatch.setattr(module, "list_rulers", lambda: ())  # one has that network too


def make_values(name):
    if name == "toy":
        return TOY
    config, changes = SETTINGS[name]
    return {**config.get_config("quick").gan.to_dict(), **changes}


def make_settings(name, **changes):
    """A run of a family, of few epochs."""
    values = to_dict(make_dcgan_settings(selection={"rule": "none"}, num_epochs=4))
    return read_settings(TrainGanSettings, {**values, "gan": make_values(name), **changes})


def test_every_family_is_tried_here():
    members = typing.get_args(families.GanSettings)
    assert sorted(member.family for member in members) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_config_comes_back_as_it_was_written(name):
    settings = make_settings(name)
    assert settings.gan.family == name
    assert read_settings(TrainGanSettings, to_dict(settings)) == settings


def test_a_family_that_is_not_there_is_told_with_those_that_are():
    with pytest.raises(
        UserError, match=r"config.gan.family is 'dcgna', expected one of dcgan, mlp, .*, toy"
    ):
        make_settings("toy", gan={**TOY, "family": "dcgna"})
    with pytest.raises(UserError, match=r"config.gan.rate is missing"):
        make_settings("toy", gan={"family": "toy", "image_size": 32, "channels": 1})


@pytest.mark.parametrize("name", NAMES)
def test_stages_add_up_and_all_but_the_last_keep_their_length(name):
    lengths = {
        num: [stage.num_epochs for stage in make_settings(name).gan.create(num).stages]
        for num in (4, 9)
    }
    assert {num: sum(found) for num, found in lengths.items()} == {4: 4, 9: 9}
    assert lengths[4][:-1] == lengths[9][:-1]


def test_a_run_that_ends_before_its_last_stage_is_refused():
    with pytest.raises(UserError, match=r"given 2 epochs, expected more than 2: .* 'spread'"):
        make_settings("toy", num_epochs=2).create_gan()


@pytest.mark.parametrize("name", NAMES)
def test_no_step_and_no_beginning_changes_the_tree(name):
    gan = make_settings(name).create_gan()
    state, shapes = gan.create_state(jax.random.key(0)), describe_shapes(gan)
    assert describe(state) == describe(shapes)
    for stage in gan.stages:
        state = stage.begin(state)
        assert describe(state) == describe(shapes)
        # Only traced: a run, below, compiles it, and ends where a loss is not finite.
        step = stage.create_step(None, 0)
        new, metrics = jax.eval_shape(step, state, make_batch(), jax.random.key(1))
        assert describe(new) == describe(shapes)
        assert {"loss_d", "loss_g"} <= metrics.keys()


def describe(tree):
    return jax.tree.map(lambda leaf: (leaf.shape, str(leaf.dtype)), tree)


def make_batch():
    images = make_image_set(8)
    return Batch(jnp.asarray(images.images), jnp.asarray(images.labels))


@pytest.mark.parametrize("name", NAMES)
def test_an_image_depends_on_its_seed_alone_and_stays_in_range(name):
    settings = make_settings(name)
    gan = settings.create_gan()
    networks = gan.get_networks(gan.create_state(jax.random.key(0)))
    together = create_sampler(settings, gan).draw(networks, 0, 11)
    assert (together.shape, together.dtype) == ((11, 32, 32, 1), np.uint8)
    alone = create_sampler(settings, gan).draw(networks, 10, 1)
    np.testing.assert_array_equal(alone[0], together[10])
    latents = gan.draw_latents(jax.random.key(0), jnp.arange(3, dtype=jnp.uint32))
    images = gan.generate(networks.generator, latents, Given())
    assert images.shape == (3, 32, 32, 1)
    assert float(jnp.abs(images).max()) <= 1.0


@pytest.mark.parametrize("name", NAMES)
def test_latents_are_truncated_where_the_family_says_how_and_refused_elsewhere(name):
    gan, selection = make_settings(name).create_gan(), {"rule": "none", "truncation": 0.5}
    values = {**to_dict(make_settings(name).selection), **selection}
    if gan.draw_truncated is None:
        sentence = r"selection.truncation is 0.5, but truncation does not apply to this family"
        with pytest.raises(UserError, match=sentence):
            make_settings(name, selection=values)
        return
    seeds = jnp.arange(40, dtype=jnp.uint32)
    latents = gan.draw_truncated(jax.random.key(0), seeds, 0.5)
    shapes = jax.eval_shape(gan.draw_latents, jax.random.key(0), seeds)
    assert describe(latents) == describe(shapes)
    assert 0.9 < float(jnp.abs(latents).max()) < 1.0
    settings = make_settings(name, selection=values)
    assert create_sampler(settings, gan).truncation == 1.0  # while it trains


@pytest.mark.parametrize("name", NAMES)
def test_scores_are_finite_and_of_each_image_alone(name):
    settings = make_settings(name)
    gan, images = settings.create_gan(), make_image_set(10).images
    networks = gan.get_networks(gan.create_state(jax.random.key(0)))
    sampler = create_sampler(settings, gan)
    scores = sampler.score(networks, images)
    assert scores.shape == (10,)
    assert np.isfinite(scores).all()
    assert scores.std() > 0.0
    np.testing.assert_allclose(sampler.score(networks, images[7:8]), scores[7:8], rtol=1e-5)
    samples = sampler.draw_scored(networks, 0, 10)
    assert np.isfinite(samples.scores).all()
    if gan.to_probability is not None:
        assert ((samples.scores >= 0.0) & (samples.scores <= 1.0)).all()


@pytest.mark.parametrize("name", SLOW_IF_LARGE)
def test_one_device_and_two_learn_the_same(name):
    settings = make_settings(name)
    # In float64 where many normalised layers, or Adam without momentum, enlarge a rounding error.
    with jax.enable_x64(name in ("projected", "fastgan")):
        one, two = (fit(settings, jax.devices()[:num]) for num in (1, 2))
        assert compute_difference(one, two) < 1e-4
        assert compute_difference(one.step, fit(settings, jax.devices()[:1], 2).step) > 0


def fit(settings, devices, num_steps=6):
    """The state after some steps of the first stage."""
    gan, images = settings.create_gan(), make_image_set(24)
    plan, keys = settings.create_plan(len(images), gan.borders), create_keys(0)
    feed = ResidentFeed(images, keys.data, plan, devices)
    step = gan.stages[0].start_at(0)
    dispatcher = Dispatcher(step, feed, keys.steps, devices=devices, max_steps=plan.max_steps)
    state = dispatcher.to_devices(jax.tree.map(widen, gan.create_state(keys.init)))
    for begin in range(num_steps):
        state, _ = jax.block_until_ready(dispatcher(state, begin, begin + 1))
    return dispatcher.to_host(state)


@pytest.mark.parametrize("name", NAMES)
def test_a_run_that_was_stopped_ends_as_one_that_was_not(name, tmp_path, monkeypatch):
    """Where there are stages at each epoch, and so within every one and on their border."""
    settings, dataset = make_settings(name), make_dataset(num_train=48)
    options = {"dataset": dataset, "class_name": "left", "num_devices": 1}
    whole = train_gan(settings, **options, workdir=tmp_path / "whole")
    expected = restore_run(whole.folder, "newest").networks
    for epoch in (1, 2, 3) if len(settings.create_gan().stages) > 1 else (2,):
        workdir = tmp_path / f"stopped{epoch}"
        with monkeypatch.context() as patch:
            patch.setattr("jaxgan.training.loop.catch_stop_signals", stop_at(epoch))
            with pytest.raises(Stopped, match=f"after epoch {epoch} of 4"):
                train_gan(settings, **options, workdir=workdir)
        again = train_gan(settings, **options, workdir=workdir)
        assert compute_difference(restore_run(again.folder, "newest").networks, expected) == 0.0
        assert again.metrics == whole.metrics
        assert [path.name for path in again.kept] == [path.name for path in whole.kept]
    assert whole.report is not None
    assert len(whole.kept) == 24
    assert {"samples.png", "losses.png", "metric.png"} <= {path.name for path in whole.figures}


def test_what_draws_is_compiled_in_a_thread_and_not_again(tmp_path, caplog):
    settings = make_settings("mlp", num_epochs=1, gan=make_values("mlp") | {"diffaugment": True})
    with jax.log_compiles(True):  # of this thread alone
        train_gan(
            settings, dataset=make_dataset(), class_name="left", workdir=tmp_path, num_devices=1
        )
    assert "XLA compilation of jit(_run_steps)" in caplog.text
    for name in ("generate", "score", "augment"):
        assert f"XLA compilation of jit({name})" not in caplog.text


def stop_at(dispatch):
    """Signals of which one comes during a dispatch: here each is one epoch."""

    @contextlib.contextmanager
    def catch():
        signals = iter([*[0] * (dispatch - 1), 15])
        yield lambda: next(signals)

    return catch


def test_the_stages_of_a_run_begin_where_the_one_before_ends():
    settings = make_settings("toy", batch_size=7)
    gan, images = settings.create_gan(), make_image_set(24)
    plan = settings.create_plan(len(images), gan.borders)
    first, second = create_stages(settings, gan, plan, images, jax.devices()[:1])
    assert (first.first_step, second.last_step) == (0, plan.num_steps)
    assert first.last_step == second.first_step == plan.compute_end_of_epoch(2)
    step, ends = 0, []
    while step < plan.num_steps:
        step = plan.compute_next(step)
        ends.append(step)
    assert first.last_step in ends
