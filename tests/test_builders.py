import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxgan.core.errors import DiskError, UserError
from jaxgan.data import builders, dicom, images, phantom
from jaxgan.data import folder as folders
from jaxgan.data.folder import scan_folder
from jaxgan.data.images import as_pixels, read_image
from jaxgan.data.values import AS_STORED, View
from tests.fuzz.seeds import make_film

COUNTS = {"train": {"covid": 3, "normal": 2}, "val": {"covid": 1, "normal": 2}}


@pytest.fixture
def folder(tmp_path):
    """Ten and three images of noise in each of two classes; sizes differ, one is large."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 10), ("val", 3)):
        for name in ("clear", "haze"):
            target = tmp_path / "films" / split / name
            target.mkdir(parents=True)
            for n in range(count):
                pixels = rng.integers(0, 256, (20 + n, 30), dtype=np.uint8)
                Image.fromarray(pixels).save(target / f"{split}-{name}-{n:02d}.png")
    large = rng.integers(0, 256, (60, 90), dtype=np.uint8)
    Image.fromarray(large).save(tmp_path / "films/train/clear/large.png")
    return tmp_path / "films"


def prepare(
    folder: Path,
    cache: Path,
    channels: int = 1,
    stored_side: int = 48,
    *,
    skip_bad: bool = False,
):
    scan = scan_folder(folder, patient_pattern=r"\w+-\w+-\d\d|large")
    return builders.prepare_folder(
        scan, channels=channels, stored_side=stored_side, cache=cache, skip_bad=skip_bad
    )


@pytest.fixture
def attempts(monkeypatch):
    """The number of preparations that were run, as a list that grows."""
    counted: list = []
    original = builders._prepare

    def count(builder):
        counted.append(builder)
        original(builder)

    monkeypatch.setattr(builders, "_prepare", count)
    return counted


def test_folder_comes_back_pixel_by_pixel(folder, tmp_path):
    prepared = prepare(folder, tmp_path / "cache")
    assert prepared.class_names == ("clear", "haze")
    assert len(prepared.records) == 21 + 6
    for record in prepared.records:
        split, name, file = record.file.split("/")
        assert (record.split, record.label) == (split, prepared.class_names.index(name))
        assert record.patient in Path(file).stem
        stored = as_pixels(read_image(prepared.read(record), 1))
        if file != "large.png":
            original = as_pixels(read_image(folder / record.file, 1))
            np.testing.assert_array_equal(stored, original)
        else:
            assert stored.shape == (48, 72, 1)


def test_it_is_a_tfds_data_set_that_reads_without_tensorflow(folder, tmp_path):
    import tensorflow_datasets as tfds

    prepare(folder, tmp_path / "cache")
    (info,) = (tmp_path / "cache").glob("folder/*/*/*/dataset_info.json")
    builder = tfds.builder_from_directory(info.parent)
    assert set(builder.info.features) == {"image", "label", "file", "patient", "sha256"}
    assert {split: len(builder.as_data_source(split)) for split in builder.info.splits} == {
        "train": 21,
        "val": 6,
    }
    assert "tensorflow" not in sys.modules


def test_rgb(folder, tmp_path):
    prepared = prepare(folder, tmp_path / "cache", channels=3)
    with Image.open(io.BytesIO(prepared.read(prepared.records[0]))) as image:
        assert image.mode == "RGB"


def test_second_time_is_reuse_until_a_file_changes(folder, tmp_path, attempts):
    first = prepare(folder, tmp_path / "cache")
    assert prepare(folder, tmp_path / "cache").records == first.records
    assert len(attempts) == 1
    changed = folder / "train/clear/train-clear-00.png"
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(changed)
    again = {r.file: r for r in prepare(folder, tmp_path / "cache").records}
    assert len(attempts) == 2
    different = [r.file for r in first.records if again[r.file].sha256 != r.sha256]
    assert different == ["train/clear/train-clear-00.png"]


def test_the_same_images_elsewhere_are_not_prepared_again(folder, tmp_path, attempts):
    first = prepare(folder, tmp_path / "cache")
    elsewhere = tmp_path / "disk of job 4712" / "x"
    shutil.copytree(folder, elsewhere, copy_function=shutil.copyfile)  # with other dates
    assert prepare(elsewhere, tmp_path / "cache").records == first.records
    assert len(attempts) == len(list((tmp_path / "cache" / "folder").iterdir())) == 1


def test_a_large_folder_is_read_once_and_where_it_has_moved(
    folder, tmp_path, attempts, monkeypatch
):
    monkeypatch.setattr(folders, "MAX_HASHED_BYTES", 100)
    hashed = []
    original = folders._hash_content
    monkeypatch.setattr(folders, "_hash_content", lambda p: hashed.append(p) or original(p))
    first = prepare(folder, tmp_path / "cache")
    for _ in range(2):
        assert prepare(folder, tmp_path / "cache").records == first.records
    assert len(hashed) == 27
    shutil.copytree(folder, tmp_path / "moved", copy_function=shutil.copyfile)
    assert prepare(tmp_path / "moved", tmp_path / "cache").records == first.records
    assert len(hashed) == 2 * 27 and len(attempts) == 1
    os.utime(folder / "val/haze/val-haze-01.png", ns=(1, 1))  # may be another image by now
    assert prepare(folder, tmp_path / "cache").records == first.records
    assert len(hashed) == 3 * 27 and len(attempts) == 1


def test_settings_have_caches_of_their_own(folder, tmp_path, attempts):
    prepare(folder, tmp_path / "cache")
    prepare(folder, tmp_path / "cache", channels=3)
    prepare(folder, tmp_path / "cache", stored_side=16)
    assert len(attempts) == 3


def test_hash_is_that_of_the_file(folder, tmp_path):
    record = prepare(folder, tmp_path / "cache", channels=3).records[0]
    content = (folder / record.file).read_bytes()
    assert record.sha256 == hashlib.sha256(content).hexdigest()


def test_every_bad_file_of_every_split_is_listed_and_nothing_stays(folder, tmp_path):
    (folder / "train/clear/train-clear-00.png").write_text("this is text")
    cut = folder / "val/haze/val-haze-01.png"
    cut.write_bytes(cut.read_bytes()[:200])
    with pytest.raises(UserError) as error:
        prepare(folder, tmp_path / "cache")
    message = str(error.value)
    assert message.startswith("2 images of 27 cannot be used:")
    assert "train/clear/train-clear-00.png is not a PNG" in message
    assert "val/haze/val-haze-01.png is damaged or cut off" in message
    assert list((tmp_path / "cache").glob("*/*")) == []


def test_a_wholly_bad_split_is_listed_too(folder, tmp_path):
    for path in folder.glob("train/*/*"):
        path.write_text("text")
    with pytest.raises(UserError, match="21 images of 27 cannot be used"):
        prepare(folder, tmp_path / "cache")


def test_bad_files_are_skipped_where_that_is_asked_and_listed_now_and_from_the_cache(
    folder, tmp_path, attempts
):
    (folder / "train/clear/train-clear-00.png").write_text("this is text")
    (folder / "val/haze/out.png").symlink_to("/etc/hostname")
    for _ in range(2):
        prepared = prepare(folder, tmp_path / "cache", skip_bad=True)
        files = [file for file, _ in prepared.skipped]
        assert files == ["train/clear/train-clear-00.png", "val/haze/out.png"]
        assert "is not a PNG" in prepared.skipped[0][1] and "leads out" in prepared.skipped[1][1]
        assert len(prepared.records) == 26 and not set(files) & {r.file for r in prepared.records}
    assert len(attempts) == 1
    with pytest.raises(UserError, match="2 images of 28") as error:  # and never slip in later
        prepare(folder, tmp_path / "cache")
    assert "--on_bad_image=skip" in str(error.value)


def test_a_split_that_would_be_empty_is_not_skipped(folder, tmp_path):
    for path in folder.glob("val/*/*"):
        path.write_text("text")
    with pytest.raises(UserError, match="a split would be empty"):
        prepare(folder, tmp_path / "cache", skip_bad=True)


def test_nothing_of_a_dicom_patient_is_in_what_is_prepared(folder, tmp_path):
    for n, path in enumerate(sorted(folder.rglob("*.png"))):
        pixels = np.full((20, 20), n, np.uint8)
        path.write_bytes(make_film(pixels, PatientID=f"MRN-4711-{n}"))
    scan = scan_folder(folder)
    assert scan.patients_known
    builders.prepare_folder(scan, channels=1, stored_side=48, cache=tmp_path / "cache")
    written = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert written
    for path in written:
        content = path.read_bytes()
        assert b"MRN" not in content and b"Doe" not in content and b"1970" not in content


def test_a_range_that_was_found_is_told_now_and_from_the_cache(folder, tmp_path):
    film = np.linspace(0, 4000, 81).astype(np.uint16).reshape(9, 9)
    Image.fromarray(film).save(folder / "val/haze/val-haze-01.png")
    for _ in range(2):
        found, ways = prepare(folder, tmp_path / "cache").notices
        assert "1 image(s) of 16 bits (PNG, TIFF)" in found and "4000 as white" in found
        assert "26 of 8 bits" in ways


def test_an_interrupted_preparation_is_not_taken_for_a_finished_one(
    folder, tmp_path, monkeypatch, attempts
):
    original = builders.encode_png
    seen = []

    def interrupt(image):
        seen.append(image)
        if len(seen) == 15:
            raise KeyboardInterrupt
        return original(image)

    monkeypatch.setattr(builders, "encode_png", interrupt)
    with pytest.raises(KeyboardInterrupt):
        prepare(folder, tmp_path / "cache")
    assert list((tmp_path / "cache").glob("*/*")) == []
    assert len(prepare(folder, tmp_path / "cache").records) == 27
    assert len(attempts) == 2


PROGRAM = """
import sys
from pathlib import Path
from jaxgan.data import builders, folder
scan = folder.scan_folder(Path(sys.argv[1]))
prepared = builders.prepare_folder(scan, channels=1, stored_side=48, cache=Path(sys.argv[2]))
print(len(prepared.records), sum(len(prepared.read(record)) for record in prepared.records))
"""


def test_two_processes_at_once(folder, tmp_path):
    command = [sys.executable, "-c", PROGRAM, str(folder), str(tmp_path / "cache")]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    answers = {child.communicate()[0] for child in children}
    assert all(child.returncode == 0 for child in children)
    assert len(answers) == 1 and answers.pop().startswith("27 ")
    assert len(list((tmp_path / "cache").glob("folder/*"))) == 1


def test_losing_the_race_keeps_the_winner(folder, tmp_path, monkeypatch):
    winner = prepare(folder, tmp_path / "first")
    (key,) = (tmp_path / "first" / "folder").iterdir()
    original = builders._prepare

    def overtaken(builder):
        original(builder)
        (tmp_path / "cache" / "folder").mkdir(parents=True, exist_ok=True)
        key.rename(tmp_path / "cache" / "folder" / key.name)

    monkeypatch.setattr(builders, "_prepare", overtaken)
    assert prepare(folder, tmp_path / "cache").records == winner.records
    assert [p.name for p in (tmp_path / "cache" / "folder").iterdir()] == [key.name]


def test_standard_output_stays_clean(folder, tmp_path, capfd):
    prepare(folder, tmp_path / "cache")
    captured = capfd.readouterr()
    assert captured.out == "" and captured.err == ""


def prepare_phantom(cache: Path, **changes):
    settings = {"counts": COUNTS, "seed": 3, "subtlety": 0.5, "channels": 1, **changes}
    return builders.prepare_phantom(**settings, cache=cache)


def test_phantom_is_what_the_plan_draws(tmp_path):
    prepared = prepare_phantom(tmp_path)
    assert prepared.class_names == ("covid", "normal")
    films = {
        (split, film.patient_id, film.film): film
        for split, plan in phantom.plan_splits(counts=COUNTS, seed=3).items()
        for film in plan
    }
    assert len(films) == len(prepared.records) == 8
    for record in prepared.records[:2]:
        name, file = record.file.split("/")
        film = films[record.split, record.patient, int(Path(file).stem.split("_")[-1])]
        assert name == film.finding == prepared.class_names[record.label]
        drawn = phantom.draw_film(
            seed=3, patient=film.patient, film=film.film, finding=film.finding, subtlety=0.5
        )
        np.testing.assert_array_equal(
            as_pixels(read_image(prepared.read(record), 1))[..., 0], drawn
        )


def test_phantom_cache_follows_its_settings(tmp_path, attempts, monkeypatch):
    def flat_film(*, size=32, **settings):
        return np.full((size, size), settings["seed"] + 100 * settings["subtlety"], np.uint8)

    monkeypatch.setattr(phantom, "draw_film", flat_film)
    first = prepare_phantom(tmp_path)
    assert prepare_phantom(tmp_path).records == first.records
    assert len(attempts) == 1
    prepare_phantom(tmp_path, seed=4)
    prepare_phantom(tmp_path, subtlety=0.1)
    prepare_phantom(tmp_path, counts={**COUNTS, "val": {"covid": 2, "normal": 2}})
    rgb = prepare_phantom(tmp_path, channels=3)
    monkeypatch.setattr(phantom, "PHANTOM_VERSION", 1000)
    prepare_phantom(tmp_path)
    assert len(attempts) == 6
    assert {r.sha256 for r in rgb.records} == {r.sha256 for r in first.records}


def test_index_is_complete_json(folder, tmp_path):
    prepared = prepare(folder, tmp_path / "cache")
    (index,) = (tmp_path / "cache").glob("folder/*/index.json")
    assert len(json.loads(index.read_text())["records"]) == len(prepared.records)


def test_a_bad_file_does_not_slip_in_where_the_rest_is_prepared(folder, tmp_path):
    prepare(folder, tmp_path / "cache")
    (folder / "val/haze/out.png").symlink_to("/etc/hostname")
    os.mkfifo(folder / "val/haze/pipe.png")
    (folder / "val/haze" / os.fsdecode(b"caf\xe9.png")).write_bytes(b"x")
    with pytest.raises(UserError, match="3 images of 30 cannot be used"):
        prepare(folder, tmp_path / "cache")
    assert len(prepare(folder, tmp_path / "cache", skip_bad=True).skipped) == 3


def test_films_come_back_when_what_they_need_is_installed(folder, tmp_path, monkeypatch):
    (folder / "val/haze/val-haze-99.dcm").write_bytes(make_film())
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "pydicom", None)
        patched.setattr(dicom, "find_decoders", tuple)
        (skipped,) = prepare(folder, tmp_path / "cache", skip_bad=True).skipped
        assert "needs pydicom" in skipped[1]
    assert "pydicom" in dicom.find_decoders()
    prepared = prepare(folder, tmp_path / "cache", skip_bad=True)
    assert prepared.skipped == () and len(prepared.records) == 28


def test_a_cache_that_can_not_be_written_is_a_sentence(folder, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("x")
    with pytest.raises(DiskError, match="can not be written: Not a directory"):
        prepare(folder, tmp_path / "file" / "cache")

    def fill_disk(builder):
        raise RuntimeError("ArrayRecord: No space left on device")

    monkeypatch.setattr(builders, "_prepare", fill_disk)
    with pytest.raises(DiskError, match="Free some space"):
        prepare(folder, tmp_path / "cache")
    assert list((tmp_path / "cache").glob("*/*")) == []


def test_a_range_is_a_cache_of_its_own(folder, tmp_path, attempts):
    deep = np.arange(1200, dtype=np.uint16).reshape(30, 40)
    Image.fromarray(deep).save(folder / "train/clear/deep.png")
    scan = scan_folder(folder)
    for view in (AS_STORED, View(asked=(0.0, 999.0)), View(asked=(0.0, 500.0)), AS_STORED):
        prepared = builders.prepare_folder(
            scan, channels=1, stored_side=48, cache=tmp_path / "cache", view=view
        )
        (record,) = (r for r in prepared.records if r.file.endswith("deep.png"))
        low, high = view.asked or (0.0, 1199.0)
        expected = np.rint(np.clip((deep - low) / (high - low), 0, 1) * 255)
        stored = as_pixels(read_image(prepared.read(record), 1))[..., 0]
        np.testing.assert_array_equal(stored, expected)
    assert len(attempts) == 3
    assert prepared.view == View(ranges={"16 bits (PNG, TIFF)": (0.0, 1199.0)})


def test_films_of_8_bits_are_looked_at_once(folder, tmp_path, monkeypatch):
    """A second pass is for those that may hold more."""
    monkeypatch.setattr(images, "measure_image", lambda path: pytest.fail("a second pass"))
    prepare(folder, tmp_path / "cache")
