"""jaxgan from Python: names, settings by name, images, trainings that return their result."""

import ast
import doctest
import importlib
import os
import pydoc
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jaxgan
from jaxgan.api import trained, training
from jaxgan.api.errors import convert_errors
from jaxgan.core.errors import DiskError, UserError
from jaxgan.experiments.classifier_runs import describe_training_data
from jaxgan.experiments.train_classifier import TrainClassifierSettings
from jaxgan.sampling.runs import RestoredRun
from jaxgan.sampling.settings import TrainGanSettings
from jaxgan.training.loop import Stopped
from jaxgan.training.run_folder import write_record
from tests.helpers import make_dcgan_settings, write_run, write_split_folder

MODULES = ("settings", "images", "training", "trained", "evaluation")
# Their examples draw films, or train.
SLOW = ("load_phantom", "train_gan", "train_classifier", "load_generator", "load_classifier")


# Names -----------------------------------------------------------------------------------------


def test_all_names_are_there_and_the_types_that_mypy_sees_are_those():
    typed = {
        alias.name: node.module
        for node in ast.walk(ast.parse(Path(jaxgan.__file__).read_text()))
        if isinstance(node, ast.ImportFrom) and node.module.startswith("jaxgan.")
        for alias in node.names
    }
    assert set(typed) == set(jaxgan.__all__)
    for name, module in typed.items():
        assert getattr(jaxgan, name) is getattr(importlib.import_module(module), name)
    assert set(jaxgan.__all__) <= set(dir(jaxgan))
    with pytest.raises(AttributeError, match="has no attribute 'train_gans'"):
        jaxgan.train_gans  # noqa: B018


def test_help_has_examples_and_every_function():
    text = pydoc.plain(pydoc.render_doc(jaxgan))
    assert 'jaxgan.load_folder("films")' in text
    assert all(f"    {name}(" in text for name in jaxgan.__all__ if name[0].islower())


def test_the_import_loads_nothing_large():
    code = (
        "import sys, jaxgan; dir(jaxgan); jaxgan.__version__;"
        "print([m for m in ('jax', 'numpy', 'scipy', 'PIL', 'absl') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# Settings --------------------------------------------------------------------------------------


def test_settings_are_those_of_a_config_with_changes():
    changes = {"num_epochs": 3, "gan.generator_width": 8}
    settings = jaxgan.load_gan_settings("dcgan:quick", changes)
    assert isinstance(settings, TrainGanSettings)
    assert (settings.num_epochs, settings.gan.generator_width) == (3, 8)
    assert settings.gan.discriminator_width == 16  # of :quick
    assert jaxgan.load_gan_settings("mlp").gan.family == "mlp"
    assert jaxgan.load_classifier_settings("gmd:quick").classifier.width == 32
    assert jaxgan.load_study_settings("study:quick").num_folds == 3


@pytest.mark.parametrize(
    ("name", "changes", "sentence"),
    [
        (
            "dcgn",
            {},
            "config 'dcgn': expected one of ablate, classifier, dcgan, ",
        ),
        ("dcgan:quik", {}, "has no variant 'quik'"),
        ("dcgan:quick", {"gan.width": 8}, "config.gan.width is not known"),
        ("dcgan:quick", {"gan.widths.first": 8}, "config.gan.widths is not known"),
        (None, {}, "a config of type NoneType: expected a name, such as 'dcgan:quick'"),
    ],
)
def test_a_mistake_is_a_sentence(name, changes, sentence):
    with pytest.raises(UserError, match=sentence):
        jaxgan.load_gan_settings(name, changes)


# Wrong types are given on purpose.
_phantom: Any = jaxgan.load_phantom
_arrays: Any = jaxgan.load_arrays


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda films: films.at(0), "image_size is 0, expected a whole number, 1 or more"),
        (lambda films: films.at("32"), "image_size is '32'"),
        (lambda films: films.at(32, 2), r"channels is 2, expected 1 \(gray\) or 3"),
        (lambda films: _phantom(images_per_class=2.5), "images_per_class is 2.5"),
        (lambda films: jaxgan.load_phantom(seed=-1), "seed is -1, expected a whole number, 0"),
        (lambda films: _arrays([], [], val_fraction="0.2"), "val_fraction is '0.2'"),
    ],
)
def test_a_wrong_number_is_a_sentence(make, sentence):
    films = np.random.default_rng(0).integers(0, 256, (40, 16, 16), np.uint8)
    with pytest.raises(UserError, match=sentence):
        make(jaxgan.load_arrays(films, ["healthy", "ill"] * 20))


# Mistakes --------------------------------------------------------------------------------------


def test_a_notebook_shows_a_mistake_without_a_traceback():
    with pytest.raises(UserError) as found, convert_errors():
        raise DiskError("runs is full: choose another --workdir or --config.x=1, not a - b.")
    sentence = "DiskError: runs is full: choose another workdir or config.x=1, not a - b."
    assert found.value._render_traceback_() == [sentence]
    with pytest.raises(UserError, match=r"epoch 3 of 9.* The same call"), convert_errors():
        raise Stopped(3, 9, 2)
    with pytest.raises(DiskError, match="No space left"), convert_errors():
        raise OSError(28, "No space left on device", "x")
    with pytest.raises(ZeroDivisionError), convert_errors():
        raise ZeroDivisionError


# Images ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("api")
    write_split_folder(place / "data", num_train=24, num_val=8)
    (place / "data" / "x y").mkdir()
    return jaxgan.load_folder(
        place / "data",
        cache_dir=place / "cache",
        fit="pad",
        split_seed=5,
        leave_out=["x y"],
    )


def test_a_folder_has_classes_splits_and_arrays(folder):
    assert folder.class_names == ("left", "right")
    assert repr(folder) == "<Images of data: 24 train, 8 val; classes left, right>"
    assert folder.count() == {n: {"train": 12, "val": 4} for n in ("left", "right")}
    images = folder.get_images("val", "right", image_size=20, channels=3)
    assert (images.shape, images.dtype) == ((4, 20, 20, 3), np.uint8)
    with pytest.raises(UserError, match="no split 'vall': expected one of train, val"):
        folder.get_images("vall", "right", image_size=20)
    with pytest.raises(UserError, match="no class 'wrong'"):
        folder.get_images("val", "wrong", image_size=20)


def test_what_the_folder_decides_is_not_changed_by_a_training(folder, tmp_path):
    for name in ("data.val_fraction", "fit"):
        with pytest.raises(UserError, match=f"{name} is set when .*give it to load_folder"):
            jaxgan.train_classifier("gmd:quick", folder, workdir=tmp_path, **{name: 0.3})
    with pytest.raises(UserError, match="Found data of type str: expected the result of"):
        jaxgan.run_study("study:quick", "films")
    settings = jaxgan.load_gan_settings("mlp:quick")
    with pytest.raises(UserError, match="without a folder for the run: give workdir="):
        jaxgan.train_gan(settings, folder, "left")


# Trainings -------------------------------------------------------------------------------------


def test_trainings_get_the_images_in_their_size_and_record_where_they_are(folder, monkeypatch):
    given = {}
    for module, name in ((training.gans, "train_gan"), (training.classifiers, "train_classifier")):
        monkeypatch.setattr(module, name, lambda settings, **o: given.update(o, settings=settings))
    changes = {"num_epochs": 2, "gan.generator_width": 8}
    jaxgan.train_gan("dcgan:quick", folder, "left", **changes)
    settings = given["settings"]
    assert (settings.num_epochs, settings.gan.generator_width) == (2, 8)
    assert (settings.data.fit, settings.data.split_seed) == ("pad", 5)
    assert given["dataset"].train.images.shape == (24, 64, 64, 1)
    assert (given["class_name"], given["workdir"]) == ("left", Path("runs/dcgan-quick"))
    assert given["notes"] == {
        "data": str(folder.root.resolve()),
        "command": "'--leave_out=x y'",
    }
    settings = jaxgan.load_classifier_settings("gmd:quick", {"classifier.image_size": 32})
    jaxgan.train_classifier(settings, folder, workdir="~/a", synthetic_dir="b")
    assert given["dataset"].train.images.shape == (24, 32, 32, 1)
    assert (given["workdir"], given["synthetic_dir"]) == (Path.home() / "a", Path("b"))
    assert given["settings"].data.fit == "pad"


def test_the_record_of_a_run_finds_the_images_again(folder, tmp_path):
    settings = training._resolve(TrainClassifierSettings, "gmd:quick", folder, {})
    write_record(tmp_path, {"kind": "classifier"}, folder.notes)
    assert describe_training_data(tmp_path, settings, None) == replace(
        folder.load.args[0], data_dir=folder.root.resolve()
    )


def test_a_study_gets_the_images_in_two_sizes(folder, monkeypatch):
    given = {}
    monkeypatch.setattr(training.studies, "run_study", lambda settings, **o: given.update(o))
    jaxgan.run_study("study:quick", folder, **{"gan.image_size": 64})
    assert given["dataset"].train.images.shape == (24, 32, 32, 1)
    assert given["gan_dataset"].train.images.shape == (24, 64, 64, 1)
    jaxgan.run_study("study:tiny", folder)
    assert given["gan_dataset"] is given["dataset"]


class NumberedSampler:
    """Draws images of one gray: that of the seed."""

    def draw(self, networks, first_seed, num):
        seeds = np.arange(first_seed, first_seed + num, dtype=np.uint8)
        return np.broadcast_to(seeds[:, None, None, None], (num, 32, 32, 1))


def test_a_generator_draws_by_seed_and_shows_its_images(tmp_path, monkeypatch):
    made = RestoredRun(make_dcgan_settings(), None, None, NumberedSampler(), 0)
    monkeypatch.setattr(trained, "restore_run", lambda run, checkpoint, choice: made)
    generator = jaxgan.load_generator(tmp_path)
    assert generator.sample(3, seed=4)[:, 0, 0, 0].tolist() == [4, 5, 6]
    assert generator._repr_html_().count("<img") == 8
    assert repr(generator) == f"<Generator of {tmp_path}: dcgan, images of 32x32x1>"
    with pytest.raises(UserError, match="num is 0"):
        generator.sample(0)
    with pytest.raises(UserError, match=r"seed is 1\.5, expected a whole number, 0 or more"):
        generator.sample(2, seed=1.5)


def test_a_generator_draws_with_the_truncation_of_its_run_or_with_another(tmp_path):
    generator, cut = (
        jaxgan.load_generator(
            write_run(tmp_path / name, settings=make_dcgan_settings(selection=selection))
        )
        for name, selection in (("usual", {}), ("cut", {"truncation": 0.5}))
    )
    usual, halved = generator.sample(4, seed=2), cut.sample(4, seed=2)
    assert (usual != halved).any()
    for given in (0.5, np.float32(0.5)):
        np.testing.assert_array_equal(generator.sample(4, seed=2, truncation=given), halved)
    for given in (1, 1.0):
        np.testing.assert_array_equal(cut.sample(4, seed=2, truncation=given), usual)
    np.testing.assert_array_equal(generator.sample(4, seed=2), usual)
    for wrong in (0, 2.0, "0.5", [0.5]):
        with pytest.raises(UserError, match=r"truncation is .*, expected a number above 0"):
            generator.sample(1, truncation=wrong)


def test_a_run_of_another_kind_has_its_sentence(tmp_path):
    run = write_run(tmp_path, label=0)  # no state is made for it
    with pytest.raises(UserError, match="run of a gan: expected one of a classifier"):
        jaxgan.load_classifier(run)
    with pytest.raises(UserError, match="The checkpoint is 'last': expected 'best' or 'newest'"):
        jaxgan.load_generator(run, checkpoint="last")


def test_a_class_of_a_model_of_all_classes_is_chosen_by_its_folder(tmp_path):
    model = write_run(tmp_path, "all", make_dcgan_settings(num_classes=2), measured={})
    with pytest.raises(UserError) as found:
        jaxgan.load_generator(model)
    expected = f"choose one of them by its folder, such as load_generator('{tmp_path}/CLASS')."
    assert str(found.value).endswith(expected)


# Examples --------------------------------------------------------------------------------------


class LastLines(doctest.OutputChecker):
    """Compares the end of what was printed: before it, a training says how far it is."""

    def check_output(self, want, got, optionflags):
        lines = got.splitlines(keepends=True)
        last = "".join(lines[max(len(lines) - len(want.splitlines()), 0) :])
        return super().check_output(want, last, optionflags)


def run_examples(folder, *, slow):
    """Run the examples of the docstrings in `folder`; return how many ran."""
    kept = os.getcwd()  # noqa: PTH109
    os.chdir(folder)
    try:
        runner = doctest.DocTestRunner(
            LastLines() if slow else doctest.OutputChecker(),
            optionflags=doctest.ELLIPSIS,
            verbose=False,
        )
        for module in MODULES:
            found = importlib.import_module(f"jaxgan.api.{module}")
            known = {**vars(found), "jaxgan": jaxgan, "np": np}
            for test in doctest.DocTestFinder().find(found, extraglobs=known):
                if (test.name.rpartition(".")[2] in SLOW) == slow:
                    runner.run(test)
        assert runner.failures == 0
        return runner.tries
    finally:
        os.chdir(kept)


def test_examples_of_the_docstrings_give_what_they_say(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert run_examples(tmp_path, slow=False) == 10


@pytest.mark.slow
def test_long_examples_of_the_docstrings_give_what_they_say(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert run_examples(tmp_path, slow=True) == 19
