import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import requests
import tensorflow_datasets as tfds
from tensorflow_datasets.core.utils.lazy_imports_utils import tensorflow as lazy_tensorflow

from jaxgan.core.errors import UserError
from jaxgan.data import catalogue, source
from jaxgan.data.limits import ImageError
from jaxgan.data.source import DataSpec, load_dataset

NUM = 30


class TinyShapes(tfds.core.GeneratorBasedBuilder):
    """Thirty gray and ten more images; unpacks, opens and encodes as catalogue sets do."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = {
            "image": tfds.features.Image(shape=(8, 8, 1)),
            "label": tfds.features.ClassLabel(names=["box", "disc"]),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description="tiny",
            features=tfds.features.FeaturesDict(features),
            supervised_keys=("image", "label"),
        )

    def _split_generators(self, dl_manager):
        folder = dl_manager.download_and_extract("https://example.invalid/tiny.zip")
        return {
            "train": self._generate_examples(folder, 0),
            "test": self._generate_examples(folder, 1),
        }

    def _generate_examples(self, folder, part):
        with lazy_tensorflow.io.gfile.GFile(f"{folder}/pixels{part}.bin", "rb") as file:
            pixels = np.frombuffer(file.read(), np.uint8).reshape(-1, 8, 8, 1)
        for n, image in enumerate(pixels):
            yield n, {"image": image, "label": n % 2}


class TinyPlaces(TinyShapes):
    """The same with labels that are paths, as a catalogue set of places has them."""

    def _info(self):
        info = super()._info()
        label = tfds.features.ClassLabel(names=["/a/abbey", "/a/../attic"])
        return tfds.core.DatasetInfo(
            builder=self,
            description="places",
            features=tfds.features.FeaturesDict({**info.features, "label": label}),
            supervised_keys=("image", "label"),
        )


class TinyDeep(TinyShapes):
    """The same with numbers of 16 bits that use a small part of them: 0 to 5100."""

    def _info(self):
        info = super()._info()
        image = tfds.features.Image(shape=(8, 8, 1), dtype=np.uint16)
        features = {**info.features, "image": image}
        return tfds.core.DatasetInfo(
            builder=self,
            description="deep",
            features=tfds.features.FeaturesDict(features),
            supervised_keys=("image", "label"),
        )

    def _generate_examples(self, folder, part):
        for n, example in super()._generate_examples(folder, part):
            yield n, {**example, "image": example["image"].astype(np.uint16) * 20}


class TinyCaptions(tfds.core.GeneratorBasedBuilder):
    """Images without classes."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = {"image": tfds.features.Image(), "caption": tfds.features.Text()}
        return tfds.core.DatasetInfo(
            builder=self, description="captions", features=tfds.features.FeaturesDict(features)
        )

    def _split_generators(self, dl_manager):
        raise AssertionError("must not come to this")

    def _generate_examples(self):
        raise AssertionError("must not come to this")


PIXELS = [
    np.random.default_rng(part).integers(0, 256, (NUM if part == 0 else 10, 8, 8, 1), np.uint8)
    for part in (0, 1)
]


@pytest.fixture
def online(tmp_path, monkeypatch):
    """A network that has one archive."""
    archive = tmp_path / "tiny.zip"
    with zipfile.ZipFile(archive, "w") as bundle:
        for part, pixels in enumerate(PIXELS):
            bundle.writestr(f"pixels{part}.bin", pixels.tobytes())

    def fetch(self, url):
        return self.extract(archive)

    monkeypatch.setattr(tfds.download.DownloadManager, "download_and_extract", fetch)
    tfds.disable_progress_bar()
    yield
    tfds.enable_progress_bar()


def load(name: str, tmp_path: Path, *, settings=None, **options):
    return load_dataset(
        DataSpec(dataset=name, **(settings or {})),
        image_size=8,
        channels=1,
        cache_dir=tmp_path / "cache",
        **options,
    )


def test_labels_that_are_paths_name_one_folder_each(tmp_path, online):
    dataset = load("tiny_places", tmp_path)
    assert dataset.class_names == ("-a-abbey", "-a-..-attic")
    assert any("/a/abbey is -a-abbey" in notice for notice in dataset.notices)


def test_catalogue_set_is_prepared_without_tensorflow(tmp_path, online):
    dataset = load("tiny_shapes", tmp_path)
    assert "tensorflow" not in sys.modules
    assert dataset.class_names == ("box", "disc")
    assert {split: len(images) for split, images in dataset.splits.items()} == {
        "train": 24,
        "val": 6,
        "test": 10,
    }
    ours = np.concatenate([dataset.train.images, dataset.val.images])
    assert sorted(map(bytes, ours)) == sorted(map(bytes, PIXELS[0]))
    test = dataset.splits["test"]
    for image, label in zip(test.images, test.labels, strict=True):
        (n,) = [n for n in range(10) if np.array_equal(PIXELS[1][n], image)]
        assert n % 2 == label


def test_numbers_of_16_bits_are_shown_over_one_range(tmp_path, online):
    for _ in range(2):  # the second time out of the index
        dataset = load("tiny_deep", tmp_path)
        ours = np.concatenate([dataset.train.images, dataset.val.images])
        assert sorted(map(bytes, ours)) == sorted(map(bytes, PIXELS[0]))
        assert any("0 is shown as black and 5100 as white" in n for n in dataset.notices)
        assert dataset.look == {"value_ranges": {"16 bits (PNG, TIFF)": [0.0, 5100.0]}}
    asked = load("tiny_deep", tmp_path, settings={"value_range": "0,2550"})
    assert np.mean(asked.train.images == 255) > 0.4
    assert asked.fingerprint != dataset.fingerprint
    with pytest.raises(UserError, match="no image holds gray of more than 8 bits"):
        load("tiny_shapes", tmp_path, settings={"window": "40,400"})


def test_catalogue_notices(tmp_path, online):
    patients, split = load("tiny_shapes", tmp_path).notices
    assert "does not name patients" in patients and "set apart by image" in split


def test_second_time_needs_no_network(tmp_path, online, monkeypatch):
    first = load("tiny_shapes", tmp_path)
    monkeypatch.setattr(catalogue, "_download", None)
    monkeypatch.setattr(catalogue, "_create_index", None)
    again = load("tiny_shapes", tmp_path)
    assert again.fingerprint == first.fingerprint
    np.testing.assert_array_equal(again.train.images, first.train.images)


def test_unknown_name_suggests_near_ones(tmp_path):
    with pytest.raises(UserError, match=r"no data set 'tiny_shape'\. Did you mean tiny_shapes"):
        load("tiny_shape", tmp_path)


def test_unknown_configuration(tmp_path):
    with pytest.raises(UserError, match=r"'tiny_shapes:9\.9\.9' cannot be opened"):
        load("tiny_shapes:9.9.9", tmp_path)


def test_sets_without_classes_are_refused_before_downloading(tmp_path):
    with pytest.raises(UserError, match=r"not image classification.*1 image\(s\) and 0 label"):
        load("tiny_captions", tmp_path)


@pytest.fixture
def offline(monkeypatch):
    """A network that refuses every connection."""

    def refuse(*_, **__):
        raise requests.ConnectionError("no route")

    monkeypatch.setattr(requests, "head", refuse)
    monkeypatch.setattr(requests.Session, "get", refuse)


def test_unreachable_download_is_told_at_once(tmp_path, offline):
    start = time.monotonic()
    with pytest.raises(UserError, match=r"'mnist' cannot be downloaded: no answer from storage\."):
        load("mnist", tmp_path)
    assert time.monotonic() - start < 10


def test_a_server_that_hangs_is_given_up(tmp_path, monkeypatch):
    def hang(*_, **__):
        time.sleep(2)
        raise requests.Timeout  # in a thread that nobody waits for by then

    monkeypatch.setattr(catalogue, "PROBE_SECONDS", 0.2)
    monkeypatch.setattr(requests, "head", hang)
    start = time.monotonic()
    with pytest.raises(UserError, match=r"nothing within 0\.2 s"):
        load("mnist", tmp_path)
    assert time.monotonic() - start < 1.5


def test_one_server_that_answers_is_enough(monkeypatch):
    def head(url, **_):
        if "good" not in url:
            raise requests.Timeout
        return requests.Response()

    monkeypatch.setattr(requests.Response, "close", lambda self: None)
    monkeypatch.setattr(requests, "head", head)
    assert catalogue._probe(["https://bad.invalid", "https://good.invalid"]) is None
    assert catalogue._probe(["https://bad.invalid"]) == "Timeout"


def test_download_that_breaks_off_is_a_sentence(tmp_path, offline):
    with pytest.raises(UserError, match="'tiny_shapes' could not be downloaded and prepared"):
        load("tiny_shapes", tmp_path)  # no registered addresses to ask first
    assert not list((tmp_path / "cache/tfds/tiny_shapes").glob("*"))


def test_few_retries(tmp_path, monkeypatch):
    from tensorflow_datasets.core.download import downloader

    seen = []
    monkeypatch.setattr(
        TinyShapes, "download_and_prepare", lambda *_, **__: seen.append(downloader.MAX_RETRIES)
    )
    before = downloader.MAX_RETRIES
    catalogue._download("tiny_shapes", TinyShapes(data_dir=tmp_path))
    assert seen == [catalogue.NUM_RETRIES] and before == downloader.MAX_RETRIES


def test_sets_to_be_fetched_by_hand_say_how(tmp_path):
    with pytest.raises(UserError, match=r"(?s)by hand into .*manual:.*ILSVRC2012"):
        load("imagenet2012", tmp_path)


def test_a_missing_package_is_named(tmp_path, online, monkeypatch):
    def generate(self, *_):
        raise ModuleNotFoundError("No module named 'apache_beam'")
        yield

    monkeypatch.setattr(TinyShapes, "_generate_examples", generate)
    with pytest.raises(UserError, match="needs the package 'apache_beam'"):
        load("tiny_shapes", tmp_path)


@pytest.mark.parametrize("module", [catalogue, source])
def test_an_image_that_can_not_be_decoded_is_named(tmp_path, online, monkeypatch, module):
    def fail(*_, **__):
        raise ImageError("is damaged")

    monkeypatch.setattr(module, "read_image", fail)
    with pytest.raises(UserError, match=r"^the image train/\d{7} of the data set is damaged$"):
        load("tiny_shapes", tmp_path)
