"""A run read from its folder: at which state, what of it is drawn; and that reading only reads."""

import json
import shutil

import jax
import numpy as np
import pytest

from jaxgan.core.errors import UserError
from jaxgan.experiments.sample import sample_run
from jaxgan.sampling.runs import (
    draw_from_run,
    find_model,
    has_checkpoints,
    read_run_settings,
    restore_run,
)
from tests.helpers import (
    compute_difference,
    get_networks,
    list_content,
    make_dcgan_settings,
    replace,
    restore_newest,
    write_run,
)

SETTINGS = make_dcgan_settings()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Checkpoints of steps 2 (the best), 3 and 5."""
    measured = {2: 1.0, 3: 2.0, 5: 3.0}
    return write_run(tmp_path_factory.mktemp("dcgan"), settings=SETTINGS, measured=measured)


def test_reading_a_run_writes_nothing(run, tmp_path):
    copy = tmp_path / "dcgan" / "left"
    shutil.copytree(run, copy)
    (copy / "checkpoints" / "7.orbax-checkpoint-tmp-9").mkdir()  # of a training under way
    (copy / "checkpoints" / "rejected" / "1").mkdir(parents=True)
    before = list_content(copy.parent)
    for checkpoint in ("best", "newest", None):
        draw_from_run(copy, num=2, checkpoint=checkpoint)
    read_run_settings(copy)
    sample_run(copy, tmp_path / "out", num=2)
    assert has_checkpoints(copy)
    assert list_content(copy.parent) == before
    shutil.rmtree(copy / "checkpoints")
    before = list_content(copy.parent)
    with pytest.raises(UserError, match="has no checkpoint yet"):
        draw_from_run(copy, num=2)
    assert not has_checkpoints(copy)
    assert list_content(copy.parent) == before


def test_it_is_said_where_the_best_checkpoint_is_gone(run, tmp_path, capsys):
    shutil.copytree(run, tmp_path / "left")
    restore_run(tmp_path / "left")
    assert capsys.readouterr().out == ""
    shutil.rmtree(tmp_path / "left" / "checkpoints" / "2")
    assert restore_run(tmp_path / "left").step == 3
    assert "of step 2 (epoch 1), is gone: the checkpoint of step 3 is" in capsys.readouterr().out
    restore_run(tmp_path / "left", "newest")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"gan": {"latent_size": "8"}},
            r"json was edited.*gan.latent_size is '8', expected a whole",
        ),
        ({"batch_size": None}, "batch_size is None"),
        ({"selection": 3}, "selection is 3, expected a group"),
        ({"seed": 5}, "of another run: settings.seed was 0 and is 5"),
        ({"gan": {"latent_size": 9}}, "of another run: settings.gan.latent_size was 8 and is 9"),
        ({"num_epochs": 2}, "of another run: settings.num_epochs was 3 and is 2"),
        ({"nonsense": 1}, r"another version of jaxgan: config.nonsense is not known"),
        ({"gan": {"nonsense": 1}}, r"version of jaxgan: config.gan.nonsense is not known"),
        ({"gan": {"family": "began"}}, r"config.gan.family is 'began', expected one of dcgan"),
        ({"gan": 3}, "config.gan.family is None|config.gan is 3, expected a group"),
    ],
)
def test_settings_that_were_edited_have_their_sentence(run, tmp_path, changes, sentence):
    shutil.copytree(run, tmp_path / "left")
    file = tmp_path / "left" / "config.json"
    record = json.loads(file.read_text())
    gan = changes.get("gan", {})
    gan = record["settings"]["gan"] | gan if isinstance(gan, dict) else gan
    record["settings"] |= {**changes, "gan": gan}
    file.write_text(json.dumps(record))
    with pytest.raises(UserError, match=sentence):
        draw_from_run(tmp_path / "left", num=2)


def test_a_setting_that_is_gone_has_its_sentence(run, tmp_path):
    shutil.copytree(run, tmp_path / "left")
    file = tmp_path / "left" / "config.json"
    record = json.loads(file.read_text())
    del record["settings"]["gan"]["beta1"]
    file.write_text(json.dumps(record))
    with pytest.raises(UserError, match=r"another version of jaxgan: config.gan.beta1 is missing"):
        draw_from_run(tmp_path / "left", num=2)


def test_the_networks_are_those_of_the_state_that_was_chosen(run):
    """Or the tests above would see nothing: each checkpoint of this run is twice the one before."""
    best, newest = (restore_run(run, name) for name in ("best", "newest"))
    assert (best.step, newest.step, restore_run(run).step) == (2, 5, 2)
    four_times = jax.tree.map(lambda leaf: 4 * leaf, best.networks)
    assert compute_difference(four_times, newest.networks) == 0.0
    assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(best.networks)) > 0.0
    whole = get_networks(SETTINGS, restore_newest(run)[1])
    assert compute_difference(whole, newest.networks) == 0.0
    assert best.settings == SETTINGS and best.label is None


def test_the_generator_drawn_from_is_the_moving_average_where_one_is_kept(tmp_path):
    for decay in (0.0, 0.9):
        settings = replace(SETTINGS, ema_decay=decay)
        run = write_run(tmp_path / str(decay), settings=settings)
        _, state = restore_newest(run)
        assert (state.ema is None) == (decay == 0.0)
        state = state.replace(ema=None if state.ema is None else {"the": "average"})
        networks = get_networks(settings, state)
        assert networks.generator == (state.ema or state.generator.variables)
        assert networks.critic == state.discriminator.variables


def test_a_class_of_a_model_of_all_classes_is_drawn_with_its_label_from_the_model(tmp_path):
    settings = replace(SETTINGS, num_classes=2)
    model = write_run(tmp_path, "all", settings)
    right = write_run(tmp_path, "right", settings, label=1)
    assert find_model(right) == model == find_model(model)
    restored = restore_run(right)
    assert restored.label == restored.sampler.label == 1
    expected = restored.sampler.draw(restored.networks, 3, 2)
    np.testing.assert_array_equal(draw_from_run(right, num=2, seed=3), expected)
    with pytest.raises(UserError, match="model of all classes: choose one of them"):
        restore_run(model)


def test_a_run_of_something_else_has_its_sentence(run, tmp_path):
    shutil.copytree(run, tmp_path / "left")
    file = tmp_path / "left" / "config.json"
    record = json.loads(file.read_text())
    file.write_text(json.dumps(record | {"kind": "classifier"}))
    with pytest.raises(UserError, match="is a run of a classifier: expected the run of a GAN"):
        restore_run(tmp_path / "left")
