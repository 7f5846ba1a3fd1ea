"""Any image-classification data set of the TFDS catalogue, by name, without TensorFlow.

Importing this module imports tensorflow_datasets (about a second): import it where it is needed.
"""

import difflib
import hashlib
import json
import queue
import re
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock
from urllib.parse import urlsplit

import numpy as np
import requests
import tensorflow_datasets as tfds
from tensorflow_datasets.core.download import downloader

from jaxgan.core.errors import UserError
from jaxgan.core.files import write_text
from jaxgan.data.builders import PreparedSet, Record, open_encoded
from jaxgan.data.images import (
    as_pixels,
    map_in_threads,
    may_be_deep,
    measure_image,
    read_image,
)
from jaxgan.data.limits import naming
from jaxgan.data.sets import describe_renamed, name_classes
from jaxgan.data.tensorflow_free import without_tensorflow
from jaxgan.data.values import AS_STORED, Spread, View, find_view, no_numbers_error

SPLIT_NAMES = {"train": "train", "validation": "val", "val": "val", "valid": "val", "test": "test"}
INDEX_FILE = "jaxgan_index_2.json"  # labels, hashes, ranges: so that they are computed once
PROBE_SECONDS = 6.0  # how long a server may take to answer at all
PROBED_HOSTS = 4
NUM_RETRIES = 2  # TFDS's 10 take over three minutes without a network


class _Keys(NamedTuple):
    """Which features of a data set are the image and its class."""

    image: str
    label: str


def prepare_catalogue(name: str, cache: Path, view: View = AS_STORED) -> PreparedSet:
    """Return a catalogue data set, downloaded and prepared now unless `cache` has it.

    `name` may contain a configuration and a version (`cifar10:3.*.*`). Raises `UserError` for an
    unknown name, for data that is not images with one class each, and for a download that cannot be
    reached; the last within seconds.
    """
    _check_name(name)
    with without_tensorflow():
        builder = _create_builder(name, cache / "tfds")
        keys = _find_keys(name, builder.info)
        if not Path(builder.data_dir).is_dir():
            _download(name, builder)
        return _read(name, builder, keys, view)


def _check_name(name: str) -> None:
    base = re.split("[/:,]", name)[0]
    known = tfds.list_builders(with_community_datasets=False)
    if base not in known:
        near = difflib.get_close_matches(base, known, n=5)
        hint = f" Did you mean {', '.join(near)}?" if near else ""
        raise UserError(
            f"the TFDS catalogue has no data set {name!r}.{hint} Expected a name from "
            "https://www.tensorflow.org/datasets/catalog, such as mnist. For your own images, "
            "give their folder instead."
        )


def _create_builder(name: str, data_dir: Path) -> Any:
    try:
        return tfds.builder(name, data_dir=data_dir)
    except ImportError as error:
        raise _missing_package(name, error) from error
    except Exception as error:  # the catalogue's own code: unknown configurations, versions
        raise UserError(f"the data set {name!r} cannot be opened: {error}") from error


def _find_keys(name: str, info: Any) -> _Keys:
    """Return the keys of the image and the label in a data set that has one of each."""
    features = info.features if isinstance(info.features, tfds.features.FeaturesDict) else {}
    images = [key for key, feature in features.items() if _is_picture(feature)]
    labels = [k for k, feature in features.items() if isinstance(feature, tfds.features.ClassLabel)]
    supervised = info.supervised_keys
    if supervised and supervised[0] in images and supervised[1] in labels:
        return _Keys(supervised[0], supervised[1])
    if len(images) == 1 and len(labels) == 1:
        return _Keys(images[0], labels[0])
    raise UserError(
        f"the data set {name!r} is not image classification: expected one image and one class "
        f"label per example, found {len(images)} image(s) and {len(labels)} label(s) among "
        f"{', '.join(features) or 'no named features'}. Choose another data set."
    )


def _is_picture(feature: Any) -> bool:
    """Whether a feature is an 8-bit or 16-bit image, not a mask, video or floating-point map."""
    is_mask = isinstance(feature, tfds.features.LabeledImage)
    is_image = isinstance(feature, tfds.features.Image)
    return is_image and not is_mask and np.dtype(feature.np_dtype) in (np.uint8, np.uint16)


# Downloading -----------------------------------------------------------------------------------


def _download(name: str, builder: Any) -> None:
    """Download and prepare, or say within seconds why that is not possible."""
    downloads = Path(builder.data_dir_root) / "downloads"
    _check_manual_files(name, builder, downloads / "manual")
    if not any(downloads.glob(f"{builder.name}/**/*.INFO")):  # nothing fetched by an earlier run
        _check_reachable(name, builder.url_infos or {})
    try:
        with mock.patch.object(downloader, "MAX_RETRIES", NUM_RETRIES):
            builder.download_and_prepare(file_format="array_record")
    except ImportError as error:
        raise _missing_package(name, error) from error
    except Exception as error:  # whatever the network and the catalogue's own code raise
        if not Path(builder.data_dir).is_dir():  # unless another process has finished first
            raise UserError(
                f"the data set {name!r} could not be downloaded and prepared: {error}. Try again, "
                f"or prepare it on another machine and copy it to {builder.data_dir}."
            ) from error


def _check_manual_files(name: str, builder: Any, folder: Path) -> None:
    instructions = builder.MANUAL_DOWNLOAD_INSTRUCTIONS
    if instructions and not (folder.is_dir() and any(folder.iterdir())):
        raise UserError(
            f"the data set {name!r} has to be downloaded by hand into {folder}:\n"
            f"{instructions.strip()}\nThen run this again."
        )


def _check_reachable(name: str, urls: Iterable[str]) -> None:
    """Raise `UserError` if none of the download's servers answers."""
    by_host = {urlsplit(url).netloc: url for url in urls if url.startswith("http")}
    hosts = list(by_host)[:PROBED_HOSTS]
    if not hosts:
        return
    reason = _probe([by_host[host] for host in hosts])
    if reason is not None:
        raise UserError(
            f"the data set {name!r} cannot be downloaded: no answer from {', '.join(hosts)} "
            f"({reason}). Connect to the network and try again, or name a folder of images. "
            "Without a name, the program uses the data set that it draws itself."
        )


def _probe(urls: list[str]) -> str | None:
    """Return None as soon as one URL answers; otherwise the reason why the last did not."""
    answers: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def ask(url: str) -> None:
        try:
            requests.head(url, timeout=PROBE_SECONDS, allow_redirects=False).close()
            answers.put(None)
        except requests.RequestException as error:
            answers.put(type(error).__name__)

    for url in urls:  # daemons: looking up a name has no time limit of its own
        threading.Thread(target=ask, args=(url,), daemon=True).start()
    deadline = time.monotonic() + PROBE_SECONDS
    reason = f"nothing within {PROBE_SECONDS:g} s"
    for _ in urls:
        try:
            answer = answers.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            break
        if answer is None:
            return None
        reason = answer
    return reason


def _missing_package(name: str, error: ImportError) -> UserError:
    found = re.search(r"No module named '([^']+)'", str(error))
    package = found.group(1) if found else str(error)
    return UserError(
        f"the data set {name!r} needs the package {package!r}, which is not installed. Choose "
        "another data set, or export its images to a folder and name that folder."
    )


# Reading ---------------------------------------------------------------------------------------


def _read(name: str, builder: Any, keys: _Keys, view: View) -> PreparedSet:
    """Return a prepared data set, with its splits under jaxgan's names."""
    found = {SPLIT_NAMES[s]: s for s in builder.info.splits if s in SPLIT_NAMES}
    if "train" not in found:
        raise UserError(
            f"the data set {name!r} has the splits {', '.join(builder.info.splits)}, expected "
            "train. Choose another data set."
        )
    sources = {ours: open_encoded(builder, theirs, keys.image) for ours, theirs in found.items()}
    path = Path(builder.data_dir) / INDEX_FILE
    if not path.is_file():
        write_text(path, json.dumps(_create_index(sources, keys)))
    index = json.loads(path.read_text())
    splits = index["splits"]
    unlabelled = [s for s, rows in splits.items() if any(label < 0 for label, _, _ in rows)]
    notices = [f"{name} has no labels in its split {s}, which is left out." for s in unlabelled]
    records = tuple(
        Record(split, i, label, _name_record(split, i), _name_record(split, i), sha256, aspect)
        for split, rows in splits.items()
        if split not in unlabelled
        for i, (label, sha256, aspect) in enumerate(rows)
    )
    labels = builder.info.features[keys.label].names
    names = name_classes(f"the data set {name!r}", labels)
    notices += describe_renamed(names)
    if view.asked is not None and not index["num_deep"]:
        raise no_numbers_error()
    if view.asked is None:
        view = View(ranges={kind: (low, high) for kind, (low, high) in index["ranges"].items()})
        notices += index["notices"]
    classes = tuple(names[label] for label in labels)
    return PreparedSet(classes, records, sources, keys.image, tuple(notices), view=view)


def _name_record(split: str, position: int) -> str:
    return f"{split}/{position:07d}"


def _create_index(sources: dict[str, Any], keys: _Keys) -> dict[str, Any]:
    """Return label, SHA-256 and aspect of each image, and the range of images above 8 bits.

    The hash is of the pixels, because PNG writers produce different bytes.
    """
    spreads: dict[str, Spread] = {}

    def describe(item: tuple[str, dict[str, Any]]) -> tuple[int, str, float]:
        name, example = item
        encoded = example[keys.image]
        with naming(name):
            pixels = as_pixels(read_image(encoded, channels=3))
        if may_be_deep(encoded) and (spread := measure_image(encoded)) is not None:
            spreads[name] = spread
        digest = hashlib.sha256(f"{pixels.shape}".encode() + pixels.tobytes())
        return int(example[keys.label]), digest.hexdigest(), pixels.shape[1] / pixels.shape[0]

    def rows(split: str, source: Any) -> Iterator[tuple[int, str, float]]:
        named = ((_name_record(split, i), example) for i, example in enumerate(source))
        yield from map_in_threads(describe, named, title=f"indexing {split}", total=len(source))

    splits = {split: list(rows(split, source)) for split, source in sources.items()}
    view, notices = find_view(spreads)
    index = {"splits": splits, "num_deep": len(spreads)}
    return {**index, "ranges": view.ranges, "notices": notices}
