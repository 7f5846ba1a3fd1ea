"""The classifiers that a study keeps: their files, and what they predict together."""

import csv
import dataclasses
import io
import json
import shutil

import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxgan.classifiers.weights import create_shapes
from jaxgan.core.errors import UserError
from jaxgan.data.forms import prepare_image
from jaxgan.data.limits import read_file
from jaxgan.data.new_images import Asked, find_new_images
from jaxgan.data.source import DataSpec, load_dataset
from jaxgan.experiments.predict import predict_files
from jaxgan.experiments.prediction_output import (
    count_images,
    create_report,
    format_csv,
    report_predictions,
)
from jaxgan.experiments.study_runs import restore_arm
from jaxgan.metrics.regions import create_regions, share_inside
from jaxgan.reports.prediction_page import format_prediction
from jaxgan.study import run
from jaxgan.study.kept import FOLDER, measure_files, read_index, read_variables, write_variables
from jaxgan.training.many import Trainer
from tests.helpers import make_study_settings, replace
from tests.test_predict import use_no_encoder, write_images
from tests.toy_classifier import ToySettings

SETTINGS = make_study_settings(
    arms=("real", "duplicates"), amount_arms=("duplicates",), num_seeds=2, keep_classifiers=True
)


def create_toy(frozen=("conv", "norm")):
    toy = ToySettings(image_size=8, channels=1, rate=0.5).create(2)
    return dataclasses.replace(toy, frozen=frozen)


def draw_variables(classifier, seed=0):
    rng, shapes = np.random.default_rng(seed), flatten_dict(create_shapes(classifier))
    return unflatten_dict({n: rng.normal(size=s.shape).astype("f4") for n, s in shapes.items()})


def change_head(variables, value):
    head = {**variables["params"]["output"], "bias": np.full(2, value, np.float32)}
    return {**variables, "params": {**variables["params"], "output": head}}


def test_layers_that_do_not_learn_are_written_once(tmp_path):
    toy = create_toy()
    first = draw_variables(toy)
    for i in range(2):
        write_variables(tmp_path / f"{i}.npz", change_head(first, i), toy)
    for i in range(2):
        found = read_variables(tmp_path / f"{i}.npz", toy)
        expected = flatten_dict(change_head(first, i), sep="/")
        found = flatten_dict(found, sep="/")
        assert found.keys() == expected.keys()
        for name, array in expected.items():
            np.testing.assert_array_equal(found[name], array)
    (frozen,) = tmp_path.glob("frozen-*.npz")
    with np.load(frozen, allow_pickle=False) as arrays:
        assert {name.split("/")[1] for name in arrays} == {"conv", "norm"}
    frozen.unlink()
    with pytest.raises(UserError, match="is damaged or gone"):
        read_variables(tmp_path / "0.npz", toy)


def test_a_file_of_another_network_is_a_sentence(tmp_path):
    toy = create_toy(frozen=())
    write_variables(tmp_path / "a.npz", draw_variables(toy), toy)
    larger = ToySettings(image_size=16, channels=1, rate=0.5).create(2)
    with pytest.raises(UserError, match="is of another network"):
        read_variables(tmp_path / "a.npz", larger)
    arrays = flatten_dict(draw_variables(toy), sep="/")
    np.savez(tmp_path / "b.npz", **{name: array.astype("U9") for name, array in arrays.items()})
    with pytest.raises(UserError, match="is of another network"):
        read_variables(tmp_path / "b.npz", toy)


def test_the_disk_that_they_need_is_known_before():
    found = measure_files(SETTINGS, 2, 8)
    shapes = flatten_dict(create_shapes(SETTINGS.classifier.create(2))).values()
    expected = 8 * 4 * sum(shape.size for shape in shapes) / 1e6
    assert found["classifiers"] == 8 and found["megabytes"] == pytest.approx(expected, abs=0.06)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A study of a folder that has kept its classifiers, and new images."""
    root = tmp_path_factory.mktemp("kept")
    for name, num, seed in (("data/train", 24, 0), ("data/val", 24, 7), ("new", 12, 5)):
        write_images(root / name, num, seed)
    with pytest.MonkeyPatch.context() as patch:
        # What training leaves is what it began with: compiling it takes longer than all else.
        patch.setattr(Trainer, "train", lambda self, state, images, **options: state)
        patch.setattr("jaxgan.training.many.Curves.to_arrays", lambda self: {})
        do_study(root, SETTINGS)
    return root


def do_study(root, settings):
    spec = DataSpec.of(settings.data, data_dir=root / "data")
    dataset = load_dataset(spec, image_size=24, channels=1, cache_dir=root / "cache")
    notes = {"data": str(root / "data"), "command": f"python x --data_dir={root / 'data'}"}
    return run.run_jobs(
        settings,
        dataset=dataset,
        gan_dataset=dataset,
        workdir=root / "study",
        num_devices=1,
        notes=notes,
    )


def test_a_study_keeps_one_file_for_each_training(place):
    record, classes, kept = read_index(place / "study")
    assert classes == ("left", "right") and record["settings"]["keep_classifiers"]
    expected = [(arm, f, s) for s in range(2) for f in range(2) for arm in ("real", "duplicates")]
    assert [(k.arm, k.fold, k.seed) for k in kept] == expected
    assert all(k.record["settings"]["width"] == 8 for k in kept)
    files = {path.name for path in (place / "study" / FOLDER).glob("*.npz")}
    assert files == {k.file for k in kept}


def test_each_predicts_as_in_its_job(place):
    folds = do_study(place, SETTINGS).folds
    _, _, kept = read_index(place / "study")
    arm = restore_arm(place / "study", "real")
    own = [k for k in kept if k.arm == "real"]
    for number, k in enumerate(own):
        job = place / "study" / "jobs" / f"classifier-{k.file}"
        with np.load(job, allow_pickle=False) as arrays:
            expected = arrays["probabilities"]
        found = arm.compute_members(folds.get_test(k.fold).images)[number]
        np.testing.assert_array_equal(found, expected)


def test_predictions_are_the_mean_with_a_spread(place, monkeypatch):
    use_no_encoder(monkeypatch)
    arms = ("real", "duplicates")
    found = predict_files([place / "study"], place / "new", cache_dir=place / "cache", arms=arms)
    names = [f"{place / 'study'} (arm {arm})" for arm in arms]
    assert list(found.predictions) == names
    real = found.predictions[names[0]]
    assert real.members.shape == (4, 12, 2)
    np.testing.assert_allclose(real.probabilities, real.members.mean(axis=0), rtol=1e-6)
    counted = count_images(found)
    report = create_report(found, counted)
    rows = list(csv.DictReader(io.StringIO(format_csv(found, counted))))
    outputs = real.probabilities.argmax(axis=1)
    spread = [real.members[:, i, outputs[i]].std(ddof=1) for i in range(12)]
    np.testing.assert_allclose([float(r["spread"]) for r in rows[:12]], spread, atol=1e-6)
    single = report["runs"][names[0]]["single"]
    assert single["classifiers"] == 4
    assert single["lowest"] == min(single["balanced_accuracy"])
    assert "the mean of 4 classifiers; single classifiers have" in report["sentences"][0]
    page = format_prediction(add_no_figures(report))
    assert "The mean of 4 of 4 classifiers of the arm duplicates in" in page
    assert "each after 3 updates" in page


def test_where_an_arm_looks_is_the_mean_of_its_classifiers(place, tmp_path, monkeypatch):
    use_no_encoder(monkeypatch)
    found = predict_files(
        [place / "study"], place / "new", cache_dir=place / "cache", arms=["real"], heatmaps=True
    )
    (heat,) = found.heat.values()
    arm = restore_arm(place / "study", "real")
    files = find_new_images(place / "new", arm.class_names, Asked()).paths
    images = np.stack([prepare_image(read_file(f), [arm.form]).pixels[0] for f in files])
    maps = arm.compute_heatmaps(images)
    single = [arm._explain(variables, images) for variables in arm.members]
    mean = np.mean(single, axis=0)
    looks = mean.max(axis=(1, 2)) > 0
    assert looks.any() and maps.shape == (12, 24, 24)
    np.testing.assert_allclose(maps[looks].max(axis=(1, 2)), 1.0)
    np.testing.assert_allclose(maps * mean.max(axis=(1, 2), keepdims=True), mean, atol=1e-6)
    frame = share_inside(maps, create_regions(24)["frame"])
    np.testing.assert_allclose(heat.shares["frame"], frame, rtol=1e-6)
    report = report_predictions(found, tmp_path)
    (described,) = report["runs"].values()
    assert described["heat"]["images"] == 12 and described["heat"]["places"] == [2, 2]
    assert (tmp_path / "figures" / "heatmaps.png").is_file()


def add_no_figures(report):
    runs = {name: {**found, "figures": {}} for name, found in report["runs"].items()}
    return {**report, "runs": runs}


def test_images_of_any_fold_are_training_images(place, monkeypatch):
    use_no_encoder(monkeypatch)
    cache = place / "cache"
    found = predict_files([place / "study"], place / "data/val", cache_dir=cache, arms=["real"])
    (comparison,) = found.comparisons.values()
    assert {split for split, _ in comparison.copies.values()} == {"train"}
    assert len(comparison.copies) == 24


def test_a_study_that_kept_nothing_trains_nothing_again_and_says_so(place, tmp_path, capsys):
    study = place / "study"
    files = {path: path.stat().st_mtime_ns for path in study.glob("jobs/classifier-*.npz")}
    index = study / FOLDER / "index.json"
    before = json.loads(index.read_text())
    _, _, kept = read_index(study)
    aside = study / FOLDER / kept[0].file
    aside.rename(tmp_path / "aside.npz")
    try:
        capsys.readouterr()
        do_study(place, SETTINGS)
        assert "1 classifier(s) of this study were trained earlier" in capsys.readouterr().out
        assert {path: path.stat().st_mtime_ns for path in files} == files
        assert len(read_index(study)[2]) == len(kept) - 1
    finally:
        (tmp_path / "aside.npz").rename(aside)
        index.write_text(json.dumps(before))


def test_what_can_not_predict_has_its_sentence(place, tmp_path, capsys):
    for arm, words in (("", "is a study: give --arm=NAME"), ("gan", "of arm 'gan'")):
        with pytest.raises(UserError, match=f"{words}.*real, duplicates"):
            restore_arm(place / "study", arm)
    with pytest.raises(UserError, match="has kept no classifiers, or has not ended yet"):
        restore_arm(tmp_path, "real")
    (tmp_path / FOLDER).mkdir()
    good = json.loads((place / "study" / FOLDER / "index.json").read_text())
    without_settings = {**good, "study": {**good["study"], "settings": None}}
    damaged = ({**good, "study": {}}, {**good, "study": {"data": "x"}}, without_settings, [])
    for text in (*map(json.dumps, damaged), "", "[" * 100_000):
        (tmp_path / FOLDER / "index.json").write_text(text)
        with pytest.raises(UserError, match="is damaged"):
            restore_arm(tmp_path, "real")
    data = {**good["study"]["data"], "fingerprint": "of other images"}
    other = {**good, "study": {**good["study"], "data": data}}
    (tmp_path / FOLDER / "index.json").write_text(json.dumps(other))
    shutil.copy(place / "study" / "config.json", tmp_path)
    with pytest.raises(UserError, match=r"images of .* have changed since the study kept"):
        restore_arm(tmp_path, "real")


def test_without_keeping_nothing_is_written(place, tmp_path, monkeypatch):
    (tmp_path / "data").symlink_to(place / "data")
    (tmp_path / "cache").symlink_to(place / "cache")
    monkeypatch.setattr(Trainer, "train", lambda self, state, images, **options: state)
    monkeypatch.setattr("jaxgan.training.many.Curves.to_arrays", lambda self: {})
    do_study(tmp_path, replace(SETTINGS, keep_classifiers=False, num_seeds=1))
    kept = {path.name for path in (place / "study" / "jobs").iterdir()}
    assert {path.name for path in (tmp_path / "study" / "jobs").iterdir()} <= kept
    assert not (tmp_path / "study" / FOLDER).exists()
