"""New images shown to trained classifiers: the same pixels, the report, what is left out."""

import csv
import functools
import io
import json
import shutil
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from PIL import Image

from jaxgan.core.errors import UserError
from jaxgan.data.fit import fit_square
from jaxgan.data.forms import Form, prepare_image
from jaxgan.data.images import as_pixels, encode_png, read_image, shrink_to, write_png
from jaxgan.data.new_images import Asked, find_new_images
from jaxgan.data.source import DataSpec, find_kinds, load_dataset
from jaxgan.data.values import AS_STORED
from jaxgan.evaluation import reference
from jaxgan.evaluation.encoder import TrainedEncoder
from jaxgan.experiments import classifier_runs, predict
from jaxgan.experiments.classifier_runs import read_flags, restore_classifier
from jaxgan.experiments.predict import (
    Heat,
    Predictions,
    explain_images,
    predict_files,
    predict_images,
)
from jaxgan.experiments.prediction_heat import describe_heat
from jaxgan.experiments.prediction_output import (
    count_images,
    create_report,
    format_csv,
    report_predictions,
)
from jaxgan.experiments.prediction_report import Truth, compare_runs, measure_run
from jaxgan.experiments.train_classifier import train_classifier
from jaxgan.networks.encoder import Encoder
from jaxgan.reports import heatmaps
from jaxgan.reports.prediction_page import format_prediction
from jaxgan.study.statistics import compare
from jaxgan.training.run_folder import read_record
from tests import forks
from tests.helpers import make_gmd_settings, make_image_set, replace

SETTINGS = make_gmd_settings(num_epochs=1)
NAMES = ("left", "right")


def write_images(root, num, seed):
    images = make_image_set(num, seed=seed)
    for i, (image, label) in enumerate(zip(images.images, images.labels, strict=True)):
        (root / NAMES[label]).mkdir(parents=True, exist_ok=True)
        write_png(image, root / NAMES[label] / f"p{i // 4}_{i}.png")


def use_no_encoder(monkeypatch):
    """Have features come from an encoder that was not trained: that takes seconds."""

    def create(images, labels, *, cache_dir):
        params = Encoder().init(jax.random.key(0), images[:1] / 127.5 - 1.0)["params"]
        return TrainedEncoder(params, np.zeros(160), np.eye(160))

    monkeypatch.setattr(reference, "load_or_train_encoder", create)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A run on a folder, its copy, and new images in another folder."""
    root = tmp_path_factory.mktemp("predict")
    for name, num, seed in (("data/train", 24, 0), ("data/val", 24, 7), ("new", 22, 5)):
        write_images(root / name, num, seed)
    spec = DataSpec.of(SETTINGS.data, data_dir=root / "data")
    dataset = load_dataset(spec, image_size=24, channels=1, cache_dir=root / "cache")
    notes = {"data": str(root / "data"), "command": f"python x --data_dir={root / 'data'}"}
    train_classifier(SETTINGS, dataset=dataset, workdir=root / "run0", num_devices=1, notes=notes)
    shutil.copytree(root / "run0", root / "run1")
    with pytest.MonkeyPatch.context() as patch:
        use_no_encoder(patch)
        predict_files([root / "run0" / "real"], root / "new", cache_dir=root / "cache")
    return root


@functools.cache
def restore_once(run, checkpoint="newest", **options):
    """Restore a run, and compile it, once for all tests."""
    return restore_classifier(run, checkpoint, cache_dir=options["cache_dir"])


@pytest.fixture
def show(place, monkeypatch):
    """Show a folder of `place` to its first run."""
    use_no_encoder(monkeypatch)
    monkeypatch.setattr(predict, "restore_classifier", restore_once)

    def call(path="new", **options):
        runs = options.pop("runs", ("run0",))
        cache = options.pop("cache_dir", place / "cache")
        asked = Asked(**options.pop("asked", {}))
        runs = [place / run / "real" for run in runs]
        return predict_files(runs, place / path, cache_dir=cache, asked=asked, **options)

    return call


def report_on(found):
    """The report, without files and figures."""
    return create_report(found, count_images(found))


def get_only(found):
    (predictions,) = found.predictions.values()
    return predictions


def copy_new(place, root):
    shutil.copytree(place / "new", root)
    return root


# The same pixels -------------------------------------------------------------------------------


def test_validation_images_are_predicted_as_in_training(place, show):
    report = json.loads((place / "run0" / "real" / "report.json").read_text())
    found = show("data/val")
    predictions = get_only(found)
    right = [p == c for p, c in zip(predictions.predicted, found.images.classes, strict=True)]
    assert np.mean(right) == report["last"]["val"]["accuracy"]["value"]
    spec = DataSpec.of(SETTINGS.data, data_dir=place / "data")
    val = load_dataset(spec, image_size=24, channels=1, cache_dir=place / "cache").val
    restored = restore_once(place / "run0" / "real", cache_dir=place / "cache")
    by_file = dict(zip(val.files, restored.compute_probabilities(val.images), strict=True))
    expected = np.stack([by_file[f"val/{file}"] for file in predictions.files])
    np.testing.assert_allclose(predictions.probabilities, expected, rtol=1e-6)


@pytest.mark.parametrize("fit", ["crop", "pad"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_large_image_takes_the_two_steps_of_a_data_set(fit, channels):
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (1030, 1200, 3), np.uint8))
    content = encode_png(image)
    stored = encode_png(shrink_to(read_image(content, channels), 512))
    expected = as_pixels(fit_square(read_image(stored, channels), 24, fit))
    found = prepare_image(content, [Form(24, channels, fit, AS_STORED)])
    np.testing.assert_array_equal(found.pixels[0], expected)
    assert found.sides == (1200, 1030)
    direct = as_pixels(fit_square(read_image(content, channels), 24, fit))
    assert (direct != expected).any()  # or one step would do


@pytest.mark.parametrize("is_trained", [False, True])
def test_a_kind_of_the_training_without_a_range_keeps_its_grays(place, show, tmp_path, is_trained):
    """It is shown over all its bits: the range of a few new images would change them."""
    deep = np.full((24, 24), 20000, np.uint16) + np.arange(24, dtype=np.uint16)
    Image.fromarray(deep).save(tmp_path / "a.png")
    kinds = ("16 bits (PNG, TIFF)",) if is_trained else ()
    images = find_new_images(tmp_path, NAMES, Asked())
    classifier = restore_once(place / "run0" / "real", cache_dir=place / "cache")
    references = {"run": replace(load_only_reference(place), kinds=kinds)}
    forms, notices = predict._find_forms(images, {"run": classifier}, references)
    assert (not forms["run"].view.ranges) == is_trained
    assert any("the run has none for this kind" in n for n in notices) == (not is_trained)


def test_the_kinds_of_a_training_are_kept_with_its_reference(place, tmp_path, monkeypatch):
    assert find_kinds(DataSpec.of(SETTINGS.data, data_dir=place / "data")) == ()
    use_no_encoder(monkeypatch)
    monkeypatch.setattr(classifier_runs, "find_kinds", lambda spec: ("12 bits",))
    find = functools.partial(
        classifier_runs.find_reference, place / "run0" / "real", SETTINGS, cache_dir=tmp_path
    )
    assert find().kinds == ("12 bits",)
    monkeypatch.setattr(classifier_runs, "find_kinds", None)  # and not found again
    assert find().kinds == ("12 bits",)


def test_numbers_are_shown_over_the_range_of_the_training(place, tmp_path, monkeypatch):
    ranges = {"16 bits (PNG, TIFF)": (100.0, 900.0)}
    run = place / "run0" / "real"
    record = read_record(run)
    changed = {**record, "data": {**record["data"], "look": {"value_ranges": ranges}}}
    restored = restore_once(run, cache_dir=place / "cache")
    monkeypatch.setattr(classifier_runs, "read_record", lambda path: changed)
    form = classifier_runs.describe_form(run, SETTINGS)
    assert form.view.ranges == ranges
    Image.fromarray(np.full((24, 24), 500, np.uint16)).save(tmp_path / "a.png")
    restored = replace(restored, form=form)
    images = find_new_images(tmp_path, NAMES, Asked())
    forms, notices = predict._find_forms(images, {"run": restored}, {"run": "not known"})
    assert (forms["run"].view.ranges, notices) == (ranges, [])


def load_only_reference(place):
    (path,) = (place / "cache" / "references").glob("*.npz")
    return reference.load_reference(path.stem, place / "cache")


# What counts -----------------------------------------------------------------------------------


def test_the_report_is_of_the_images_of_known_classes(show, tmp_path, capsys):
    report = report_predictions(show(), tmp_path)
    out = capsys.readouterr().out.splitlines()
    assert "of 22 image(s) of 22 patient(s)" in out[0] and "guessing gives 50.0 %" in out[0]
    assert "training images" in out[1]
    (run,) = report["runs"].values()
    rows = list(csv.DictReader(io.StringIO((tmp_path / "predictions.csv").read_text())))
    right = [row["predicted"] == row["true"] for row in rows]
    measured = run["measured"]
    assert measured["accuracy"]["value"] == pytest.approx(np.mean(right))
    assert sum(map(sum, measured["confusion_matrix"])) == len(rows) == 22
    for row in rows:
        assert float(row["p_left"]) + float(row["p_right"]) == pytest.approx(1, abs=1e-5)
        assert (float(row["p_left"]) > 0.5) == (row["predicted"] == "left")
    assert (
        json.loads((tmp_path / "report.json").read_text())["runs"].keys() == report["runs"].keys()
    )
    page = (tmp_path / "report.md").read_text()
    for file in run["figures"].values():
        assert (tmp_path / file).is_file() and f"({file})" in page
    assert len(run["mistakes"]) == min(16, right.count(False))


def test_copies_of_training_images_are_named_and_do_not_count(place, show, tmp_path):
    root = copy_new(place, tmp_path / "new")
    train = sorted((place / "data" / "train" / "left").iterdir())[0]
    Image.open(train).resize((64, 64), Image.Resampling.BICUBIC).save(root / "left" / "x.jpg")
    found = show(root)
    report = report_on(found)
    assert report["left_out"] == {"copies of training images": ["left/x.jpg"]}
    (run,) = report["runs"].values()
    assert run["measured"]["images"] == 22
    assert "a copy of train/left/p0_0.png" in format_csv(found, count_images(found))
    assert any("1 image(s) are copies of training images" in n for n in report["notices"])


def test_a_class_that_is_not_known_or_missing_has_its_sentence(place, show, tmp_path):
    root = copy_new(place, tmp_path / "new")
    (root / "right").rename(root / "up")
    report = report_on(show(root))
    said = " ".join(report["notices"])
    assert "11 image(s) are of a class that the classifier does not know (up)" in said
    assert "No image that counts is of right" in said
    (run,) = report["runs"].values()
    assert run["measured"]["per_class"]["right"]["auc"]["value"] is None
    assert "guessing" not in report["sentences"][0]


def test_images_without_a_class_are_predicted_without_numbers(place, show, tmp_path):
    report = report_on(show(asked={"labels_from": "none"}))
    (run,) = report["runs"].values()
    assert run["measured"] is None and report["left_out"] == {}
    assert "predicts 22 image(s)" in report["sentences"][0]
    one = show("new/left/p0_0.png")
    assert get_only(one).probabilities.shape == (1, 2)
    assert one.images.files == ("p0_0.png",)


def test_images_that_jaxgan_has_made_do_not_count(place, show, tmp_path):
    root = copy_new(place, tmp_path / "new")
    write_png(make_image_set(1, seed=9).images[0], root / "left" / "made.png", generated=True)
    report = report_on(show(root))
    assert report["left_out"] == {"made by jaxgan": ["left/made.png"]}


def test_bad_images_stop_or_are_skipped_and_named(place, show, tmp_path):
    root = copy_new(place, tmp_path / "new")
    (root / "left" / "bad.png").write_text("text")
    with pytest.raises(UserError, match=r"1 image of 23 cannot be used:\n +left/bad.png is not a"):
        show(root)
    report = report_on(show(root, asked={"skip_bad_images": True}))
    assert report["num_images"] == 22 and report["skipped"][0].startswith("left/bad.png is not")
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "bad.png").write_text("text")
    with pytest.raises(
        UserError, match=r"None of the 1 image.s. in .*alone can be used: bad.png is not"
    ):
        show(alone, asked={"skip_bad_images": True})


def test_parts_are_put_together_in_order(show, monkeypatch):
    whole = get_only(show())
    monkeypatch.setattr("jaxgan.data.forms._PART", 5)
    parts = get_only(show())
    assert parts.files == whole.files
    np.testing.assert_allclose(parts.probabilities, whole.probabilities, rtol=1e-5)


def test_a_file_s_name_is_no_formula_and_breaks_no_page(place, show, tmp_path):
    root = copy_new(place, tmp_path / "new")
    (root / "left" / "p0_0.png").rename(root / "left" / "=1+1|<b>.png")
    found = show(root / "left")
    assert "'=1+1|<b>.png" in format_csv(found, count_images(found))
    assert "=1+1\\|\\<b\\>.png" in format_prediction(
        {**report_on(found), "runs": {}, "left_out": {"x": found.images.files}}
    )


# The training images ---------------------------------------------------------------------------


def test_what_training_images_are_like_is_kept(place, show, tmp_path, monkeypatch):
    """Once made, it needs neither the folder of the training nor TensorFlow Datasets."""
    moved = place / "elsewhere"
    (place / "data").rename(moved)
    try:
        (comparison,) = show().comparisons.values()
        assert comparison.departures.keys() == {"grays", "features"}
        (unknown,) = show(cache_dir=tmp_path / "cache").comparisons.values()
        assert "are no longer in" in unknown and "--training_dir=DIR" in unknown
        found = show(cache_dir=tmp_path / "cache", training_dir=moved)
        (again,) = found.comparisons.values()
        assert again.departures == comparison.departures
    finally:
        moved.rename(place / "data")


def test_other_images_in_the_place_of_the_training_s_are_seen(place, show, tmp_path):
    write_images(tmp_path / "data" / "train", 22, 0)
    write_images(tmp_path / "data" / "val", 22, 7)
    found = show(cache_dir=tmp_path / "cache", training_dir=tmp_path / "data")
    (unknown,) = found.comparisons.values()
    assert "are not those that" in unknown
    report = report_on(found)
    assert "It is not known how far these images are" in report["sentences"][1]


def test_images_of_another_kind_make_numbers_doubtful(place, show, tmp_path):
    root = copy_new(place, tmp_path / "new")
    near = report_on(show(root))
    assert "about as near" in near["sentences"][1]
    for path in root.rglob("*.png"):
        Image.eval(Image.open(path), lambda gray: gray // 3).save(path)
    far = report_on(show(root))
    assert far["sentences"][1].startswith("Beware: these images differ from the training images")


def test_the_flags_of_a_command_are_read():
    command = "jaxgan train-gmd --data_dir='/a b' --patient_column who --follow_links --leave_out=x"
    expected = {"data_dir": "/a b", "patient_column": "who", "follow_links": "", "leave_out": "x"}
    assert read_flags(command) == expected
    assert read_flags("python 'x") == {}


# Several runs ----------------------------------------------------------------------------------


def test_several_runs_are_compared_on_the_same_patients(show, tmp_path, monkeypatch):
    def restore(run, checkpoint, **options):
        restored = restore_once(run, checkpoint, **options)
        if run.parent.name == "run0":
            return restored
        return replace(restored, variables=jax.tree.map(np.negative, restored.variables))

    monkeypatch.setattr(predict, "restore_classifier", restore)
    asked = {"patient_pattern": "p[0-9]+"}
    found = show(runs=("run0", "run1"), asked=asked)
    report = report_predictions(found, tmp_path)
    assert len(report["runs"]) == 2
    (difference,) = report["comparisons"]
    one, two = (run["measured"] for run in report["runs"].values())
    points = one["balanced_accuracy"]["value"] - two["balanced_accuracy"]["value"]
    assert difference["difference"] == pytest.approx(points)
    assert points != 0
    assert one["patients"] < one["images"] == 22
    assert len(list((tmp_path / "figures").glob("curves_*.png"))) == 2
    assert "minus" in report["sentences"][2]


def test_runs_with_other_numbers_of_outputs_share_the_columns_of_a_table(show):
    found = show(runs=("run0", "run1"))
    one, two = found.predictions
    more = np.pad(found.predictions[two].probabilities, ((0, 0), (0, 1)))
    for longer in (one, two):
        changed = replace(found.predictions[longer], probabilities=more)
        mixed = replace(found, predictions={**found.predictions, longer: changed})
        rows = list(csv.DictReader(io.StringIO(format_csv(mixed, count_images(mixed)))))
        assert {row["predicted"] for row in rows} <= set(NAMES)
        assert {row["true"] for row in rows} == set(NAMES)
        assert {(row["run"], row["p_outside_1"]) for row in rows} == {
            (run, "0.000000" if run == longer else "") for run in (one, two)
        }


def test_a_run_that_tells_nothing_apart_is_compared_as_in_a_study():
    rng = np.random.default_rng(0)
    labels, patients = rng.integers(0, 2, 40), np.sort(rng.integers(0, 12, 40))
    patients = np.unique(patients, return_inverse=True)[1]
    truth = Truth(NAMES, labels, patients)
    probabilities = {name: rng.dirichlet([1, 1], 40) for name in ("a", "b")}
    right = {n: (p.argmax(axis=1) == labels)[None] for n, p in probabilities.items()}
    expected = compare("a", "b", right=right, design=truth.design, counts=truth.draw()).by_patient
    (found,) = compare_runs(probabilities, truth)
    assert found["difference"] == expected.estimate
    assert found["interval"] == list(expected.interval)
    assert found["p"] == expected.p_value


def test_each_source_has_numbers_of_its_own():
    labels = np.tile([0, 1], 10)
    truth = Truth(NAMES, labels, np.arange(20), ("a",) * 12 + ("b",) * 8)
    probabilities = np.eye(2)[np.where(np.arange(20) < 12, labels, 1 - labels)]
    found = measure_run(probabilities, truth)["by_source"]
    assert [found[name]["accuracy"]["value"] for name in ("a", "b")] == [1.0, 0.0]
    assert [found[name]["images"] for name in ("a", "b")] == [12, 8]


def test_few_patients_have_no_intervals():
    truth = Truth(NAMES, np.array([0, 1, 0, 1]), np.array([0, 1, 2, 2]))
    found = measure_run(np.eye(2)[[0, 1, 1, 1]], truth)
    assert found["balanced_accuracy"] == {"value": 0.75, "interval": None}
    assert found["calibration_error"]["interval"] is None


# Arrays ----------------------------------------------------------------------------------------


def test_arrays_of_any_size_and_colour_are_predicted(place):
    restored = restore_once(place / "run0" / "real", cache_dir=place / "cache")
    images = make_image_set(4, size=24, seed=3).images
    expected = restored.compute_probabilities(images)
    for given in (images, images[..., 0], np.repeat(images, 3, axis=-1)):
        found = predict_images(restored, given)
        np.testing.assert_allclose(found.probabilities, expected, rtol=1e-6)
    assert found.files == ("0", "1", "2", "3")
    assert set(found.predicted) <= set(NAMES)
    larger = predict_images(restored, images.repeat(2, axis=1).repeat(2, axis=2), ["a"] * 4)
    np.testing.assert_allclose(larger.probabilities, expected, rtol=1e-6)


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((2, 24, 24), np.float32),
        np.zeros((24, 24), np.uint8),
        np.zeros((24, 24, 3), np.uint8),  # one image in colour, not 24 of 3 pixels in width
        np.zeros((2, 24, 24, 2), np.uint8),
        np.zeros((0, 24, 24, 1), np.uint8),
    ],
)
def test_other_arrays_are_refused_with_what_was_expected(place, images):
    restored = restore_once(place / "run0" / "real", cache_dir=place / "cache")
    with pytest.raises(UserError, match=r"Found images of .*expected"):
        predict_images(restored, images)


def test_names_of_another_number_are_refused(place):
    restored = restore_once(place / "run0" / "real", cache_dir=place / "cache")
    with pytest.raises(UserError, match="Found 2 images and 1 names"):
        predict_images(restored, np.zeros((2, 24, 24), np.uint8), ["a"])


# Runs ------------------------------------------------------------------------------------------


def test_classes_of_a_run_without_a_report_are_those_of_its_data(place, tmp_path):
    shutil.copytree(place / "run0", tmp_path / "run")
    (tmp_path / "run" / "real" / "report.json").unlink()
    found = restore_classifier(tmp_path / "run" / "real", "best", cache_dir=place / "cache")
    assert found.class_names == NAMES


def test_runs_that_can_not_be_shown_anything_have_their_sentence(place, tmp_path):
    with pytest.raises(UserError, match="is not the folder of a run"):
        restore_classifier(tmp_path, cache_dir=tmp_path)
    with pytest.raises(UserError, match=r"but has runs in it: give --run=.*run0/real\."):
        restore_classifier(place / "run0", cache_dir=tmp_path)
    with pytest.raises(UserError, match="--arm=real is for the folder of a study"):
        run = place / "run0" / "real"
        predict_files([run], place / "new", cache_dir=place / "cache", arms=["real"])
    shutil.copytree(place / "run0", tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "real" / "checkpoints")
    with pytest.raises(UserError, match="has no checkpoint yet"):
        restore_classifier(tmp_path / "run" / "real", cache_dir=tmp_path)


@pytest.mark.parametrize("labels_from", ["auto", "none"])
def test_where_a_run_looks_is_measured_and_drawn(show, tmp_path, labels_from, monkeypatch):
    monkeypatch.setattr(heatmaps, "FEW_PLACES", 2)  # as many as the small images here have
    found = show("new", heatmaps=True, asked={"labels_from": labels_from})
    report = report_predictions(found, tmp_path)
    (run,) = report["runs"].values()
    (heat,) = found.heat.values()
    known = np.isfinite(heat.shares["frame"])
    assert run["heat"]["without_heat"] == (~known).sum() < 22 == run["heat"]["images"]
    mean = heat.shares["frame"][known].mean()
    assert run["heat"]["all"]["frame"]["value"] == pytest.approx(mean)
    low, high = run["heat"]["all"]["frame"]["interval"]
    assert low <= mean <= high
    counts = [of_class["count"] for of_class in run["heat"]["by_predicted"].values()]
    assert sum(counts) == 22 and run["heat"]["places"] == [2, 2]
    page = (tmp_path / "report.md").read_text()
    assert f"{mean:.0%} of the classifier's heat is in the frame" in page
    assert "figures/heatmaps.png" in page and (tmp_path / "figures" / "heatmaps.png").is_file()
    if labels_from == "none":
        assert "mistakes" not in "".join(run["figures"]) and len(run["heat"]["shown"]) == 16
    else:
        indices = [m["index"] for m in run["mistakes"]]
        assert [shown["index"] for shown in run["heat"]["shown"]] == indices


def test_the_share_of_coarse_heat_is_left_out_and_it_says_why(show, tmp_path):
    report = report_predictions(show("new", heatmaps=True), tmp_path)
    (run,) = report["runs"].values()
    assert run["heat"]["places"] == [2, 2]
    assert not run["heat"].keys() & {"all", "by_predicted", "by_source"}
    page = (tmp_path / "report.md").read_text()
    assert "has only 2 x 2 places, which is too coarse to measure the shares" in page
    assert "heat of" not in page and "figures/heatmaps.png" in page


def test_heat_in_copies_of_training_images_does_not_count(place, show, tmp_path):
    root = copy_new(place, tmp_path / "new")
    copied = sorted((place / "data" / "train").glob("*/*.png"))[0]
    shutil.copy(copied, root / "left" / "again.png")
    found = show(root, heatmaps=True, asked={"labels_from": "none"})
    (run,) = report_predictions(found, tmp_path / "out")["runs"].values()
    assert len(found.images) == 23 and run["heat"]["images"] == 22
    assert "left/again.png" not in {shown["file"] for shown in run["heat"]["shown"]}


def find_heat(shares, patients):
    """What was found for images of one class whose heat has these shares in the frame."""
    names = tuple(f"{i}.png" for i in range(len(shares)))
    predictions = Predictions(names, NAMES, np.tile([0.9, 0.1], (len(shares), 1)))
    regions = {"frame": shares, "centre": 1 - shares}
    heat = Heat(regions, (8, 8), Form(24, 1, "crop", AS_STORED), lambda images: images)
    images = SimpleNamespace(files=names, patients=patients, sources=())
    return SimpleNamespace(
        images=images, class_names=NAMES, predictions={"run": predictions}, heat={"run": heat}
    )


def test_the_interval_of_heat_counts_each_patient_once():
    shares = np.random.default_rng(0).uniform(size=12)
    names = [f"p{i}" for i in range(12)]
    one, five = (
        describe_heat(
            find_heat(shares.repeat(num), np.repeat(names, num).tolist()),
            "run",
            np.arange(12 * num),
            [],
        )["all"]["frame"]
        for num in (1, 5)
    )
    assert five["value"] == pytest.approx(shares.mean())
    assert five["interval"] == pytest.approx(one["interval"]) and one["interval"][0] > 0


def test_arrays_of_any_size_and_colour_are_explained(place):
    classifier = restore_once(place / "run0" / "real", cache_dir=place / "cache")
    images = np.random.default_rng(0).integers(0, 256, (3, 40, 40, 3), np.uint8)
    heat = explain_images(classifier, images)
    assert heat.shape == (3, 24, 24) and heat.min() >= 0 and heat.max() <= 1
    with pytest.raises(UserError, match="expected uint8"):
        explain_images(classifier, images / 255)


def test_a_report_without_heatmaps_says_nothing_of_heat(show, tmp_path):
    report = report_predictions(show("new"), tmp_path)
    assert "heat" not in (tmp_path / "report.md").read_text().replace("theat", "")
    assert all("heat" not in run for run in report["runs"].values())


@pytest.mark.slow
def test_the_command_writes_its_table_and_says_two_sentences_first(place, tmp_path):
    flags = [f"--run={place / 'run0' / 'real'}", f"--cache_dir={place / 'cache'}"]
    flags.append(f"--images={place / 'new'}")
    result = forks.run("predict", [*flags, "--out=out"], cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "is right about" in result.stdout.splitlines()[0]
    assert (tmp_path / "out" / "report.md").is_file()


def test_the_command_refuses_to_write_among_the_images(place, tmp_path):
    flags = [f"--run={place / 'run0' / 'real'}", f"--images={place / 'new'}"]
    result = forks.run("predict", [*flags, f"--out={place / 'new' / 'out'}"], cwd=tmp_path)
    assert result.returncode == 2 and "lies in the data folder" in result.stderr
    result = forks.run("predict", flags[:1], cwd=tmp_path)
    assert result.returncode == 2 and "Expected --run=FOLDER" in result.stderr
