"""A whole GMD run, small: its report, its guards, resuming."""

import functools
import json
import shutil

import jax
import numpy as np
import pytest

from jaxgan.classifiers.step import create_classifier_state
from jaxgan.core.errors import UserError
from jaxgan.data.sets import Dataset
from jaxgan.experiments import train_classifier as module
from jaxgan.experiments.classifier_runs import restore_classifier
from jaxgan.experiments.train_classifier import describe_run, train_classifier
from jaxgan.sampling.kept import KeptImages
from jaxgan.sampling.synthetic import load_synthetic
from jaxgan.training.checkpoint import Checkpoints
from jaxgan.training.run_folder import open_run_folder, read_metrics, read_record
from tests.helpers import (
    compute_difference,
    list_content,
    make_dataset,
    make_dcgan_settings,
    make_gmd_settings,
    make_image_set,
    replace,
    write_run,
)

SETTINGS = make_gmd_settings()
DATASET = make_dataset(size=24)


def train(workdir, settings=SETTINGS, dataset=DATASET, **kwargs):
    train_classifier(settings, dataset=dataset, workdir=workdir, num_devices=1, **kwargs)
    return workdir


def read_report(run):
    return json.loads((run / "report.json").read_text())


def restore(run):
    create = functools.partial(
        create_classifier_state,
        jax.random.key(0),
        classifier=SETTINGS.classifier.create(2),
        optimizer=SETTINGS.optimizer.create(),
    )
    with Checkpoints(run / "checkpoints", best_metric="val_accuracy") as checkpoints:
        return checkpoints.resume(create)[1]


def write_kept(workdir, name, num, *, finished=True, rule="paper_text"):
    """A run with so many kept images, without training it."""
    run = write_run(workdir, name, make_dcgan_settings(selection={"rule": rule}))
    with open_run_folder(run, read_record(run)) as folder:
        images = KeptImages(folder, rule="none", target=num)
        seeds = np.arange(num)
        images.add(make_image_set(num).images, seeds=seeds, scores=seeds, epoch=1)
        if finished:
            folder.finish(3)
    return run


@pytest.fixture(scope="module")
def synthetic_dir(tmp_path_factory):
    """Runs of both classes on the same data, as the fingerprint says, that have kept images."""
    workdir = tmp_path_factory.mktemp("dcgan")
    for name in DATASET.class_names:
        write_kept(workdir, name, 4)
    return workdir


@pytest.fixture(scope="module")
def both_arms(tmp_path_factory, synthetic_dir):
    workdir = tmp_path_factory.mktemp("gmd")
    train(workdir)
    return train(workdir, synthetic_dir=synthetic_dir)


def test_the_report_counts_every_real_image_once(both_arms):
    report = read_report(both_arms / "real")
    assert report["arm"] == "real"
    for moment in ("last", "best"):
        assert report[moment]["train"]["count"] == 22
        assert report[moment]["val"]["count"] == 9
        low, high = report[moment]["val"]["accuracy"]["interval"]
        assert 0 <= low <= report[moment]["val"]["accuracy"]["value"] <= high <= 1
    assert report["synthetic_images"] == {"left": 0, "right": 0}
    assert report["best"]["epoch"] in (1, 2)
    assert "optimistic" in report["best"]["note"]


def test_the_augmented_arm_trains_on_more_and_is_judged_on_the_same(both_arms):
    real, augmented = (read_report(both_arms / arm) for arm in ("real", "augmented"))
    assert augmented["synthetic_images"] == {"left": 4, "right": 4}
    assert augmented["last"]["val"]["count"] == real["last"]["val"]["count"] == 9
    assert augmented["last"]["train"]["count"] == 22
    steps = [read_metrics(both_arms / arm)[-1]["step"] for arm in ("real", "augmented")]
    assert steps == [6, 8]


def test_what_a_run_leaves(both_arms):
    for arm in ("real", "augmented"):
        for name in ("config.json", "metrics.jsonl", "report.json"):
            assert (both_arms / arm / name).is_file()
        for name in ("accuracy.png", "confusion_matrix.png"):
            assert (both_arms / arm / "figures" / name).is_file()


def test_the_arms_are_printed_side_by_side(both_arms, capsys, synthetic_dir):
    train(both_arms, synthetic_dir=synthetic_dir)
    out = capsys.readouterr().out
    assert "is finished" in out
    assert "real" in out
    assert "augmented" in out
    assert "not a verdict" in out


def test_validation_is_never_touched_by_generated_images(synthetic_dir):
    sets = load_synthetic(synthetic_dir, DATASET)
    for label, name in enumerate(DATASET.class_names):
        images = sets[name]
        assert images.images.shape == (4, 24, 24, 1)
        assert (images.labels == label).all()
        assert set(images.patients) == {"synthetic"}


def test_generators_of_other_data_are_refused(synthetic_dir):
    other = Dataset("other", DATASET.class_names, DATASET.splits, fingerprint="e" * 64)
    with pytest.raises(UserError, match="generated from other data or another split"):
        load_synthetic(synthetic_dir, other)


def test_missing_generators_are_told_with_the_command_that_makes_them(tmp_path):
    with pytest.raises(UserError, match=r"train_dcgan.py --class=all --workdir="):
        load_synthetic(tmp_path, DATASET)


def test_runs_that_kept_nothing_are_told(tmp_path):
    for name in DATASET.class_names:
        write_kept(tmp_path, name, 0)
    with pytest.raises(UserError, match="have kept no image at all"):
        load_synthetic(tmp_path, DATASET)


def test_a_class_without_a_generated_image_is_refused_or_left_out_on_purpose(tmp_path, capsys):
    write_kept(tmp_path, "left", 3)
    with pytest.raises(UserError, match="no kept images of right"):
        load_synthetic(tmp_path, DATASET)
    right = write_kept(tmp_path, "right", 0)
    with pytest.raises(
        UserError, match=r"runs of right in .* have kept no image, but those of left"
    ):
        load_synthetic(tmp_path, DATASET)
    (right / "finished.json").unlink()
    with pytest.raises(
        UserError, match=r"right in .* were stopped .*sample.py --class=CLASS --keep"
    ):
        load_synthetic(tmp_path, DATASET)
    sets = load_synthetic(tmp_path, DATASET, ["left"])
    assert {name: images.images.shape for name, images in sets.items()} == {
        "left": (3, 24, 24, 1),
        "right": (0, 24, 24, 1),
    }
    record = describe_run(SETTINGS, DATASET, sets)
    assert record["synthetic"]["images"] == {"left": 3, "right": 0}
    assert capsys.readouterr().out == ""
    with pytest.raises(UserError, match="--augment_classes names up: the classes of made are"):
        load_synthetic(tmp_path, DATASET, ["left", "up"])


def test_the_few_images_of_a_run_that_was_stopped_are_said(tmp_path, capsys):
    write_kept(tmp_path, "left", 3)
    write_kept(tmp_path, "right", 2, finished=False)
    before = list_content(tmp_path)
    assert len(load_synthetic(tmp_path, DATASET)["right"]) == 2
    assert list_content(tmp_path) == before  # reading only reads
    out = capsys.readouterr().out
    assert "class right in" in out and "the 2 images that it had kept are added" in out
    assert "--keep" in out and "class left" not in out


def test_a_stopped_run_of_the_listing_is_told_to_go_on_and_nothing_else(tmp_path, capsys):
    """No command draws for it afterwards."""
    write_kept(tmp_path, "left", 2, finished=False, rule="paper_code")
    write_kept(tmp_path, "right", 3)
    assert len(load_synthetic(tmp_path, DATASET)["left"]) == 2
    out = capsys.readouterr().out
    assert "2 images that it had kept are added. For more, let it go on." in out
    assert "--keep" not in out
    write_kept(tmp_path / "other", "left", 0, finished=False, rule="paper_code")
    write_kept(tmp_path / "other", "right", 3)
    with pytest.raises(UserError, match=r"have kept no image\. Let them go on\. --augment_classes"):
        load_synthetic(tmp_path / "other", DATASET)


def test_kept_images_that_were_deleted_or_damaged_have_their_sentence(tmp_path):
    for name in DATASET.class_names:
        write_kept(tmp_path, name, 3)
    file = tmp_path / "left" / "accepted" / "epoch_00001_0000001.png"
    content = file.read_bytes()
    file.unlink()
    with pytest.raises(UserError, match=r"names 1 image\(s\) .*0000001.png\): restore"):
        load_synthetic(tmp_path, DATASET)
    file.write_bytes(content[:-30])
    with pytest.raises(UserError, match=r"0000001.png is damaged or cut off"):
        load_synthetic(tmp_path, DATASET)
    file.write_text("text")
    with pytest.raises(UserError, match=r"0000001.png is not a PNG"):
        load_synthetic(tmp_path, DATASET)
    file.write_bytes(content)
    assert len(load_synthetic(tmp_path, DATASET)["left"]) == 3


@pytest.mark.parametrize("content", ["", "[]", "null", "{}", '{"arm": "real", "last": 3}'])
def test_a_report_that_was_edited_is_left_out_of_the_table(both_arms, tmp_path, content, capsys):
    shutil.copytree(both_arms, tmp_path / "gmd")
    (tmp_path / "gmd" / "real" / "report.json").write_text(content)
    text = module._format_arms(tmp_path / "gmd")
    assert "augmented" in text and "Validation accuracy, augmented minus real" not in text
    assert "real/report.json is damaged or was edited" in capsys.readouterr().out


def test_a_report_without_the_data_s_fingerprint_is_no_traceback(both_arms, tmp_path, capsys):
    """Which only the sentence on both arms reads."""
    shutil.copytree(both_arms, tmp_path / "gmd")
    file = tmp_path / "gmd" / "augmented" / "report.json"
    report = json.loads(file.read_text())
    del report["data"]["fingerprint"]
    file.write_text(json.dumps(report))
    assert "Validation accuracy, augmented minus" not in module._format_arms(tmp_path / "gmd")
    assert "augmented/report.json is damaged or was edited" in capsys.readouterr().out


def test_a_longer_run_continues_bit_for_bit(both_arms, tmp_path):
    train(tmp_path, replace(SETTINGS, num_epochs=1))
    train(tmp_path)
    whole = both_arms / "real"
    assert compute_difference(restore(tmp_path / "real"), restore(whole)) == 0.0
    for name in ("metrics.jsonl", "report.json", "figures/accuracy.png"):
        assert (tmp_path / "real" / name).read_bytes() == (whole / name).read_bytes()


def test_too_few_outputs_have_their_sentence(tmp_path):
    with pytest.raises(UserError, match="num_outputs is 1 and the data have 2 classes"):
        train(tmp_path, make_gmd_settings(num_outputs=1))


def test_the_best_epoch_is_the_best_of_all_that_were_validated(tmp_path, monkeypatch):
    """Epoch 2 of 4 is made the best, between two checkpoints by epochs."""
    accuracies, states = {1: 0.2, 2: 0.9, 3: 0.4, 4: 0.3}, {}

    def validate(predict, images, moment):
        states[moment.epoch] = jax.tree.map(np.array, moment.state)
        return {"val_accuracy": accuracies[moment.epoch], "val_loss": 1.0}

    monkeypatch.setattr(module, "_validate", validate)
    train(tmp_path, replace(SETTINGS, num_epochs=4, checkpoint_every_epochs=3))
    assert read_report(tmp_path / "real")["best"]["epoch"] == 2
    with Checkpoints(tmp_path / "real" / "checkpoints", best_metric="val_accuracy") as checkpoints:
        best = checkpoints.restore(checkpoints.best_step, states[2])
    assert compute_difference(best, states[2]) == 0.0
    assert compute_difference(best, states[4]) > 0.0


def test_a_test_split_is_reported_too(tmp_path):
    splits = {**DATASET.splits, "test": make_dataset(24, num_val=7).val}
    dataset = Dataset("made", DATASET.class_names, splits, DATASET.fingerprint)
    train(tmp_path, replace(SETTINGS, num_epochs=1), dataset)
    report = read_report(tmp_path / "real")
    assert report["last"]["test"]["count"] == 7
    assert np.isfinite(report["last"]["test"]["accuracy"]["value"])


def test_one_class_is_nothing_to_classify(tmp_path):
    alone = replace(DATASET, class_names=("left",))
    with pytest.raises(
        UserError, match=r"made has only one class \(left\), but a classifier distinguishes"
    ):
        train(tmp_path, dataset=alone)
    assert not list(tmp_path.iterdir())


# Rates, classes, early stopping -----------------------------------------------------------------

UNEVEN = replace(
    DATASET,
    splits={
        **DATASET.splits,
        "train": DATASET.train.take(np.array([0, 1, 2, 4, 5, 6, 8, 10, 12, 14, 16])),
    },
)


@pytest.mark.slow  # the state of a plateau is saved as every state is: tests/test_classifiers.py
def test_all_that_may_be_told_of_a_training_goes_on_bit_for_bit(tmp_path):
    """A rate by the loss, augmentation, balanced batches, a part that says when to stop."""
    told = {"schedule": {"name": "plateau", "patience_epochs": 1, "factor": 0.1}}
    told |= {"classic_augmentation": True, "balanced_batches": True}
    told |= {"stopping_share": 0.4, "learning_rate": 1e-9, "stopping_patience": 9}
    cut, whole = (
        train(tmp_path / name, make_gmd_settings(**told, num_epochs=num), UNEVEN)
        for name, num in (("cut", 1), ("whole", 4))
    )
    train(tmp_path / "cut", make_gmd_settings(**told, num_epochs=4), UNEVEN)
    for name in ("metrics.jsonl", "report.json", "figures/accuracy.png"):
        assert (cut / "real" / name).read_bytes() == (whole / "real" / name).read_bytes()
    rates = [line["learning_rate"] for line in read_metrics(whole / "real")]
    # No loss falls by a share of 1e-4 at such a rate, but by chance of what is drawn.
    assert rates[0] == pytest.approx(1e-9) and rates[-1] < 5e-10
    assert read_report(whole / "real")["last"]["train"]["count"] == 11
    assert all("stopping_loss" in line for line in read_metrics(whole / "real"))


def test_every_class_counts_the_same_by_balanced_weights():
    settings = make_gmd_settings(class_weights="balanced")
    parts = (settings, None, None, None, UNEVEN, UNEVEN.train, None, {}, None)
    weights = module._Training(*parts).class_weights
    assert weights == pytest.approx((11 / (2 * 9), 11 / (2 * 2)))
    assert module._Training(make_gmd_settings(), *parts[1:]).class_weights is None


def stop_by(losses, monkeypatch):
    def validate(predict, parts, moment):
        assert sorted(parts) == ["stopping", "val"]
        # By validation every epoch is better than the one before.
        loss = losses[moment.epoch - 1]
        return {"val_accuracy": moment.epoch / 10, "val_loss": 1.0, "stopping_loss": loss}

    monkeypatch.setattr(module, "_validate", validate)


def test_a_training_stops_where_its_part_has_not_improved_for_so_long(
    tmp_path, monkeypatch, capsys
):
    stop_by([0.5, 0.4, 0.6, 0.4, 0.1, 0.1], monkeypatch)
    settings = make_gmd_settings(stopping_share=0.3, stopping_patience=2, num_epochs=6)
    run = train(tmp_path, settings) / "real"
    report, lines = read_report(run), read_metrics(run)
    assert report["epochs"] == 4 and lines[-1]["epoch"] == 4
    assert report["best"]["epoch"] == 2  # the earlier one of equals
    assert "a part of the training images" in report["best"]["note"]
    assert "Stopped early, after epoch 4: no epoch since 2 was better." in capsys.readouterr().out
    best = restore_classifier(run, "best", cache_dir=tmp_path)
    assert best.step == lines[1]["step"] and lines[1]["epoch"] == 2
    before = (run / "metrics.jsonl").read_bytes()
    train(tmp_path, settings)
    assert "is finished: it stopped early, after epoch 4." in capsys.readouterr().out
    (run / "finished.json").unlink()  # as killed after its last step
    train(tmp_path, settings)
    assert (run / "metrics.jsonl").read_bytes() == before
    assert read_report(run) == report


def test_between_two_measurements_nothing_stops(tmp_path, monkeypatch):
    """Epoch 2 is the best one measured; epochs 4 and 6 are, 5 is not."""
    stop_by([0.0, 0.4, 0.0, 0.6, 0.0, 0.5, 0.0, 0.1], monkeypatch)
    settings = make_gmd_settings(
        stopping_share=0.3, stopping_patience=3, num_epochs=8, evaluate_every_epochs=2
    )
    run = train(tmp_path, settings) / "real"
    assert read_report(run)["epochs"] == 6


def test_what_says_when_to_stop_is_of_other_patients(tmp_path):
    train_set = DATASET.train
    patients = tuple(f"p{number // 3}" for number in range(len(train_set)))
    dataset = replace(
        DATASET, splits={**DATASET.splits, "train": replace(train_set, patients=patients)}
    )
    learned, stopping = module._divide(make_gmd_settings(stopping_share=0.3), dataset)
    assert not set(learned.patients) & set(stopping.patients)
    assert len(learned) + len(stopping) == 22 and 4 <= len(stopping) <= 9
    assert set(learned.labels) == set(stopping.labels) == {0, 1}
    assert module._divide(make_gmd_settings(), dataset) == (dataset.train, None)
    alone = replace(train_set, patients=("p",) * len(train_set))
    dataset = replace(DATASET, splits={**DATASET.splits, "train": alone})
    with pytest.raises(UserError, match=r"config.stopping_share is 0.3 but .* Or set config.stop"):
        train(tmp_path, make_gmd_settings(stopping_share=0.3), dataset)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"class_weights": "equal"}, "config.class_weights is 'equal', expected one of none, bal"),
        (
            {"class_weights": "balanced", "balanced_batches": True},
            "config.class_weights is 'balanced', expected none with config.balanced_batches",
        ),
        ({"stopping_share": 0.6}, r"config.stopping_share is 0.6, expected 0 \(off\) to 0.5"),
        ({"stopping_patience": 0}, "config.stopping_patience is 0, expected 1 or more"),
    ],
)
def test_a_wrong_field_is_named(changes, sentence):
    with pytest.raises(UserError, match=sentence):
        make_gmd_settings(**changes)
