"""What `evaluate` measures, in the library and as a user runs it."""

import dataclasses
import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from PIL import Image

from jaxgan.core.errors import UserError
from jaxgan.data.images import write_png
from jaxgan.evaluation import (
    comparisons,
    encoder,
    evaluate,
    fid,
    imagenet,
    output,
    real_images,
    subjects,
)
from jaxgan.reports import tables
from tests import forks, test_fid_inception
from tests.helpers import (
    IMAGENET_ABSENT,
    list_content,
    make_dataset,
    make_dcgan_settings,
    make_environment,
    make_image_set,
    write_run,
)

ROOT = Path(__file__).resolve().parents[1]
MEASURES = (
    "kernel_distance",
    "frechet_distance",
    "precision",
    "recall",
    "density",
    "coverage",
    "sliced_wasserstein",
    "diversity",
)


@pytest.fixture(autouse=True)
def _train_briefly(monkeypatch):
    """How well the networks learn is the business of test_encoder."""
    monkeypatch.setattr(encoder, "ENCODER_STEPS", 20)
    monkeypatch.setattr(encoder, "CLASSIFIER_STEPS", 60)


@pytest.fixture(autouse=True)
def _without_outside(monkeypatch):
    """As where its weights are not installed: it takes seconds, and has a test of its own."""
    monkeypatch.setattr(evaluate, "is_installed", lambda: False)


def write_folder(path, images):
    path.mkdir(parents=True, exist_ok=True)
    for i, image in enumerate(images):
        write_png(image, path / f"{i}.png")


def make_images(num, seed):
    """Blobs in random places: no two sets are alike, and any two of a set differ."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:32, :32]
    cy, cx, radius = (rng.uniform(a, b, (num, 1, 1)) for a, b in ((8, 24), (8, 24), (3, 8)))
    blobs = 200 * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (2 * radius**2))
    return (blobs + rng.integers(0, 50, blobs.shape)).astype(np.uint8)[..., None]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Folders of 20 images each: the least that is accepted."""
    path = tmp_path_factory.mktemp("evaluate")
    for seed, name in enumerate(("train", "held_out", "fresh")):
        write_folder(path / name, make_images(20, seed))
    write_folder(path / "copies", make_images(20, 0))
    write_folder(path / "few", make_images(19, 9))
    return path


@pytest.fixture
def encoded(place):
    """The place, where the encoder that `evaluate` wants has been trained, and briefly."""
    sets = subjects.load_folders(place / "copies", place / "train", place / "held_out")
    images, labels = sets.real.encoder_set
    encoder.load_or_train_encoder(images, labels, cache_dir=place / "briefly")
    return place


def make_command(place, *flags):
    command = [sys.executable, str(ROOT / "launch" / "evaluate.py")]
    return [*command, f"--cache_dir={place / 'briefly'}", *flags]


def run(place, *flags):
    """Run the launcher in a process, on one device and as fast as a user has it."""
    return subprocess.run(
        make_command(place, *flags),
        capture_output=True,
        text=True,
        cwd=place,
        env=make_environment()
        | {"XLA_FLAGS": ""},  # the outside ruler runs longer than it compiles
        timeout=900,
        check=False,
    )


def measure_folders(place, generated, tmp_path, **options):
    sets = subjects.load_folders(place / generated, place / "train", place / "held_out")
    return evaluate.evaluate(sets, out=tmp_path, cache_dir=place / "briefly", **options).metrics


def test_two_folders_as_a_user_compares_them(encoded, tmp_path):
    place, before = encoded, list_content(encoded / "briefly" / "encoders").keys()
    flags = [f"--{name}={place / name}" for name in ("held_out",)]
    flags += [f"--generated={place / 'copies'}", f"--against={place / 'train'}"]
    result = run(place, *flags, f"--json={tmp_path / 'deep' / 'a.json'}", f"--out={tmp_path}")
    assert result.returncode == 0, result.stderr
    assert "kernel distance" in result.stdout
    assert "COPIES" in result.stdout
    assert list_content(place / "briefly" / "encoders").keys() == before  # the one that was there
    report = json.loads((tmp_path / "deep" / "a.json").read_text())
    for name in (*MEASURES, "memorisation"):
        assert {"value", "interval", "floor", "n"} <= report[name].keys(), name
    for name in ("kernel_distance", "frechet_distance", "sliced_wasserstein"):
        low, high = report[name]["interval"]
        assert low < report[name]["floor"] < 10 * high, name  # copies are as good as real images
    assert report["memorisation"]["flag"] is True
    assert report["memorisation"]["floor_n"] == 13  # a third of 40
    assert any("that of 13 real images" in note for note in report["notes"])
    assert report["kernel_distance"]["n"] == 20
    assert report["gan_train"] is None
    if imagenet.is_installed():
        assert report["outside"]["memorisation"]["flag"] is True
        assert "In the outside ruler they are no farther from real images than" in result.stdout
    with Image.open(tmp_path / "nearest_pairs.png") as picture:
        assert picture.size[0] > 800
    sheet = tmp_path / "figures" / "blind.png"
    assert f"To look at: {sheet} has 16 real held-out and 16 generated images" in result.stdout
    assert sheet.exists() and sheet.with_name("blind_answers.png").exists()


def test_new_images_stay_within_the_floor_and_copies_are_flagged(place, tmp_path):
    fresh, copies = (measure_folders(place, name, tmp_path) for name in ("fresh", "copies"))
    assert not fresh["memorisation"]["flag"]
    assert copies["memorisation"]["flag"]
    assert abs(fresh["memorisation"]["value"]) < 0.5 < copies["memorisation"]["value"]
    # a distance of distributions sees nothing wrong with copies
    to_train = copies["against_train"]["kernel_distance"]
    assert to_train["value"] < to_train["floor"]
    for name in ("kernel_distance", "sliced_wasserstein"):
        assert fresh[name]["value"] < 1.5 * fresh[name]["floor"], name
    for name in ("precision", "recall", "coverage", "diversity"):
        assert fresh[name]["value"] > 0.8 * fresh[name]["floor"], name


def test_every_measure_has_a_name_in_the_table(place, tmp_path):
    """One without a name would not be printed, and nobody would miss it."""
    metrics = measure_folders(place, "fresh", tmp_path)
    measured = {name for name, m in metrics.items() if isinstance(m, dict) and "floor" in m}
    assert set(MEASURES) <= measured <= tables._SCORES.keys()
    assert metrics["verdict"]["word"] in ("good", "use with care", "do not use")


def test_without_held_out_images_there_is_no_memorisation_and_it_says_why(place, tmp_path):
    sets = subjects.load_folders(place / "copies", place / "train", None)
    result = evaluate.evaluate(sets, out=tmp_path, cache_dir=place / "briefly").metrics
    assert result["memorisation"] is None
    assert "against_train" not in result
    assert result["against"] == result["train"]
    assert any("cannot be their own control" in note for note in result["notes"])
    assert result["kernel_distance"]["n"] == 10  # ten real ones are left to compare ten with
    assert (tmp_path / "nearest_pairs.png").exists()
    assert any("No sheet of images in random order" in note for note in result["notes"])
    assert not (tmp_path / "figures").exists()  # a training image is no held-out one


def test_a_users_features_come_first_and_the_own_ones_after(place, tmp_path, monkeypatch):
    spec = jax.ShapeDtypeStruct(export.symbolic_shape("n, 16, 16, 1"), np.float32)
    function = jax.jit(lambda x: jnp.mean(x, axis=1)[..., 0])
    (tmp_path / "rows.jax").write_bytes(export.export(function)(spec).serialize())
    monkeypatch.setattr(evaluate, "is_installed", lambda: True)
    result = measure_folders(place, "fresh", tmp_path, features=str(tmp_path / "rows.jax"))
    assert "outside" not in result
    assert result["features"] == result["kernel_distance"]["features"] == "rows.jax"
    assert result["encoder"]["kernel_distance"]["features"].startswith("own encoder")


def test_a_file_of_inception_weights_gives_a_block_and_rows(place, tmp_path, monkeypatch, capsys):
    """Here of random weights and narrow: its numbers are not called FID."""
    monkeypatch.setattr(fid, "create_fid_inception", lambda: test_fid_inception.NARROW)
    arrays = test_fid_inception.draw_arrays()
    path = test_fid_inception.write(tmp_path / "mine.pth", arrays)
    result = measure_folders(place, "fresh", tmp_path / "out", inception_file=path)
    printed = capsys.readouterr().out
    block = result["inception"]
    assert block["weights"]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert result["comparison"]["inception"] == block["weights"]["sha256"]
    for side, name in (("against_held_out", "held_out"), ("against_train", "train")):
        assert block[side]["frechet_distance"]["n"] == [20, 20]
        assert f"Inception v3 of mine.pth, against {place / name}" in printed
    value, floor = (
        block[k]["frechet_distance"]["value"] for k in ("against_held_out", "real_against_real")
    )
    assert 0 < value < 3 * floor
    (row, _) = (line for line in printed.splitlines() if "Frechet distance in mine.pth  " in line)
    assert row.split()[4:] == [f"{value:.4g}", "-", f"{floor:.4g}", "20", "and", "20"]
    assert any(note.startswith("mine.pth does not hold the published") for note in result["notes"])
    assert "So these numbers are not FID and KID." in printed
    assert ["Frechet distance in mine.pth", f"{value:.4g}"] in [
        row[:2] for row in tables.list_measures(result)
    ]


@pytest.mark.slow
@pytest.mark.skipif(not imagenet.is_installed(), reason=IMAGENET_ABSENT)
def test_the_outside_ruler_is_beside_the_encoder_or_in_its_place(place, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluate, "is_installed", lambda: True)
    beside = measure_folders(place, "copies", tmp_path)
    named = measure_folders(place, "copies", tmp_path, features="imagenet")
    assert beside["features"].startswith("own encoder") and "encoder" not in beside
    assert named["features"] == "EfficientNet-Lite0 of ImageNet" == beside["outside"]["features"]
    assert named["encoder"]["kernel_distance"] == beside["kernel_distance"]
    for name in MEASURES[:6]:
        assert named[name] == beside["outside"][name], name
    assert "kernel_distance" not in named["outside"]  # it is the headline
    for metrics in (beside, named):
        copies = metrics["outside"]["memorisation"]
        assert copies["flag"] and copies["num_copies"] == 20
        text = tables.format_evaluation(metrics)
        assert "in EfficientNet-Lite0 of ImageNet" in text
        assert text.count("  memorisation") == 2
        assert metrics["verdict"]["equivalent"].startswith("In the outside ruler they are ")
        assert "Kernel distance in EfficientNet-Lite0 of ImageNet: " in text
    assert named["equivalent"] == beside["outside"]["equivalent"]
    assert "equivalent" not in named["outside"]


def test_without_the_weights_there_is_no_outside_ruler(place, tmp_path):
    assert "outside" not in measure_folders(place, "fresh", tmp_path)


def test_a_third_sentence_says_what_the_distance_looks_like(place, tmp_path, capsys):
    metrics = measure_folders(place, "fresh", tmp_path)
    sentence = metrics["verdict"]["equivalent"]
    assert sentence == f"In these features they are {metrics['equivalent']['sentence']}."
    printed = capsys.readouterr().out
    assert f"{metrics['verdict']['advice']} {sentence}" in printed
    assert f"Kernel distance in {metrics['features']}: " in printed


def test_classes_in_subfolders_give_gan_train(tmp_path):
    for seed, name in enumerate(("generated", "train", "val")):
        made = make_image_set(40, seed=seed)
        for label in (0, 1):
            write_folder(tmp_path / name / "ab"[label], made.images[made.labels == label])
    folders = [tmp_path / name for name in ("generated", "train", "val")]
    sets = subjects.load_folders(*folders)
    result = comparisons.measure_classes(sets.classes)  # as `evaluate` does: see the next test
    for name in ("gan_train", "gan_test"):
        assert result[name]["value"] > 0.9
        assert result[name]["floor"] > 0.9
        assert result[name]["n"] == 40


def test_a_run_is_compared_with_the_images_of_its_class(tmp_path):
    dataset = make_dataset(num_train=48, num_val=40)
    for name in dataset.class_names:
        write_run(tmp_path, name, dataset=dataset)
    sets = subjects.load_run(tmp_path, "left", dataset, num=30)
    assert len(sets.generated.images) == 30
    np.testing.assert_array_equal(sets.real.train.images, dataset.train.of_class(0).images)
    np.testing.assert_array_equal(sets.real.held_out.images, dataset.val.of_class(0).images)
    assert np.bincount(sets.classes[0][1]).tolist() == [30, 24]
    # Half of the training images make the floor, with as many more as 20 held-out ones ask for.
    known, unseen = sets.real.encoder_set[0], sets.real.remaining.images[:12]
    assert (len(known), len(sets.real.remaining.images)) == (24, 20)
    assert not any((image == unseen).all(axis=(1, 2, 3)).any() for image in known)
    result = evaluate.evaluate(sets, out=tmp_path / "out").metrics
    assert result["kernel_distance"]["value"] > 2 * result["kernel_distance"]["floor"]
    # Twenty held-out images and as many others, less one: file names, so patients, are shared.
    assert result["kernel_distance"]["n"] == 19
    assert not result["memorisation"]["flag"]
    for name in ("gan_train", "gan_test"):
        assert result[name]["value"] < result[name]["floor"]
    (tmp_path / "right" / "checkpoints").rename(tmp_path / "gone")
    assert subjects.load_run(tmp_path, "left", dataset).classes is None
    splits = {split: images.of_class(0) for split, images in dataset.splits.items()}
    alone = dataclasses.replace(dataset, class_names=("left",), splits=splits)
    assert subjects.load_run(tmp_path, "left", alone, num=30).classes is None
    other = dataclasses.replace(dataset, fingerprint="e" * 64)
    with pytest.raises(UserError, match="other data"):
        subjects.load_run(tmp_path, "left", other)
    with pytest.raises(UserError, match="no class 'up'"):
        subjects.load_run(tmp_path, "up", dataset)


def test_patients_reach_every_floor_and_the_search_for_copies(tmp_path, monkeypatch):
    made = make_image_set(120)
    names = tuple(f"patient {i // 6}" for i in range(120))  # three films of each class
    everyone = dataclasses.replace(made, patients=names)
    train, val = everyone.take(np.arange(72)), everyone.take(np.arange(72, 120))
    dataset = dataclasses.replace(make_dataset(), splits={"train": train, "val": val})
    write_run(tmp_path, dataset=dataset)
    sets = subjects.load_run(tmp_path, "left", dataset, num=30)
    seen = {"measure": [], "measure_memorisation": []}
    for name, found in seen.items():
        function = getattr(comparisons, name)

        def note(*args, function=function, found=found, **kwargs):
            found.append(kwargs["groups"])
            return function(*args, **kwargs)

        monkeypatch.setattr(comparisons, name, note)
    result = evaluate.evaluate(sets, out=tmp_path / "out", cache_dir=None).metrics
    first, second = train.of_class(0).patients, val.of_class(0).patients
    assert seen["measure_memorisation"] == [first + second]
    ours = sets.real.remaining.patients
    assert set(ours) < set(first)
    assert [tuple(groups) for groups in seen["measure"]] == [
        *[second + ours] * 4,  # the encoder, the pyramid, MS-SSIM, pixels
        *[first + second] * 3,
    ]
    assert result["kernel_distance"]["n"] == (24 + len(ours) - 2) // 2
    same = dataclasses.replace(val, patients=("one",) * 20 + names[92:])
    with pytest.raises(UserError, match=r"held-out images of left: found 10 of 24 .*\(one\)"):
        real_images.check_real("left", train.of_class(0), same.of_class(0))


def test_held_out_copies_of_training_images_are_refused(place, tmp_path):
    write_folder(tmp_path / "control", make_images(20, 5))
    write_png(make_images(20, 0)[7], tmp_path / "control" / "3.png")
    with pytest.raises(UserError, match="1 of the 20 images of --held_out are copies") as error:
        subjects.load_folders(place / "fresh", place / "train", tmp_path / "control")
    assert f"{tmp_path / 'control' / '3.png'} of {place / 'train' / '7.png'}" in str(error.value)
    with pytest.raises(UserError, match="20 of the 20 images"):
        subjects.load_folders(place / "fresh", place / "train", place / "train")


def test_images_too_small_to_measure_are_named(place, tmp_path):
    """Here they are more than the odd one."""
    write_folder(tmp_path / "mixed", make_images(20, 3))
    for i in range(5):
        write_png(make_images(1, 4)[0, :12, :10], tmp_path / "mixed" / f"thumb{i}.png")
    folders = (tmp_path / "mixed", place / "train", place / "held_out")
    with pytest.raises(
        UserError, match=r"thumb0\.png is 10x12 pixels.*at least 16.*--image_size=16"
    ):
        subjects.load_folders(*folders)
    assert subjects.load_folders(*folders, image_size=16).real.train.images.shape[1] == 16
    with pytest.raises(UserError, match="--image_size is 15, expected at least 16"):
        subjects.load_folders(*folders, image_size=15)


def test_one_small_image_is_named_and_left_out(place, tmp_path):
    write_folder(tmp_path / "mixed", make_images(20, 3))
    write_png(make_images(1, 4)[0, :12, :10], tmp_path / "mixed" / "thumb.png")
    sets = subjects.load_folders(tmp_path / "mixed", place / "train", place / "held_out")
    assert sets.generated.images.shape == (20, 32, 32, 1)
    (notice,) = sets.notices
    assert "1 of 21 images are left out" in notice
    assert "thumb.png has 10; usually 32 pixels" in notice


@pytest.mark.parametrize("other", ["against", "held_out"])
def test_the_same_images_on_both_sides_are_said_first(place, tmp_path, other, capsys):
    folders = {"against": place / "train", "held_out": place / "held_out"}
    sentence = f"--generated and --{other} are the same folder: {folders[other]}."
    sets = subjects.load_folders(folders[other], *folders.values())
    assert sentence in sets.notices
    assert any("20 of the 20 images of --generated are copies, pixel by" in n for n in sets.notices)
    write_folder(tmp_path / "some", make_images(20, 7))
    shutil.copy(folders[other] / "5.png", tmp_path / "some" / "3.png")
    sets = subjects.load_folders(tmp_path / "some", *folders.values())
    (notice,) = sets.notices
    assert "1 of the 20 images of --generated are copies, pixel by pixel, of" in notice
    assert f"of images of --{other} (3.png is 5.png)" in notice
    result = evaluate.evaluate(sets, out=tmp_path / "out", cache_dir=place / "briefly").metrics
    out = capsys.readouterr().out
    assert out.index(notice) < out.index("kernel distance")
    assert result["notes"][0] == notice
    assert subjects.load_folders(place / "fresh", *folders.values()).notices == ()


def test_one_image_many_times_is_said(place, tmp_path):
    write_folder(tmp_path / "one", np.repeat(make_images(1, 3), 20, axis=0))
    sets = subjects.load_folders(tmp_path / "one", place / "train", None)
    assert any("has 20 images, but only 1 different ones" in n for n in sets.notices)


def test_two_comparisons_do_not_overwrite_one_another(place, tmp_path, capsys):
    out = tmp_path / "evaluation"
    measure_folders(place, "fresh", out)
    first = list_content(out)
    measure_folders(place, "copies", out, json_path=tmp_path / "a.json")
    assert list_content(out) == first
    assert f"{out} holds another comparison, which is kept" in capsys.readouterr().out
    second = out.with_name("evaluation-2")
    files = {path.name for path in second.iterdir()}
    assert files == {"evaluation.json", "nearest_pairs.png", "figures"}
    copies = json.loads((tmp_path / "a.json").read_text())
    assert copies == json.loads((second / "evaluation.json").read_text())
    assert copies["comparison"]["folders"][0] == str(place / "copies")
    for folder in (out, second):  # each again
        comparison = json.loads((folder / "evaluation.json").read_text())["comparison"]
        assert output.choose_out(out, "evaluation.json", comparison) == folder
    (out / "evaluation.json").write_text("{")
    assert output.choose_out(out, "evaluation.json", {}) == out.with_name("evaluation-3")


def test_the_next_folder_is_found_beside_one_that_is_named_by_a_dot(tmp_path, monkeypatch):
    (tmp_path / "here" / "below").mkdir(parents=True)
    (tmp_path / "here" / "evaluation.json").write_text('{"comparison": {"num": 1}}')
    for where, out in (("here", "."), ("here/below", ".."), ("here/below", "../")):
        monkeypatch.chdir(tmp_path / where)
        assert output.choose_out(Path(out), "evaluation.json", {"num": 1}) == Path(out)
        found = output.choose_out(Path(out), "evaluation.json", {"num": 2})
        assert found == tmp_path / "here-2"


def break_run(workdir, how):
    """Make the run of class right one that can not be drawn from."""
    run = workdir / "right"
    record = json.loads((run / "config.json").read_text())
    if how == "other data":
        record["data"]["fingerprint"] = "e" * 64
    if how == "other version":
        record["format"] = 99
    (run / "config.json").write_text("{" if how == "no record" else json.dumps(record))
    lost = {"damaged": "default/manifest.ocdbt", "no record": "_CHECKPOINT_METADATA"}.get(how)
    if lost:
        (run / "checkpoints" / "2" / lost).unlink()
    if how == "no checkpoint":
        shutil.rmtree(run / "checkpoints" / "2")
    if how == "other size":
        shutil.rmtree(run)
        write_run(workdir, "right", make_dcgan_settings(image_size=64))


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("other data", "was trained on other data"),
        ("other version", "newer version of jaxgan"),
        ("no record", "is not valid JSON"),
        ("damaged", "is damaged"),
        ("no checkpoint", "no checkpoint yet"),
        ("other size", r"right in .* makes images of \[64, 64, 1\]"),
    ],
)
def test_a_class_is_measured_whatever_is_wrong_with_the_run_of_another(tmp_path, how, reason):
    dataset = make_dataset(num_train=48, num_val=40)
    for name in dataset.class_names:
        write_run(tmp_path, name)
    assert subjects.load_run(tmp_path, "left", dataset).classes is not None
    break_run(tmp_path, how)
    before = list_content(tmp_path)
    sets = subjects.load_run(tmp_path, "left", dataset)
    assert sets.classes is None
    assert re.search(reason, sets.no_classes)
    assert list_content(tmp_path) == before  # reading only reads
    if how != "other size":  # of which one alone is nothing wrong
        with pytest.raises(UserError, match=reason):
            subjects.load_run(tmp_path, "right", dataset)


def test_it_is_said_when_not_all_training_images_were_searched(place, tmp_path, monkeypatch):
    sentence = "Searched for copies: 15 of the 20 training images"
    whole = measure_folders(place, "copies", tmp_path)
    assert not any("Searched for copies" in note for note in whole["notes"])
    monkeypatch.setattr(real_images, "MAX_SEARCHED", 15)
    result = measure_folders(place, "copies", tmp_path)
    assert result["memorisation"]["num_train"] == 15
    assert any(sentence in note for note in result["notes"])


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ((), "either --class=NAME"),
        (("--generated=copies",), "either --class=NAME"),
        (("--class=left", "--generated=copies", "--against=train"), "either --class=NAME"),
        (("--class=left",), "no config.json"),
        (("--generated=few", "--against=train"), "found 19 images, expected at least 20"),
        (("--generated=copies", "--against=nowhere"), "does not exist"),
        (("--generated=copies", "--against=train", "--window=40,0"), "0 wide, expected 1 or more"),
        (("--generated=copies", "--against=train", "--value_range=0,9"), "more than 8 bits"),
        (("--class=left", "--fit=pad"), "a run has its own settings for this"),
        (("--generated=copies", "--against=train", "--features=train/0.png"), "not an exported"),
        (("--generated=copies", "--against=train", "--inception=train/0.png"), "no known format"),
        (("--class=left", "--selection", "--inception=a.pth"), "only in the features of the enc"),
        (("--generated=copies", "--against=train", "--features=./imagenet"), "can not be read"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(place, flags, sentence):
    result = forks.run("evaluate", make_command(place, *flags)[2:], cwd=place)
    assert result.returncode == 2, result.stdout
    (line,) = [line for line in result.stderr.splitlines() if line.strip()]
    assert line.startswith("Error: ")
    assert sentence in line
