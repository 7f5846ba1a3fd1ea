import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxgan.core.errors import UserError
from jaxgan.data import phantom, source
from jaxgan.data.images import as_pixels, read_image, resize_square
from jaxgan.data.sets import check_classes
from jaxgan.data.source import DataSpec, find_kinds, load_dataset
from jaxgan.training.record import describe_differences
from jaxgan.training.run_folder import read_record
from tests.fuzz.seeds import make_film
from tests.old_runs import unpack_format_1

CXR = Path(__file__).parents[2] / "shared/data/cxr"


def fill(folder: Path, count: int, seed: int, side: int = 24) -> None:
    """Write `count` images of noise, two of each patient."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for n in range(count):
        pixels = rng.integers(0, 256, (side, side + n % 2, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{folder.name}{n // 2:02d}_{n}.png")


@pytest.fixture
def flat(tmp_path):
    """Forty and twenty images in two classes, without a split."""
    fill(tmp_path / "films" / "clear", 40, seed=0)
    fill(tmp_path / "films" / "haze", 20, seed=1)
    return tmp_path / "films"


@pytest.fixture
def presplit(tmp_path):
    """Twelve and four images in each of two classes."""
    seeds = iter(range(10))
    for split, count in (("train", 12), ("val", 4)):
        for name in ("clear", "haze"):
            fill(tmp_path / "films" / split / name, count, next(seeds))
    return tmp_path / "films"


def load(data_dir, tmp_path, *, image_size=16, channels=1, limit=2**31, **settings):
    return load_dataset(
        DataSpec(data_dir=data_dir, **settings),
        image_size=image_size,
        channels=channels,
        cache_dir=tmp_path / "cache",
        memory_limit_bytes=limit,
    )


def test_images_belong_to_their_labels_files_and_patients(presplit, tmp_path):
    dataset = load(presplit, tmp_path)
    assert dataset.name == "films" and dataset.class_names == ("clear", "haze")
    assert {split: len(images) for split, images in dataset.splits.items()} == {
        "train": 24,
        "val": 8,
    }
    for split, images in dataset.splits.items():
        assert images.images.dtype == np.uint8 and images.images.shape[1:] == (16, 16, 1)
        assert images.labels.dtype == np.int32
        for n, file in enumerate(images.files):
            expected = as_pixels(resize_square(read_image(presplit / file, 1), 16))
            np.testing.assert_array_equal(images.images[n], expected)
            assert file.split("/")[:2] == [split, dataset.class_names[images.labels[n]]]
            assert images.patients[n] == file  # nothing tells patients here


def test_rgb_and_other_sizes(presplit, tmp_path):
    dataset = load(presplit, tmp_path, image_size=10, channels=3)
    expected = as_pixels(resize_square(read_image(presplit / dataset.val.files[0], 3), 10))
    np.testing.assert_array_equal(dataset.val.images[0], expected)


def test_val_is_made_by_patient(flat, tmp_path):
    dataset = load(flat, tmp_path, patient_pattern=r"^[a-z]+\d\d")
    assert not set(dataset.train.patients) & set(dataset.val.patients)
    assert np.bincount(dataset.val.labels).tolist() == [8, 4]
    assert len(dataset.train) + len(dataset.val) == 60
    assert dataset.notices == (
        "films has no validation split: 20% of the training images were set apart by patient "
        "(seed 0).",
    )


@pytest.mark.parametrize("is_flat", [False, True])
def test_one_class_is_enough_for_a_gan(flat, tmp_path, is_flat):
    shutil.rmtree(flat / "haze")
    dataset = load(flat / "clear" if is_flat else flat, tmp_path)
    assert dataset.class_names == ("clear",)
    assert {split: len(s) for split, s in dataset.splits.items()} == {"train": 32, "val": 8}
    with pytest.raises(UserError, match=r"only one class \(clear\), but it is a test"):
        check_classes(dataset, "it is a test")


def test_what_belongs_to_a_folder_needs_one(tmp_path):
    for settings in (
        {"patients_from": "none"},
        {"label_column": "a"},
        {"follow_links": True},
        {"leave_out": ("a",)},
    ):
        with pytest.raises(UserError, match="without a data folder"):
            load(None, tmp_path, **settings)


def test_links_and_what_is_left_out_are_as_the_specification_says(flat, tmp_path):
    (flat / "haze" / "masks").mkdir()
    shutil.copy(flat / "haze" / "haze00_0.png", flat / "haze" / "masks")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "clear").symlink_to(flat / "clear")
    (tmp_path / "linked" / "haze").symlink_to(flat / "haze")
    dataset = load(tmp_path / "linked", tmp_path, follow_links=True, leave_out=("masks",))
    assert len(dataset.train) + len(dataset.val) == 60


def test_val_is_made_out_of_train_and_test_is_kept(presplit, tmp_path):
    (presplit / "val").rename(presplit / "test")
    dataset = load(presplit, tmp_path, val_fraction=1 / 6)
    assert {split: len(images) for split, images in dataset.splits.items()} == {
        "train": 20,
        "val": 4,
        "test": 8,
    }
    assert all(file.startswith("train/") for file in dataset.val.files)


def test_val_without_patients_is_noticed_twice(flat, tmp_path):
    risk, split = load(flat, tmp_path).notices
    assert "The split is by image" in risk and "set apart by image" in split


def test_too_few_are_left_once_val_is_set_apart(flat, tmp_path):
    with pytest.raises(UserError, match=r"'haze' has 6 training images.*70% .*set apart"):
        load(flat, tmp_path, val_fraction=0.7)


def test_split_settings(flat, tmp_path):
    first = load(flat, tmp_path)
    assert set(load(flat, tmp_path, split_seed=1).val.files) != set(first.val.files)
    assert len(load(flat, tmp_path, val_fraction=0.4).val) == 24


def test_identical_images_stay_together_where_patients_are_unknown(flat, tmp_path):
    for name in ("clear", "haze"):
        for path in sorted((flat / name).iterdir()):
            shutil.copy(path, path.with_name(f"copy-{path.name}"))
    dataset = load(flat, tmp_path)

    def originals(images):
        return {file.replace("copy-", "") for file in images.files}

    assert not originals(dataset.train) & originals(dataset.val)


def test_images_in_two_splits_are_noticed(presplit, tmp_path):
    shutil.copy(presplit / "train/clear/clear00_0.png", presplit / "val/clear/again.png")
    notice = load(presplit, tmp_path).notices[-1]
    assert "1 image(s) of val are also in train" in notice
    assert "val/clear/again.png" in notice and "train/clear/clear00_0.png" in notice


def test_fingerprint_ignores_place_dates_size_and_channels(presplit, tmp_path):
    first = load(presplit, tmp_path)
    elsewhere = tmp_path / "elsewhere" / "other"
    shutil.copytree(presplit, elsewhere, copy_function=shutil.copyfile)
    moved = load(elsewhere, tmp_path / "b", image_size=12, channels=3)
    assert moved.fingerprint == first.fingerprint
    assert moved.train.files == first.train.files


def test_the_images_of_an_old_run_are_still_those_it_was_begun_with(tmp_path):
    films = unpack_format_1(tmp_path) / "films"
    renamed = films.rename(tmp_path / "job_4712")  # the content decides, not what it is called
    dataset = load(renamed, tmp_path)
    for record in (tmp_path / "finished").rglob("config.json"):
        assert json.loads(record.read_text())["data"]["fingerprint"] == dataset.fingerprint
    old = read_record(tmp_path / "stopped/gmd/real")
    assert describe_differences(old, {**old, "data": dataset.describe()}) == ""


def test_fingerprint_ignores_names_but_then_the_images_keep_their_order(presplit, tmp_path):
    first = load(presplit, tmp_path)
    for n, path in enumerate(sorted((presplit / "train/haze").iterdir(), reverse=True)):
        path.rename(path.with_name(f"renamed{n:02d}.png"))
    renamed = load(presplit, tmp_path / "b")  # decoded anew
    assert renamed.train.files != first.train.files
    assert renamed.fingerprint == first.fingerprint
    np.testing.assert_array_equal(renamed.train.images, first.train.images)


def test_fingerprint_follows_content_classes_and_split(presplit, tmp_path):
    seen = {load(presplit, tmp_path).fingerprint}
    image = presplit / "train/clear/clear00_0.png"
    Image.fromarray(np.zeros((20, 20), np.uint8)).save(image)
    seen.add(load(presplit, tmp_path).fingerprint)
    image.rename(presplit / "val/clear/moved.png")
    seen.add(load(presplit, tmp_path).fingerprint)
    for split in ("train", "val"):
        (presplit / split / "haze").rename(presplit / split / "smoke")
    seen.add(load(presplit, tmp_path).fingerprint)
    assert len(seen) == 4


def test_fingerprint_follows_the_seed_of_the_split(flat, tmp_path):
    assert load(flat, tmp_path).fingerprint != load(flat, tmp_path, split_seed=1).fingerprint


def test_large_sets_are_memory_maps(presplit, tmp_path, monkeypatch):
    in_memory = load(presplit, tmp_path, limit=32 * 16 * 16)
    assert not isinstance(in_memory.train.images, np.memmap)
    mapped = load(presplit, tmp_path / "b", limit=32 * 16 * 16 - 1)
    assert isinstance(mapped.train.images, np.memmap) and not mapped.train.images.flags.writeable
    np.testing.assert_array_equal(mapped.train.images, in_memory.train.images)
    assert mapped.fingerprint == in_memory.fingerprint
    monkeypatch.setattr(source, "_decode", None)  # a second time nothing is decoded
    again = load(presplit, tmp_path / "b", limit=1)
    np.testing.assert_array_equal(again.val.images, in_memory.val.images)


def test_interrupted_decoding_leaves_nothing_that_counts(presplit, tmp_path, monkeypatch):
    def half(prepared, records, images):
        images[0] = 255
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(source, "_decode", half)
        with pytest.raises(KeyboardInterrupt):
            load(presplit, tmp_path)
    assert not [path for path in tmp_path.glob("cache/arrays/*/*") if path.is_file()]
    np.testing.assert_array_equal(
        load(presplit, tmp_path).train.images, load(presplit, tmp_path / "b").train.images
    )
    assert len(list(tmp_path.glob("cache/arrays/*/*"))) == 2  # here they would have been


def test_images_above_the_stored_size_keep_their_detail(tmp_path):
    for name in ("clear", "haze"):
        fill(tmp_path / "films" / "train" / name, 10, seed=len(name), side=20)
        fill(tmp_path / "films" / "val" / name, 1, seed=len(name) + 9, side=600)
    dataset = load(tmp_path / "films", tmp_path, image_size=600)
    expected = as_pixels(read_image(tmp_path / "films" / dataset.val.files[0], 1))
    np.testing.assert_array_equal(dataset.val.images[0], expected)


@pytest.fixture
def quick_films(monkeypatch):
    """Films that cost nothing to draw."""

    def draw(*, seed, patient, film, finding, size=32, subtlety=0.5):
        shape = (size, size)
        return np.random.default_rng((seed, patient, film)).integers(0, 256, shape, np.uint8)

    monkeypatch.setattr(phantom, "draw_film", draw)


def test_phantom_is_the_default_and_says_so(tmp_path, quick_films):
    dataset = load(None, tmp_path)
    assert dataset.name == "phantom" and dataset.class_names == phantom.FINDINGS
    assert "the program draws itself" in dataset.notices[0]
    assert "says nothing about patients" in dataset.notices[1]
    for split, counts in phantom.TABLE_1.items():
        labels = dataset.splits[split].labels
        assert dict(zip(dataset.class_names, np.bincount(labels), strict=True)) == dict(counts)
    assert not set(dataset.train.patients) & set(dataset.val.patients)


def test_phantom_settings(tmp_path, quick_films):
    counts = {"train": {"covid": 10, "normal": 10}, "val": {"covid": 2, "normal": 2}}
    first = load(None, tmp_path, phantom_counts=counts)
    other = load(None, tmp_path, phantom_counts=counts, phantom_seed=1)
    assert len(first.val) == 4 and first.fingerprint != other.fingerprint
    with pytest.raises(UserError, match="class 'covid' has no image in val"):
        load(None, tmp_path, phantom_counts={**counts, "val": {"normal": 2}})
    with pytest.raises(UserError, match="class 'covid' has 9 training images"):
        load(None, tmp_path, phantom_counts={**counts, "train": {"covid": 9, "normal": 10}})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dataset": "mnist"}, "name only one of them"),
        ({"val_fraction": 0.0}, "validation fraction is 0.0"),
        ({"val_fraction": 1.0}, "validation fraction is 1.0"),
        ({"channels": 2}, "2 channel"),
        ({"image_size": 0}, "size 0"),
    ],
)
def test_impossible_settings(tmp_path, settings, message):
    with pytest.raises(UserError, match=message):
        load(tmp_path, tmp_path, **settings)


def test_patients_need_a_folder(tmp_path):
    for settings in ({"patient_column": "a"}, {"patient_pattern": "a"}):
        with pytest.raises(UserError, match="without a data folder"):
            load(None, tmp_path, **settings)


def test_bad_files_are_named(presplit, tmp_path):
    (presplit / "val/haze/note.png").write_text("text")
    with pytest.raises(UserError, match=r"(?s)1 image of 33.*val/haze/note.png is not a PNG"):
        load(presplit, tmp_path)


def test_skipped_files_are_said_and_recorded(presplit, tmp_path):
    whole = load(presplit, tmp_path)
    assert whole.describe() == {"name": "films", "fingerprint": whole.fingerprint}
    (presplit / "val/haze/note\x1b.png").write_text("text")
    dataset = load(presplit, tmp_path, skip_bad_images=True)
    assert dataset.fingerprint == whole.fingerprint
    (line,) = dataset.describe()["skipped"]
    assert line.startswith("val/haze/note") and "is not a PNG" in line
    notice = next(n for n in dataset.notices if "skipped" in n)
    assert notice.startswith("1 image(s) were skipped") and r"note\x1b.png" in notice


def test_so_many_are_skipped_that_too_few_are_left(presplit, tmp_path):
    for path in sorted((presplit / "train/haze").iterdir())[:-9]:
        path.write_text("text")
    with pytest.raises(UserError, match="'haze' has 9 training images"):
        load(presplit, tmp_path, skip_bad_images=True)


def test_films_of_one_patient_stay_together_where_only_some_tell_theirs(flat, tmp_path):
    for name in ("clear", "haze"):
        for n in range(8):
            pixels = np.full((24, 24), n, np.uint8)
            (flat / name / f"film{n}.dcm").write_bytes(make_film(pixels, PatientID=f"{n % 2}"))
    for seed in range(6):
        dataset = load(flat, tmp_path, split_seed=seed)
        assert any("by patient, or by image where none is known" in n for n in dataset.notices)
        sides = [
            {p for p in images.patients if p.startswith("the patient of")}
            for images in (dataset.train, dataset.val)
        ]
        assert len(sides[0] | sides[1]) == 2 and not sides[0] & sides[1]


def test_tensorflow_is_not_loaded(presplit, tmp_path):
    load(presplit, tmp_path)
    assert "tensorflow_datasets" in sys.modules and "tensorflow" not in sys.modules


@pytest.mark.skipif(not CXR.is_dir(), reason="the real X-rays (shared/data/cxr) are not here")
def test_real_films(tmp_path):
    dataset = load(CXR, tmp_path, image_size=64)
    counts = {split: np.bincount(s.labels).tolist() for split, s in dataset.splits.items()}
    assert counts == {"train": [155, 168, 104], "val": [33, 33, 22]}
    assert dataset.class_names == ("covid", "normal", "pneumonia")
    assert ["the column 'patient_group'" in notice for notice in dataset.notices] == [True]
    assert not set(dataset.train.patients) & set(dataset.val.patients)
    assert len(set(dataset.train.patients)) < 427


def test_names_of_images_in_two_splits_begin_no_line(presplit, tmp_path):
    content = next((presplit / "train/clear").iterdir()).read_bytes()
    (presplit / "val/clear/a\nb.png").write_bytes(content)
    (notice,) = [n for n in load(presplit, tmp_path).notices if "also in train" in n]
    assert r"a\nb.png" in notice and "\n" not in notice


# Values and shapes -----------------------------------------------------------------------------


def draw(seed: int, side: int = 48) -> np.ndarray:
    """A film between 0 and 1 that uses all of it: a gradient, a blob, noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:side, 0:side] / side
    film = 0.5 * y + 0.5 * np.exp(-((x - rng.random()) ** 2 + (y - 0.5) ** 2) / 0.02)
    film += rng.normal(0, 0.01, film.shape)
    return (film - film.min()) / np.ptp(film)


def write_png(path: Path, film: np.ndarray, low: int, high: int) -> None:
    Image.fromarray((low + film * (high - low)).astype(np.uint16)).save(path.with_suffix(".png"))


def write_dicom(path: Path, film: np.ndarray, low: int, high: int, **elements) -> None:
    stored = low + film * (high - low)
    stored = stored.astype(np.int16 if low < 0 else np.uint16)
    path.write_bytes(make_film(stored, PatientID="", **elements))


CT = {"Modality": "CT", "RescaleSlope": "1", "RescaleIntercept": "0"}
SMALL_PARTS = {
    "png": (write_png, 0, 5000, {}),
    "png with an offset": (write_png, 30_000, 33_000, {}),
    "dicom": (write_dicom, 0, 8000, {}),
    "dicom of 12 bits": (write_dicom, 0, 800, {"bits": 12}),
    "ct": (write_dicom, -1024, 3071, CT),
    "ct, unsigned": (write_dicom, 0, 4095, {**CT, "RescaleIntercept": "-1024"}),
    "an inverted film": (write_dicom, 0, 4000, {"PhotometricInterpretation": "MONOCHROME1"}),
}


def write_films(root: Path, write, low, high, num=12, start=0, **elements) -> Path:
    for label, name in enumerate(("clear", "haze")):
        (root / name).mkdir(parents=True, exist_ok=True)
        for n in range(start, start + num):
            film = draw(100 * label + n) * (1.0 if n % 3 else 0.8)  # some darker: it must show
            write(root / name / f"{name}{n}", film, low, high, **elements)
    return root


@pytest.mark.parametrize("name", sorted(SMALL_PARTS))
def test_films_that_use_a_small_part_of_their_bits_keep_their_grays(name, tmp_path):
    """ImageMagick#1443 and others: everything lay within 13 to 32 of 256 grays, in silence."""
    write, low, high, elements = SMALL_PARTS[name]
    root = write_films(tmp_path / "films", write, low, high, **elements)
    data = load(root, tmp_path, image_size=48)
    images = np.concatenate([data.train.images, data.val.images])
    assert all(len(np.unique(image)) > 120 for image in images)
    assert images.min() == 0 and images.max() == 255
    ends = [int(image.min() if "inverted" in name else image.max()) for image in images]
    assert len(set(ends)) > 1  # one range for all: the darker ones stay darker
    (notice,) = (n for n in data.notices if "black" in n and "white" in n)
    assert "24 image(s)" in notice and "--value_range" in notice
    assert not any("fewer than 64" in n for n in data.notices)
    (ends_found,) = data.describe()["look"]["value_ranges"].values()
    assert f"{ends_found[0]:g} is shown as black and {ends_found[1]:g} as white" in notice


@pytest.mark.parametrize("write", [write_png, write_dicom])
def test_films_that_use_all_of_their_bits_look_as_stored(write, tmp_path):
    root = write_films(tmp_path / "films", write, 0, 65535)
    data = load(root, tmp_path, image_size=48)
    for image, file in zip(data.train.images, data.train.files, strict=True):
        np.testing.assert_array_equal(image, as_pixels(read_image(root / file, 1)))
    assert "look" not in data.describe()
    assert not any("black" in notice for notice in data.notices)
    (kind,) = find_kinds(DataSpec(data_dir=root))
    assert "16" in kind


def test_the_range_is_the_same_for_every_split_and_class(tmp_path):
    for split, high in (("train", 3000), ("val", 5000)):
        write_films(tmp_path / "films" / split, write_png, 0, high)
    data = load(tmp_path / "films", tmp_path, image_size=48)
    assert data.val.images.max() == 255
    assert data.train.images.max() == round(255 * 3000 / 5000)


def test_a_range_that_was_asked_for_is_recorded_and_in_the_fingerprint(tmp_path):
    root = write_films(tmp_path / "films", write_png, 0, 5000)
    found, asked, window = (
        load(root, tmp_path, image_size=48, **settings)
        for settings in ({}, {"value_range": "0,2500"}, {"window": "1250.5,2501"})
    )
    assert asked.describe()["look"] == {"value_range": [0.0, 2500.0]}
    assert asked.fingerprint == window.fingerprint != found.fingerprint
    np.testing.assert_array_equal(asked.train.images, window.train.images)
    assert np.mean(asked.train.images == 255) > 10 * np.mean(found.train.images == 255)


def test_a_range_that_no_image_has_a_use_for_is_refused(flat, tmp_path):
    for settings in ({"value_range": "0,2500"}, {"window": "40,400"}):
        with pytest.raises(UserError, match="no image holds gray of more than 8 bits"):
            load(flat, tmp_path, **settings)
    assert list((tmp_path / "cache" / "folder").iterdir()) == []


def test_a_window_of_the_film_stands_and_others_are_told(tmp_path):
    """Windowed and plain films, and 8 bits among them, in one data set."""
    window = {"WindowCenter": "500", "WindowWidth": "1000"}
    root = write_films(tmp_path / "films", write_dicom, 0, 4000, num=6, **window)
    alone = load(write_films(tmp_path / "w", write_dicom, 0, 4000, **window), tmp_path)
    assert not any("ways" in n or "black" in n for n in alone.notices)
    write_films(root, write_dicom, 0, 4000, num=9, start=6)
    Image.fromarray((draw(5) * 255).astype(np.uint8)).save(root / "clear" / "plain.png")
    data = load(root, tmp_path, image_size=48)
    (ways,) = (n for n in data.notices if "ways" in n)
    for told in (
        "12 through a window or table of their own",
        "18 of 16 bits (DICOM)",
        "1 of 8 bits as they are",
    ):
        assert told in ways
    white = {"windowed": [], "plain": []}
    for image, file in zip(data.train.images, data.train.files, strict=True):
        is_windowed = file.lstrip("clearhz/") in list("012345")
        white["windowed" if is_windowed else "plain"].append(np.mean(image == 255))
    assert np.mean(white["windowed"]) > 0.2 > 0.02 > np.mean(white["plain"])


def test_numbers_that_do_not_compare_have_ranges_of_their_own(tmp_path):
    """Hounsfield units beside the bits of a plain film, and beside PNG: no range holds both."""
    root = write_films(tmp_path / "films", write_dicom, -1024, 3071, num=5, **CT)
    write_films(root, write_dicom, 0, 800, num=5, start=5, bits=12)
    write_films(root, write_png, 30_000, 33_000, num=5, start=10)
    data = load(root, tmp_path, image_size=48)
    assert set(data.describe()["look"]["value_ranges"]) == {
        "Hounsfield units (DICOM)",
        "12 bits (DICOM)",
        "16 bits (PNG, TIFF)",
    }
    assert all(len(np.unique(image)) > 120 for image in data.train.images)
    assert any("in 3 ways" in notice for notice in data.notices)


def test_a_film_of_few_grays_is_named_whatever_its_format(presplit, tmp_path):
    dark = (draw(0) * 30).astype(np.uint8)
    Image.fromarray(dark).save(presplit / "train/clear/clear90_0.png")
    data = load(presplit, tmp_path)
    (notice,) = (n for n in data.notices if "grays" in n)
    assert notice.startswith("1 image(s) have fewer than 64 of 256 grays: train/clear/clear90_0")
    again = load(presplit, tmp_path)
    assert notice in again.notices  # out of the cache


def test_what_is_cut_off_is_said_and_what_is_not_is_kept(tmp_path):
    """Panoramic films with the finding at one end: the central square does not hold it."""
    for name, column in (("left", 2), ("right", 90)):
        (tmp_path / "films" / name).mkdir(parents=True)
        for n in range(12):
            blocks = np.random.default_rng(n + column).integers(20, 90, (6, 12), dtype=np.uint8)
            film = np.kron(blocks, np.ones((8, 8), np.uint8))
            film[20:28, column : column + 4] = 255
            Image.fromarray(film).save(tmp_path / "films" / name / f"{n}.png")
    seen = {
        fit: load(tmp_path / "films", tmp_path, image_size=48, fit=fit)
        for fit in ("crop", "pad", "stretch")
    }
    (notice,) = (n for n in seen["crop"].notices if "cut off" in n)
    assert "24 of 24 images" in notice and "50% and 50% on average" in notice
    assert seen["crop"].train.images.max() < 90
    for fit in ("pad", "stretch"):
        assert (seen[fit].train.images.max(axis=(1, 2, 3)) == 255).all()
        assert not any("cut off" in n for n in seen[fit].notices)
        assert seen[fit].describe()["look"] == {"fit": fit}
    assert (seen["pad"].train.images[:, :12] == 0).all()
    assert len({data.fingerprint for data in seen.values()}) == 3
    assert "look" not in seen["crop"].describe()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"fit": "squeeze"}, "--fit=squeeze: expected one of crop, pad, stretch"),
        ({"value_range": "5,1"}, "from 5 to 1"),
        ({"window": "5,0"}, "0 wide"),
        ({"fit": "pad"}, "phantom's films are square and of 8 bits"),
        ({"window": "5,10"}, "phantom's films are square and of 8 bits"),
    ],
)
def test_impossible_looks(tmp_path, settings, sentence):
    with pytest.raises(UserError, match=sentence):
        load(None, tmp_path, **settings)
