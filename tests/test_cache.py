"""What is kept of prepared data: shown, removed, and read where it can not be written."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from jaxgan.data import cache, catalogue
from jaxgan.data.source import DataSpec, load_dataset
from jaxgan.evaluation.encoder import TrainedEncoder, _read, _write
from tests import forks
from tests.helpers import can_mount, mount_small_disk, write_split_folder
from tests.test_launch import TINY_GMD, fork

DAY = 86400.0


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder of images, and a cache that has them in 24 x 24."""
    path = tmp_path_factory.mktemp("cache")
    write_split_folder(path / "data", num_train=24, num_val=8)
    load(path / "data", path / "cache")
    return path


def load(data, cache_dir, size=24):
    return load_dataset(DataSpec(data), image_size=size, channels=1, cache_dir=cache_dir)


@pytest.fixture
def kept(place, tmp_path):
    """A cache with one thing of each kind, and things that are somebody's own."""
    root = tmp_path / "cache"
    shutil.copytree(place / "cache", root)
    _write(root / "encoders" / f"{'e' * 32}.npz", TrainedEncoder({}, np.zeros(1), np.zeros(1)))
    for name in (
        f"xla/jit__copy-{'d' * 64}-cache",
        f"xla/jit__copy-{'d' * 64}-atime",
        f"contents/{'c' * 32}.json",
        f"copies/{'c' * 32}.npz",
        f"notices/{'a' * 32}",
        "tfds/mnist/3.0.1/jaxgan_index.json",
        "tfds/mnist/3.0.1/mnist-test.array_record-00000-of-00001",
        "tfds/downloads/mnist/a.gz",
    ):
        write(root / name)
    for name in OWN:
        write(root / name)
    return root


OWN = (
    "thesis.tex",
    "folder/holiday/a.png",
    f"folder/{'b' * 32}/index.json.txt",
    f"folder/{'b' * 32}/a/1.0.0/photo.png",
    f"folder/{'a' * 32}/folder_builder/1.0.0/dataset_info.json",  # without an index
    "arrays/mine/train.npy",
    f"arrays/{'a' * 64}/notes.txt",
    "encoders/best.npz",
    "xla/README",
    "tfds/downloads/manual/images.tar",
    "tfds/flowers/1.0.0/flowers-train.array_record-00000-of-00001",
)


def write(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"12345")


def list_files(root: Path) -> set[str]:
    return {p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file()}


def test_all_of_ours_is_shown_and_removed_and_nothing_else(kept):
    before = {item.kind: item.name for item in cache.list_items(kept)}
    assert list(before) == [
        "prepared images",
        "pixels of one size",
        "hashes of large folders",
        "copies among images",
        "encoders",
        "marks of notices that were shown",
        "compiled programs",
        "catalogue data sets",
        "downloads",
    ]
    items = cache.list_items(kept)
    assert next(i.num_bytes for i in items if i.kind == "compiled programs") == 10
    freed = cache.remove_items(kept, items)
    assert freed == sum(item.num_bytes for item in items) > 1000
    assert list_files(kept) == set(OWN)
    assert not (kept / before["prepared images"]).exists()
    assert not (kept / before["pixels of one size"]).exists()


@pytest.mark.parametrize("index", [catalogue.INDEX_FILE, "jaxgan_index.json"])
def test_a_catalogue_set_is_known_by_the_index_that_is_written(tmp_path, index):
    write(tmp_path / "tfds" / "cifar10" / "3.0.2" / index)
    (item,) = cache.list_items(tmp_path)
    assert (item.kind, item.name) == ("catalogue data sets", "tfds/cifar10/3.0.2")


def test_what_was_removed_is_prepared_again(place, kept):
    first = load(place / "data", kept)
    cache.remove_items(kept, cache.list_items(kept))
    again = load(place / "data", kept)
    np.testing.assert_array_equal(again.train.images, first.train.images)


def test_a_folder_that_lacks_its_index_is_no_preparation(place, kept):
    (index,) = [p for p in kept.glob("folder/*/index.json") if len(p.parent.name) == 32]
    for path in sorted(index.parent.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    assert len(load(place / "data", kept).train) == 24


def test_the_last_use_decides_what_is_old(place, kept):
    for item in cache.list_items(kept):
        for file in item.files:
            os.utime(file, (time.time() - 9 * DAY,) * 2)
    load(place / "data", kept)
    _read(kept / "encoders" / f"{'e' * 32}.npz")
    kinds = {item.kind for item in cache.list_old(cache.list_items(kept), 8)}
    assert {"compiled programs", "downloads"} <= kinds
    assert not kinds & {"prepared images", "pixels of one size", "encoders"}
    assert cache.list_old(cache.list_items(kept), 10) == []


def test_what_may_still_be_written_is_spared(kept):
    path = kept / "encoders" / f".{'f' * 32}.npz.123.beside"
    write(path)
    assert "unfinished files" not in {item.kind for item in cache.list_items(kept)}
    os.utime(path, (time.time() - 2 * DAY,) * 2)
    assert "unfinished files" in {item.kind for item in cache.list_items(kept)}


def test_links_are_not_followed(kept, tmp_path):
    write(tmp_path / "other" / f"{'c' * 32}.json")
    shutil.rmtree(kept / "contents")
    (kept / "contents").symlink_to(tmp_path / "other")
    cache.remove_items(kept, cache.list_items(kept))
    assert (tmp_path / "other" / f"{'c' * 32}.json").exists()


def test_the_command_shows_and_empties(kept, place):
    def run_cache(*flags):
        result = forks.run("cache", [f"--cache_dir={kept}", *flags])
        return result.returncode, result.stdout + result.stderr

    code, shown = run_cache("--older_than_days=30")
    assert code == 0 and shown.startswith("0 items")
    code, shown = run_cache("--empty")
    assert code == 0 and "prepared images" in shown and "10 items" in shown and "Removed" in shown
    assert list_files(kept) == set(OWN)
    shutil.rmtree(kept)
    code, shown = run_cache()
    assert code == 2 and shown.startswith("Error: There is no cache in")


@contextlib.contextmanager
def mount_read_only(path: Path, source: Path):
    """Mount a file system with a copy of a cache that nobody can write."""
    with mount_small_disk(path, kibibytes=2048):
        shutil.copytree(source, path, dirs_exist_ok=True)
        subprocess.run(["mount", "-o", "remount,ro", str(path)], check=True)
        yield path


@pytest.mark.skipif(not can_mount(), reason="needs to mount a file system")
def test_a_read_only_cache_is_used_in_silence_and_what_it_lacks_is_said(place, tmp_path):
    with mount_read_only(tmp_path / "disk", place / "cache") as disk:
        before = list_files(disk)
        for size, is_said in ((24, False), (26, True)):
            flags = (*TINY_GMD, f"--config.classifier.image_size={size}", "--dry_run")
            flags = (*flags, f"--data_dir={place / 'data'}", f"--cache_dir={disk}")
            result = fork("train_gmd", place, *flags)
            assert result.returncode == 0, result.stderr
            assert ("can not be written: prepared data are removed" in result.stderr) == is_said
            assert "Warning" not in result.stderr
        assert list_files(disk) == before


def test_what_a_read_only_cache_holds_is_linked_and_the_rest_is_new(place, tmp_path):
    (tmp_path / "over").mkdir()
    cache.lay_over(place / "cache", tmp_path / "over")
    assert list_files(tmp_path / "over") == list_files(place / "cache")
    before = list_files(place / "cache")
    load(place / "data", tmp_path / "over")
    assert cache.find_new(tmp_path / "over") == []
    load(place / "data", tmp_path / "over", size=20)
    assert [item.kind for item in cache.find_new(tmp_path / "over")] == ["pixels of one size"]
    assert list_files(place / "cache") == before


def test_a_cache_that_is_yet_to_be_made_is_as_writable_as_what_is_above_it(tmp_path):
    assert cache.is_writable(tmp_path / "a" / "b")
    (tmp_path / "file").write_text("")
    assert not cache.is_writable(tmp_path / "file" / "cache")


@pytest.mark.parametrize("flag", ["workdir", "cache_dir"])
def test_nothing_is_written_into_the_folder_of_the_images(place, flag):
    inside = f"--{flag}={place / 'data' / 'train' / '..' / 'runs'}"
    result = fork("train_gmd", place, *TINY_GMD, f"--data_dir={place / 'data'}", inside)
    assert result.returncode == 2
    assert f"{inside} lies in the data folder" in result.stderr
    assert sorted(p.name for p in (place / "data").iterdir()) == ["train", "val"]


def test_what_a_killed_process_left_is_removed_and_a_living_one_is_spared(tmp_path):
    key, host = "0123456789abcdef" * 2, socket.gethostname()
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    ours = cache.name_unfinished(tmp_path / "folder" / key)
    dead = ours.with_name(f"{key}.{host}.{child.pid}.aaaaaaaa")
    alive = ours.with_name(f"{key}.{host}.{os.getppid()}.bbbbbbbb")
    elsewhere = ours.with_name(f"{key}.another-{host}.{child.pid}.cccccccc")
    for path in (ours, dead, alive, elsewhere):
        path.mkdir(parents=True)
    cache.remove_unfinished(tmp_path)
    assert sorted(ours.parent.iterdir()) == sorted([ours, alive, elsewhere])


def test_notices_about_data_are_shown_whole_once_and_then_in_one_line(place, tmp_path):
    flags = (*TINY_GMD, "--config.num_epochs=1", f"--data_dir={place / 'data'}")
    first, second = (
        fork("train_classifier", tmp_path, *flags, f"--workdir={tmp_path / name}").stdout
        for name in ("a", "b")
    )
    again = fork("train_classifier", tmp_path, *flags, "--dry_run")
    assert "No patient information" in first and "An earlier command" not in first
    assert "No patient information" not in second
    assert "An earlier command has shown the notices about these data (" in second
    assert "No patient information" in again.stdout + again.stderr
