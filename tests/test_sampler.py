"""Images from a run's folder: how many, from which state, where to; and that reading only reads."""

import json
import shutil

import jax
import numpy as np
import pytest
from PIL import Image

from jaxgan.core.errors import UserError
from jaxgan.experiments.sample import sample_run
from jaxgan.sampling.runs import (
    create_sampler,
    draw_from_run,
    has_checkpoints,
    read_run_settings,
    restore_run,
)
from jaxgan.sampling.sampler import draw_accepted
from tests.helpers import list_content, make_dcgan_settings, write_run

SETTINGS = make_dcgan_settings()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Checkpoints of steps 2 (the best), 3 and 5."""
    measured = {2: 1.0, 3: 2.0, 5: 3.0}
    return write_run(tmp_path_factory.mktemp("dcgan"), settings=SETTINGS, measured=measured)


def list_seeds(out):
    return sorted(int(path.stem.removeprefix("seed_")) for path in out.glob("seed_*.png"))


def test_without_a_rule_any_number_of_images_is_drawn(run, tmp_path, monkeypatch, capsys):
    """`max_tries` is for a rule: it stopped the others too, and the sentence of it then failed."""
    monkeypatch.setattr("jaxgan.sampling.sampler._PART", 16)
    monkeypatch.setattr("jaxgan.sampling.sampler.SHEET_IMAGES", 12)
    sample_run(run, tmp_path / "out", num=41, seed=7, max_tries=8)
    assert list_seeds(tmp_path / "out") == list(range(7, 48))
    assert "Wrote 41 images and grid.png (of the first 12)" in capsys.readouterr().out
    expected = draw_from_run(run, num=41, seed=7).images
    for seed, image in zip(range(7, 48), expected, strict=True):
        with Image.open(tmp_path / "out" / f"seed_{seed:07d}.png") as file:
            np.testing.assert_array_equal(np.asarray(file), image[..., 0])
    sampler, state = create_sampler(SETTINGS), restore_run(run).state
    options = {"num": 20, "first_seed": 0, "max_tries": 8}
    found, tries = draw_accepted(sampler, state, threshold=None, **options)
    assert (len(found.seeds), tries) == (20, 20)
    found, tries = draw_accepted(sampler, state, threshold=2.0, **options)
    assert (len(found.seeds), tries) == (0, 8)


@pytest.mark.parametrize("seed", [-1, 2**32 - 4, 2**63])
def test_seeds_that_no_image_is_made_from_have_their_sentence(run, tmp_path, seed):
    for draw in (draw_from_run, lambda run, **options: sample_run(run, tmp_path, **options)):
        with pytest.raises(UserError, match=f"from seed {seed} on were asked for"):
            draw(run, num=5, seed=seed)
    assert len(draw_from_run(run, num=5, seed=2**32 - 5).seeds) == 5


@pytest.mark.parametrize("threshold", [float("nan"), float("inf")])
def test_a_threshold_that_is_no_number_has_its_sentence(run, tmp_path, threshold):
    with pytest.raises(UserError, match=f"--threshold is {threshold}, expected a finite number"):
        sample_run(run, tmp_path / "out", num=2, threshold=threshold)
    assert not (tmp_path / "out").exists()


def test_images_of_two_generators_are_not_mixed(run, tmp_path):
    out = tmp_path / "out"
    sample_run(run, out, num=2)
    sample_run(run, out, num=2, seed=5)  # more of the same
    assert list_seeds(out) == [0, 1, 5, 6]
    other = write_run(tmp_path, "right", make_dcgan_settings(seed=1))
    before = list_content(out)
    for options in ({"checkpoint": "newest"}, {"threshold": 0.0}):
        with pytest.raises(UserError, match=r"holds images already \(grid.png, .*of step 2 of"):
            sample_run(run, out, num=2, **options)
    with pytest.raises(UserError, match="One folder holds the images of one generator"):
        sample_run(other, out, num=2)
    assert list_content(out) == before


@pytest.mark.parametrize("note", [None, "[]", "{", '{"generator": 1}'])
def test_a_folder_with_other_images_is_left_alone(run, tmp_path, note):
    (tmp_path / "film.JPG").write_bytes(b"mine")
    if note is not None:
        (tmp_path / "samples.json").write_text(note)
    before = list_content(tmp_path)
    with pytest.raises(UserError, match=r"holds images already \(film.JPG\)"):
        sample_run(run, tmp_path, num=1)
    assert list_content(tmp_path) == before
    (tmp_path / "film.JPG").unlink()
    sample_run(run, tmp_path, num=1)
    assert list_seeds(tmp_path) == [0]


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
    assert "of step 2 (epoch 1), is gone: that of step 3 takes" in capsys.readouterr().out
    restore_run(tmp_path / "left", "newest")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"latent_size": "8"}, r"config.json was edited.*latent_size is '8', expected a whole"),
        ({"batch_size": None}, "batch_size is None"),
        ({"selection": 3}, "selection is 3, expected a group"),
        ({"seed": 5}, "of another run: settings.seed was 0 and is 5"),
        ({"latent_size": 9}, "of another run: settings.gan.latent_size was 8 and is 9"),
        ({"num_epochs": 2}, "of another run: settings.num_epochs was 3 and is 2"),
        ({"nonsense": 1}, r"another version of jaxgan.*\(nonsense\)"),
    ],
)
def test_settings_that_were_edited_have_their_sentence(run, tmp_path, changes, sentence):
    shutil.copytree(run, tmp_path / "left")
    file = tmp_path / "left" / "config.json"
    record = json.loads(file.read_text())
    record["settings"] |= changes
    file.write_text(json.dumps(record))
    with pytest.raises(UserError, match=sentence):
        draw_from_run(tmp_path / "left", num=2)


def test_a_setting_that_is_gone_has_its_sentence(run, tmp_path):
    shutil.copytree(run, tmp_path / "left")
    file = tmp_path / "left" / "config.json"
    record = json.loads(file.read_text())
    del record["settings"]["beta1"]
    file.write_text(json.dumps(record))
    with pytest.raises(UserError, match=r"another version of jaxgan.*\(beta1\)"):
        draw_from_run(tmp_path / "left", num=2)


def test_the_two_states_of_a_run_differ(run):
    """Or the tests above would see nothing."""
    best, newest = (restore_run(run, name) for name in ("best", "newest"))
    assert (best.step, newest.step) == (2, 5)
    assert jax.tree.all(
        jax.tree.map(lambda a, b: (4 * a == b).all(), best.state.step, newest.state.step)
    )
