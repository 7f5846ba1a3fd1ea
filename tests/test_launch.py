"""The launchers as a user runs them: processes, flags, kills and mistakes."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from array_record.python.array_record_module import ArrayRecordReader
from PIL import Image

from jaxgan.core.settings import read_settings
from jaxgan.data.source import DataSpec, load_dataset
from jaxgan.sampling.settings import TrainGanSettings
from tests import forks, kills, long_run
from tests.fuzz.seeds import IDENTITY, make_film
from tests.helpers import (
    compute_difference,
    make_environment,
    restore_newest,
    write_run,
    write_split_folder,
)

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / "configs"
TINY_DCGAN = (
    f"--config={CONFIG / 'dcgan.py:quick'}",
    "--config.gan.image_size=32",
    "--config.gan.generator_width=4",
    "--config.gan.discriminator_width=4",
    "--config.batch_size=8",
    "--config.selection.max_tries=16",
)
TINY_GMD = (
    f"--config={CONFIG / 'gmd.py:quick'}",
    "--config.classifier.image_size=24",
    "--config.classifier.width=8",
    "--config.num_epochs=2",
)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with data and a cache that all tests here share."""
    path = tmp_path_factory.mktemp("launch")
    write_split_folder(path / "data", num_train=24, num_val=8)
    return path


def make_command(name, place, *flags):
    common = () if name == "sample" else (f"--cache_dir={place / 'cache'}",)
    return [sys.executable, str(ROOT / "launch" / f"{name}.py"), *common, *flags]


def run(name, place, *flags):
    return subprocess.run(
        make_command(name, place, *flags),
        capture_output=True,
        text=True,
        env=make_environment(),
        timeout=300,
        check=False,
    )


def fork(name, place, *flags):
    """As `run`, without the seconds that imports take."""
    return forks.run(name, make_command(name, place, *flags)[2:])


def train_dcgan(place, workdir, *flags, run=fork):
    return run(
        "train_dcgan",
        place,
        *TINY_DCGAN,
        f"--data_dir={place / 'data'}",
        f"--workdir={workdir}",
        *flags,
    )


def test_the_whole_way_from_images_to_two_reports(place, tmp_path):
    flags = ("--class=all", "--accept=none", "--config.num_epochs=2")
    result = train_dcgan(place, tmp_path / "dcgan", *flags, run=run)
    assert result.returncode == 0, result.stderr
    assert "No patient information" in result.stdout
    for flags in ((), ("--augment", f"--synthetic_dir={tmp_path / 'dcgan'}")):
        result = fork(
            "train_gmd",
            place,
            *TINY_GMD,
            f"--data_dir={place / 'data'}",
            f"--workdir={tmp_path / 'gmd'}",
            *flags,
        )
        assert result.returncode == 0, result.stderr
    assert "Validation accuracy, augmented minus real" in result.stdout
    for run_folder in (tmp_path / "dcgan" / "left", tmp_path / "gmd" / "augmented"):
        notes = json.loads((run_folder / "config.json").read_text())["notes"]
        assert notes["data"] == str(place / "data")
        assert f"--data_dir={place / 'data'}" in notes["command"]
        assert Path(notes["folder"]).is_dir()
    report = json.loads((tmp_path / "gmd" / "augmented" / "report.json").read_text())
    assert report["synthetic_images"] == {"left": 12, "right": 12}
    result = run(
        "sample",
        place,
        "--class=left",
        f"--workdir={tmp_path / 'dcgan'}",
        "--num=5",
        f"--out={tmp_path / 'out'}",
    )
    assert result.returncode == 0, result.stderr
    assert len(list((tmp_path / "out").glob("seed_*.png"))) == 5
    of_left = (f"--workdir={tmp_path / 'dcgan'}", "--class=left")
    for flags, code, sentence in (
        (("--keep", f"--data_dir={place / 'data'}"), 0, "Kept 12 images of class left"),
        (("--keep", "--num=5", "--seed=1"), 2, "--num, --seed have no effect: --keep uses the run"),
        ((), 2, "Expected --out=DIR"),
    ):
        result = fork("sample", place, *of_left, *flags)
        assert result.returncode == code, result.stderr
        assert sentence in result.stdout + result.stderr


def read_written(path):
    """A file's bytes; of a prepared data set, which is compressed, its records."""
    if ".array_record" not in path.name:
        return path.read_bytes()
    reader = ArrayRecordReader(str(path))
    try:
        return b"".join(reader.read_all())
    finally:
        reader.close()


def test_nothing_of_a_dicom_person_is_in_what_is_written_or_said(place, tmp_path):
    data = tmp_path / "data"
    for split, num in (("train", 12), ("val", 4)):
        for label, name in enumerate(("left", "right")):
            (data / split / name).mkdir(parents=True)
            for i in range(num):
                pixels = np.full((24, 24), 100 * label + 5 * i, np.uint8)
                film = make_film(pixels, PatientID=f"{IDENTITY['PatientID']}-{split}{name}{i}")
                (data / split / name / f"{i}.dcm").write_bytes(film)
    bad = make_film(np.zeros((4, 5), np.uint8), NumberOfFrames="2")
    (data / "train" / "left" / "bad.dcm").write_bytes(bad)
    written = tmp_path / "written"
    result = fork(
        "train_dcgan",
        place,
        *TINY_DCGAN,
        "--class=left",
        "--accept=none",
        "--config.num_epochs=1",
        "--on_bad_image=skip",
        f"--cache_dir={written / 'cache'}",
        f"--data_dir={data}",
        f"--workdir={written / 'runs'}",
    )
    assert result.returncode == 0, result.stderr
    assert "bad.dcm" in result.stdout + result.stderr
    files = [path for path in written.rglob("*") if path.is_file()]
    assert any("accepted" in path.parts for path in files)
    said = (result.stdout + result.stderr).encode()
    for identity in IDENTITY.values():
        assert identity.encode() not in said
        assert not [path for path in files if identity.encode() in read_written(path)]


def test_a_kill_in_a_save_changes_nothing(place):
    """Here, where its program is compiled anyway; many more are in test_kills.py."""
    flags = (
        "--class=left",
        *TINY_DCGAN,
        "--config.num_epochs=12",
        "--config.checkpoint_every_epochs=5",
        "--config.checkpoint_every_seconds=0.1",
        "--config.sample_every_epochs=6",
        "--accept=none",
    )
    subject = kills.Subject("train_dcgan", flags, "left", kills.read_run)
    ends = kills.run(subject, place, num_kills=1, seed=54)
    assert ends["SIGKILL in a save"] == 1


@pytest.mark.slow
def test_two_devices_give_what_one_gives(place, tmp_path):
    """Twenty steps with --num_devices=2, which makes virtual devices where there is one CPU.

    The fast suite has the same in one process (test_two_player, test_train_gan).
    """
    flags = (
        "--class=left",
        "--config.num_epochs=14",
        "--accept=none",
        "--config.gan.ema_decay=0.0",
    )
    states = []
    for num_devices in (1, 2):
        workdir = tmp_path / str(num_devices)
        result = train_dcgan(place, workdir, *flags, f"--num_devices={num_devices}", run=run)
        assert result.returncode == 0, result.stderr
        assert f"on {num_devices} cpu device(s)" in result.stdout
        states.append(restore_newest(workdir / "left"))
    assert states[0][0] == states[1][0] == 21
    assert compute_difference(states[0], states[1]) < 1e-5


@pytest.mark.slow
def test_two_thousand_steps_on_two_devices_end_with_flat_memory(tmp_path):
    command = long_run.make_long_training(tmp_path, 2000)
    seen = long_run.run(command, tmp_path, tmp_path / "run" / "left", most_seconds=3600)
    assert seen.code == 0, (tmp_path / "output.txt").read_text()
    before, after = seen.lowest
    assert after - before <= 40  # MiB, in 500 steps; that of 20,000 is in the docs
    step, state = restore_newest(tmp_path / "run" / "left")
    assert step == 2000
    assert np.isfinite(state.generator.params["up1"]["kernel"]).all()


MISTAKES = [
    (("--class=up",), "no class 'up'"),
    ((), "--class"),
    (("--class=left", "--clas=left"), "clas"),
    (("--class=left", "extra"), "'extra' is not a flag"),
    (("--class=left", "--config.nonsense=1"), "nonsense"),
    (("--class=left", "--config.batch_size=many"), "batch_size"),
    (("--class=left", "--config.gan.image_size=40"), "config.gan.image_size is 40"),
    (("--class=left", "--accept=best"), "accept"),
    (("--class=left", "--num_devices=2", "--config.batch_size=7"), "multiple of 2"),
    (("--class=left", "--data_dir=nowhere"), "nowhere"),
    (("--class=left", "--config=nowhere.py"), "nowhere.py"),
    (("--class=left", f"--config={CONFIG / 'dcgan.py:huge'}"), "huge"),
]


@pytest.mark.parametrize(("flags", "sentence"), MISTAKES)
def test_a_mistake_is_one_line_and_exit_code_2(place, tmp_path, flags, sentence):
    result = train_dcgan(place, tmp_path / "runs", *flags)
    assert result.returncode == 2, result.stdout
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("Error: ")
    assert sentence in lines[0]
    assert not (tmp_path / "runs").exists()


def test_a_dry_run_prints_the_config_and_leaves_nothing(place, tmp_path):
    result = train_dcgan(place, tmp_path / "runs", "--class=left", "--dry_run", "--threshold=0.6")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["settings"]["selection"]["threshold"] == 0.6
    assert not (tmp_path / "runs").exists()


def test_flags_on_the_look_of_images_override_the_config_and_are_recorded(tmp_path):
    flags = ("--class=left", "--dry_run", f"--data_dir={tmp_path / 'data'}")
    for split in ("train", "val"):
        for name in ("left", "right"):
            (tmp_path / "data" / split / name).mkdir(parents=True)
            for n in range(12):
                pixels = np.arange(1600, dtype=np.uint16).reshape(20, 80) + np.uint16(n)
                path = tmp_path / "data" / split / name / f"{split}{name}{n}.png"
                Image.fromarray(pixels).save(path)

    def read(*more):
        result = train_dcgan(tmp_path, tmp_path / "runs", *flags, *more)
        assert result.returncode == 0, result.stderr
        record = json.loads(result.stdout[result.stdout.index("{") :])
        settings = record["settings"]["data"]
        look = [settings[name] for name in ("fit", "value_range", "window")]
        return look, record["data"]["look"], record["data"]["fingerprint"]

    plain, in_config, overridden = (
        read(),
        read("--config.data.fit=pad", "--config.data.window=800,100"),
        read("--config.data.fit=pad", "--config.data.window=800,100", "--value_range=0,900"),
    )
    assert plain[:2] == (
        ["crop", "auto", ""],
        {"value_ranges": {"16 bits (PNG, TIFF)": [0.0, 1610.0]}},
    )
    assert in_config[:2] == (
        ["pad", "auto", "800,100"],
        {"fit": "pad", "value_range": [750.0, 849.0]},
    )
    assert overridden[:2] == (
        ["pad", "0,900", ""],
        {"fit": "pad", "value_range": [0.0, 900.0]},
    )
    assert len({fingerprint for _, _, fingerprint in (plain, in_config, overridden)}) == 3


def test_augmenting_without_kept_images_says_which_command_makes_them(place, tmp_path):
    result = fork(
        "train_gmd",
        place,
        *TINY_GMD,
        "--augment",
        f"--data_dir={place / 'data'}",
        f"--synthetic_dir={tmp_path / 'none'}",
        f"--workdir={tmp_path / 'gmd'}",
    )
    assert result.returncode == 2
    assert "python launch/train_dcgan.py --class=all" in result.stderr


def test_a_data_folder_that_changes_between_start_and_resume_is_noticed(tmp_path):
    write_split_folder(tmp_path / "data", num_train=24, num_val=8)
    flags = (tmp_path, tmp_path / "runs", "--class=left", "--accept=none")
    record = json.loads(train_dcgan(*flags, "--dry_run").stdout)
    settings = read_settings(TrainGanSettings, record["settings"])
    look = {"image_size": 32, "channels": settings.gan.channels}
    dataset = load_dataset(DataSpec(tmp_path / "data"), cache_dir=tmp_path / "cache", **look)
    write_run(tmp_path / "runs", settings=settings, dataset=dataset)
    before = (tmp_path / "runs/left/config.json").read_bytes()
    changed, other = sorted((tmp_path / "data/train/left").iterdir())[:2]
    changed.write_bytes(other.read_bytes())
    again = train_dcgan(*flags)
    assert again.returncode == 2
    assert "The images have changed since the run in" in again.stderr
    assert (tmp_path / "runs/left/config.json").read_bytes() == before


@pytest.mark.parametrize(
    ("launcher", "flags"),
    [
        ("train_dcgan", ("--class=left", *TINY_DCGAN)),
        ("train_gmd", TINY_GMD),
        ("study", (f"--config={CONFIG / 'study.py:quick'}",)),
    ],
)
def test_bad_images_are_listed_or_skipped_and_recorded(tmp_path, launcher, flags):
    write_split_folder(tmp_path / "data", num_train=24, num_val=8)
    (tmp_path / "data/train/left/a\x1b[2J.png").write_text("text")
    (tmp_path / "data/val/right/out.png").symlink_to("/etc/hostname")
    flags = (*flags, f"--data_dir={tmp_path / 'data'}", "--dry_run")
    refused = fork(launcher, tmp_path, *flags)
    assert refused.returncode == 2 and "\x1b" not in refused.stderr
    assert "\nError: 2 images of 34 cannot be used:" in f"\n{refused.stderr}"
    assert r"a\x1b[2J.png is not a PNG" in refused.stderr
    assert "val/right/out.png is a link that leads out" in refused.stderr
    skipped = fork(launcher, tmp_path, *flags, "--on_bad_image=skip")
    assert skipped.returncode == 0, skipped.stderr
    record = json.loads(skipped.stdout[skipped.stdout.index("{") :])
    assert [line.split(" ")[0] for line in record["data"]["skipped"]] == [
        "train/left/a\x1b[2J.png",
        "val/right/out.png",
    ]


@pytest.mark.parametrize(
    ("name", "flag", "told"),
    [
        ("train_dcgan", "generator_width=8", "generator_width: it is config.gan.generator_width."),
        ("train_gmd", "width=8", "config.width: it is config.classifier.width."),
        ("train_gmd", "optimizer=adam", "config.optimizer is a group of settings, learning_rate"),
        ("train_gmd", "learning_rate=1", "it is config.optimizer.learning_rate."),
        ("study", "dcgan.batch_size=8", "dcgan.batch_size: it is config.gan_batch_size."),
        ("study", "gmd.learning_rate=1", "it is config.optimizer.learning_rate."),
        ("study", "dcgan.selection.threshold=1", "it is config.threshold."),
        ("ablate", "dcgan.num_epochs=8", "it is config.train.num_epochs."),
        ("ablate", "dcgan.beta1=0", "it is config.train.gan.beta1."),
        ("train_dcgan", "gan.beta3=0", "no setting 'beta3'"),
    ],
)
def test_a_field_that_has_another_place_is_told_with_it(name, flag, told, place):
    of_gan = ("--class=left",) if name == "train_dcgan" else ()
    result = fork(name, place, *of_gan, f"--config.{flag}")
    assert result.returncode == 2
    assert told in result.stderr
