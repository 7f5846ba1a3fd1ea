"""What is trained anew is, to the byte, what commit 032031b trained: see data/README.md."""

import os
import subprocess

import jax
import numpy as np
import pytest

from jaxgan.classifiers.step import create_classifier_state
from jaxgan.core.settings import read_settings
from jaxgan.experiments.train_classifier import TrainClassifierSettings
from jaxgan.sampling.settings import TrainGanSettings
from jaxgan.training.checkpoint import Checkpoints
from jaxgan.training.keys import create_keys
from jaxgan.training.run_folder import read_record
from tests.old_runs import unpack_format_1
from tests.test_launch import CONFIG, make_command

pytestmark = [
    pytest.mark.slow,  # compiled as at a user's, not as in the other tests
    pytest.mark.skipif(
        jax.__version__ != "0.10.2", reason="other versions of jax compile other programs"
    ),
]
SIZES = ("image_size=32", "generator_width=2", "discriminator_width=2", "latent_size=4")
CADENCES = ("look", "sample", "checkpoint", "measure")
GAN = (
    f"--config={CONFIG / 'dcgan.py:quick'}",
    *(f"--config.gan.{size}" for size in SIZES),
    *(f"--config.{name}_every_epochs=1" for name in CADENCES),
    *("--config.batch_size=8", "--config.num_epochs=3", "--num_accept=6"),
)
GMD = (
    f"--config={CONFIG / 'gmd.py:quick'}",
    *("--config.classifier.image_size=32", "--config.classifier.width=8"),
    *("--config.batch_size=8", "--config.eval_batch_size=8", "--config.num_epochs=3"),
)
RULES = {"left": ("--accept=paper_text", "--threshold=0.01"), "right": ()}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return unpack_format_1(tmp_path_factory.mktemp("bytes"))


def train(place, name, workdir, *flags):
    flags = (f"--data_dir={place / 'films'}", f"--workdir={workdir}", *flags)
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    command = make_command(name, place, *flags)
    subprocess.run(command, env=environment | {"JAX_PLATFORMS": "cpu"}, check=True, timeout=300)


def read_state(folder, cls, create_shapes):
    shapes = create_shapes(read_settings(cls, read_record(folder)["settings"]))
    with Checkpoints(folder / "checkpoints", read_only=True) as checkpoints:
        newest = checkpoints.newest_step
        assert newest is not None
        return [np.asarray(leaf) for leaf in jax.tree.leaves(checkpoints.restore(newest, shapes))]


def check_same(old, new, cls, create_shapes):
    assert (new / "metrics.jsonl").read_bytes() == (old / "metrics.jsonl").read_bytes()
    found, expected = (read_state(folder, cls, create_shapes) for folder in (new, old))
    assert len(found) == len(expected) > 10
    for leaf, other in zip(found, expected, strict=True):
        assert (leaf.dtype, leaf.shape) == (other.dtype, other.shape)
        assert leaf.tobytes() == other.tobytes()


@pytest.mark.parametrize("name", RULES)
def test_a_dcgan_and_its_kept_images(name, place, tmp_path):
    train(place, "train_dcgan", tmp_path, f"--class={name}", *GAN, *RULES[name])
    old, new = place / "finished" / "dcgan" / name, tmp_path / name

    def create_shapes(settings):
        return jax.eval_shape(settings.create_gan().create_state, jax.random.key(0))

    check_same(old, new, TrainGanSettings, create_shapes)
    kept = sorted(path.name for path in (old / "accepted").iterdir())
    assert len(kept) == 6
    for file in kept:
        assert (new / "accepted" / file).read_bytes() == (old / "accepted" / file).read_bytes()


@pytest.mark.parametrize("arm", ["real", "augmented"])
def test_a_classifier(arm, place, tmp_path):
    added = ("--augment", f"--synthetic_dir={place / 'finished' / 'dcgan'}")
    train(place, "train_gmd", tmp_path, *GMD, *(added if arm == "augmented" else ()))

    def create_shapes(settings):
        parts = {
            "classifier": settings.classifier.create(2),
            "optimizer": settings.optimizer.create(),
        }
        return jax.eval_shape(
            lambda: create_classifier_state(create_keys(settings.seed).init, **parts)
        )

    old = place / "finished" / "gmd" / arm
    check_same(old, tmp_path / arm, TrainClassifierSettings, create_shapes)
