"""Runs of every earlier format are read, and go on, for ever: see tests/data/README.md."""

import json
import shutil

import numpy as np
import pytest

from configs import dcgan, gmd, study
from jaxgan.core.settings import read_settings
from jaxgan.data.source import DataSpec, load_dataset
from jaxgan.evaluation.fidelity import list_rulers
from jaxgan.evaluation.subjects import check_same_data
from jaxgan.experiments.train_classifier import TrainClassifierSettings, train_classifier
from jaxgan.experiments.train_gan import (
    describe_run,
    make_conditional,
    train_conditional,
    train_gan,
)
from jaxgan.sampling.kept import read_table
from jaxgan.sampling.runs import draw_from_run, restore_run
from jaxgan.sampling.settings import TrainGanSettings
from jaxgan.sampling.synthetic import load_synthetic
from jaxgan.study.run import run_jobs
from jaxgan.study.settings import StudySettings
from jaxgan.training.record import describe_differences, flatten
from jaxgan.training.run_folder import read_metrics, read_record
from tests.helpers import list_content, replace
from tests.old_runs import unpack_format_1

RUNS = (
    "finished/dcgan/left",
    "finished/dcgan/right",
    "finished/conditional/left",
    "finished/conditional/right",
    "stopped/dcgan/left",
    "stopped/conditional/right",
)
_CADENCES = ("look", "sample", "checkpoint", "measure")


def make_dcgan(num_epochs, **selection):
    """The settings of those runs, as today's config gives them to the same command."""
    config = dcgan.get_config("quick")
    small = {"image_size": 32, "generator_width": 2, "discriminator_width": 2, "latent_size": 4}
    config.gan.update(small)
    config.update({"batch_size": 8, "num_epochs": num_epochs})
    config.update({f"{name}_every_epochs": 1 for name in _CADENCES})
    config.selection.update({"num_accept": 6} | selection)
    return read_settings(TrainGanSettings, config.to_dict())


def make_gmd(num_epochs):
    config = gmd.get_config("quick")
    config.classifier.update({"image_size": 32, "width": 8})
    config.update({"batch_size": 8, "eval_batch_size": 8, "num_epochs": num_epochs})
    return read_settings(TrainClassifierSettings, config.to_dict())


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    """Where nothing may change."""
    return unpack_format_1(tmp_path_factory.mktemp("old"))


@pytest.fixture(scope="module")
def films(old, tmp_path_factory):
    cache_dir = tmp_path_factory.mktemp("cache")
    return load_dataset(DataSpec(old / "films"), image_size=32, channels=1, cache_dir=cache_dir)


def copy(old, tmp_path, name):
    shutil.copytree(old / name, tmp_path / name)
    return tmp_path / name


def test_they_are_read_and_left_as_they_are(old, films):
    before = list_content(old)
    for name in RUNS:
        check_same_data(old / name, films)
        images = draw_from_run(old / name, num=3)
        assert images.shape == (3, 32, 32, 1)
        assert len(read_table(old / name)) == (6 if name.startswith("finished") else 0)
    kept = load_synthetic(old / "finished" / "dcgan", films)
    assert [len(images) for images in kept.values()] == [6, 6]
    for name in ("finished/gmd/real", "finished/gmd/augmented", "finished/study"):
        assert read_record(old / name)["data"]["fingerprint"] == films.fingerprint
    assert list_content(old) == before


def test_a_kept_image_is_drawn_again_from_its_seed(old):
    """So what was restored is what was saved."""
    run = old / "finished" / "dcgan" / "right"
    row = read_table(run)[-1]
    restored = restore_run(run)
    samples = restored.sampler.draw_scored(restored.networks, row.seed, 1)
    assert samples.scores[0] == pytest.approx(row.score, abs=1e-4)


def test_no_record_of_theirs_differs_from_what_the_same_command_gives_today(old, films):
    left = make_dcgan(3, rule="paper_text", threshold=0.01)
    for name, settings in (("left", left), ("right", make_dcgan(3))):
        record = read_record(old / "finished" / "dcgan" / name)
        today = json.loads(json.dumps(describe_run(settings, films, name)))
        assert describe_differences(record, today) == ""
        noted = {n: v for n, v in flatten(record).items() if ".targets." not in n}
        assert noted == flatten(today)
        other = describe_run(make_dcgan(3, num_accept=7), films, name)
        assert "num_accept was 6 and is 7" in describe_differences(record, other)


def test_a_finished_run_says_so_and_goes_on_with_more_epochs(old, films, tmp_path, capsys):
    workdir = copy(old, tmp_path, "finished/dcgan")
    options = {"dataset": films, "class_name": "right", "workdir": workdir, "num_devices": 1}
    before = read_table(workdir / "right")
    train_gan(make_dcgan(3), **options)
    assert "is finished: 3 epochs" in capsys.readouterr().out
    assert read_table(workdir / "right") == before
    train_gan(make_dcgan(5), **options)
    assert "Going on after epoch 3 of 5" in capsys.readouterr().out
    check_went_on(old / "finished/dcgan/right", workdir / "right", 5)


def check_went_on(old_run, run, num_epochs):
    """The lines up to the checkpoint are the old ones, the state is of the last epoch."""
    lines, before = read_metrics(run), read_metrics(old_run)
    assert lines[0] == before[0]
    assert lines[-1]["epoch"] == num_epochs
    assert np.isfinite([value for line in lines for value in line.values()]).all()
    config = json.loads((run / "config.json").read_text())
    assert config["format"] >= 1
    assert config["settings"]["num_epochs"] == num_epochs


def test_a_stopped_run_goes_on_to_its_end(old, films, tmp_path):
    """With other cadences of what is only to be looked at, which takes less time."""
    workdir = copy(old, tmp_path, "stopped/dcgan")
    settings = replace(make_dcgan(40), sample_every_epochs=40, look_every_epochs=40)
    train_gan(settings, dataset=films, class_name="left", workdir=workdir, num_devices=1)
    check_went_on(old / "stopped/dcgan/left", workdir / "left", 40)
    assert restore_run(workdir / "left", "newest").step == 50
    assert len(read_table(workdir / "left")) == 6


@pytest.mark.slow
def test_a_model_of_all_classes_goes_on(old, films, tmp_path):
    for name, num_epochs in (("stopped", 40), ("finished", 4)):
        workdir = copy(old, tmp_path, f"{name}/conditional")
        settings = make_conditional(make_dcgan(num_epochs), films, "all")
        train_conditional(settings, dataset=films, workdir=workdir, num_devices=1)
        check_went_on(old / name / "conditional" / "all", workdir / "all", num_epochs)
        assert [len(read_table(workdir / n)) for n in films.class_names] == [6, 6]


def test_classifiers_go_on(old, films, tmp_path):
    workdir = copy(old, tmp_path, "stopped/gmd")
    train_classifier(make_gmd(40), dataset=films, workdir=workdir, num_devices=1)
    check_went_on(old / "stopped/gmd/real", workdir / "real", 40)
    workdir = copy(old, tmp_path, "finished/gmd")
    synthetic_dir = old / "finished" / "dcgan"
    options = {"dataset": films, "workdir": workdir, "num_devices": 1}
    train_classifier(make_gmd(4), synthetic_dir=synthetic_dir, **options)
    check_went_on(old / "finished/gmd/augmented", workdir / "augmented", 4)


def make_study(old):
    """The settings of that study, as today's config gives them to the same command.

    `old` are the values that its record has, in the names of before.
    """
    config = study.get_config("quick")
    config.update({name: old[name] for name in config if name in old and name != "data"})
    for group, values in (("gan", old["dcgan"]), ("classifier", old["gmd"])):
        config[group].update({name: values[name] for name in config[group] if name in values})
    gmd_names = {"name": "optimizer", "learning_rate": "learning_rate", "momentum": "momentum"}
    config.optimizer.update({new: old["gmd"][name] for new, name in gmd_names.items()})
    config.update({name: old["gmd"][name] for name in ("batch_size", "eval_batch_size")})
    gan = old["dcgan"]
    config.gan_epochs, config.gan_batch_size = gan["num_epochs"], gan["batch_size"]
    config.threshold = gan["selection"]["threshold"]
    return read_settings(StudySettings, config.to_dict())


def test_no_job_of_a_finished_study_is_done_again(old, films, tmp_path, capsys):
    workdir = copy(old, tmp_path, "finished/study")
    settings = make_study(read_record(workdir)["settings"])
    parts = [
        load_dataset(DataSpec(old / "films"), image_size=size, channels=1, cache_dir=tmp_path)
        for size in (settings.classifier.image_size, settings.gan.image_size)
    ]
    before = list_content(workdir / "jobs")
    results = run_jobs(
        settings, dataset=parts[0], gan_dataset=parts[1], workdir=workdir, num_devices=1
    )
    after = list_content(workdir / "jobs")
    del before["."]  # the folder, whose time is that of the newest file
    assert {name: after[name] for name in before} == before and len(before) == 14
    added = {name.partition("-")[0] for name in after.keys() - before.keys() - {"."}}
    assert added == set(list_rulers())  # its generators are measured now, and nothing else is done
    assert results.failures == [] and all(len(done) == 2 for done in results.classifiers.values())
    assert "changed" not in capsys.readouterr().out
