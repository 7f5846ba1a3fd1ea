"""Kept images of a run that was stopped, drawn afterwards, and that it then goes on unharmed."""

import contextlib

import pytest

from jaxgan.core.errors import UserError
from jaxgan.experiments.keep import keep_images
from jaxgan.experiments.train_gan import train_gan
from jaxgan.sampling.kept import read_table
from jaxgan.training.loop import Stopped
from tests.helpers import (
    list_content,
    make_dataset,
    make_dcgan_settings,
    replace,
    write_run,
)

DATASET = make_dataset()
SETTINGS = make_dcgan_settings(
    measure_every_epochs=0, diffaugment=False, selection={"rule": "none", "num_accept": 7}
)


class Signals:
    """A signal that comes during the first dispatch."""

    def __enter__(self):
        return lambda: 15

    def __exit__(self, *_):
        return None


def train(workdir, *, stop=False, settings=SETTINGS):
    with pytest.MonkeyPatch.context() as patch:
        if stop:
            patch.setattr("jaxgan.training.loop.catch_stop_signals", Signals)
        with pytest.raises(Stopped) if stop else contextlib.nullcontext():
            train_gan(settings, dataset=DATASET, class_name="left", workdir=workdir, num_devices=1)
    return workdir / "left"


def read_files(run):
    """Everything that does not depend on the clock."""
    skipped = {"checkpoints", "events", ".lock"}
    return {
        name: content
        for name, (_, content) in list_content(run).items()
        if not skipped & set(name.split("/"))
    }


def test_a_stopped_run_keeps_images_by_its_own_rule_and_goes_on_as_if_it_had_not(tmp_path, capsys):
    whole = train(tmp_path / "whole")
    expected = read_files(whole)
    keep_images(tmp_path / "whole", "left", DATASET)  # of a finished run: the same again
    assert read_files(whole) == expected
    run = train(tmp_path / "stopped", stop=True)
    during = read_table(run)
    assert [row.epoch for row in during] == [1]
    keep_images(tmp_path / "stopped", "left", DATASET)
    rows = read_table(run)
    assert rows[:1] == during
    assert [(row.epoch, row.rule, row.is_final) for row in rows[1:]] == [(1, "none", True)] * 6
    assert {row.file for row in rows} == {path.name for path in (run / "accepted").iterdir()}
    assert "Kept 7 images of class left by rule none." in capsys.readouterr().out
    before = read_files(run)
    keep_images(tmp_path / "stopped", "left", DATASET)
    assert read_files(run) == before
    train(tmp_path / "stopped")
    assert read_files(run) == expected


def test_a_stopped_run_of_cut_latents_chosen_for_diversity_ends_as_one_that_was_not(tmp_path):
    selection = replace(SETTINGS.selection, rule="k_means", truncation=0.5)
    settings = replace(SETTINGS, selection=selection)
    whole = train(tmp_path / "whole", settings=settings)
    assert [row.rule for row in read_table(whole)] == ["k_means"] * 7
    run = train(tmp_path / "stopped", stop=True, settings=settings)
    assert read_table(run) == []
    with pytest.raises(UserError, match=r"selection\.truncation was 0\.5 and is 1\.0"):
        train(
            tmp_path / "stopped",
            settings=replace(settings, selection=replace(selection, truncation=1.0)),
        )
    train(tmp_path / "stopped", settings=settings)
    assert read_files(run) == read_files(whole)


@pytest.mark.parametrize("rule", ["paper_text", "top_k", "calibrated", "k_means", "farthest_point"])
def test_every_rule_keeps_what_it_does_at_the_end(tmp_path, rule):
    dataset = make_dataset(num_train=80)
    settings = replace(SETTINGS, selection=replace(SETTINGS.selection, rule=rule, threshold=0.0))
    run = write_run(tmp_path, settings=settings, dataset=dataset, measured={2: 1.0, 5: 2.0})
    for checkpoint, epoch in (("newest", 1), ("best", 0)):  # 36 or 40 images in batches of 8
        keep_images(tmp_path, "left", dataset, checkpoint=checkpoint)
        rows = read_table(run)
        assert [(row.epoch, row.rule) for row in rows] == [(epoch, rule)] * 7
        assert len(list((run / "accepted").iterdir())) == 7


def test_a_class_of_a_model_of_all_classes_keeps_its_own(tmp_path):
    settings = replace(SETTINGS, num_classes=2)
    write_run(tmp_path, "all", settings)
    left, right = (
        write_run(tmp_path, name, settings, label=label)
        for label, name in enumerate(DATASET.class_names)
    )
    keep_images(tmp_path, "right", DATASET)
    assert (len(read_table(left)), len(read_table(right))) == (0, 7)
    assert not (right / "checkpoints").exists()
    with pytest.raises(UserError, match=r"no class 'all' in made: the classes are left, right\.$"):
        keep_images(tmp_path, "all", DATASET)
    with pytest.raises(UserError, match="model of all classes: choose one of them"):
        keep_images(tmp_path, "all", replace(DATASET, class_names=("left", "all")))


def test_what_can_not_be_kept_has_its_sentence(tmp_path):
    selection = replace(SETTINGS.selection, rule="paper_code")
    run = write_run(tmp_path, settings=replace(SETTINGS, selection=selection))
    before = read_files(run)
    with pytest.raises(UserError, match="paper_code, which works only during training"):
        keep_images(tmp_path, "left", DATASET)
    with pytest.raises(UserError, match="no class 'up'"):
        keep_images(tmp_path, "up", DATASET)
    with pytest.raises(UserError, match="trained on other data"):
        keep_images(tmp_path, "left", replace(DATASET, fingerprint="e" * 64))
    assert read_files(run) == before
