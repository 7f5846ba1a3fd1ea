"""The reference of a training: what new images are compared with.

It is made once for the data and the form of a training, and saved in the cache. Later the training
images are not needed.
"""

import contextlib
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxgan.core.errors import DiskError
from jaxgan.core.files import note_use, read_arrays, written_beside
from jaxgan.data.copies import Copies, Thumbnails, choose_searched, match_thumbnails
from jaxgan.data.sets import Dataset, ImageSet
from jaxgan.evaluation.encoder import SIDE, TrainedEncoder, load_or_train_encoder
from jaxgan.evaluation.features import shrink
from jaxgan.metrics.departure import (
    compare_classes,
    compare_features,
    compare_histograms,
    compute_feature_distances,
    compute_gray_distances,
    compute_histograms,
)

VERSION = 2  # raise it when a result here changes, so that saved references are made again
MOST_COMPARED = 2000  # training images, and validation images, for the distances
_FEWEST_OF_CLASS = 10  # validation images to compare classes; with fewer, training images are used


@dataclass(frozen=True)
class Reference:
    """The training images, and the distances of the validation images from them.

    `histogram` [256] is the mean of the training images, `features` [n, d] are theirs.
    `gray_yardstick` and `feature_yardstick` [m] are the distances of the validation images,
    `gray_contrast` and `feature_contrast` the distances between classes. `thumbnails` are those of
    all images of the data: `files` and `splits` name them. `kinds` are the kinds of numbers of more
    than 8 bits among these (`jaxgan.data.values`).
    """

    encoder: TrainedEncoder
    histogram: np.ndarray
    features: np.ndarray
    gray_yardstick: np.ndarray
    feature_yardstick: np.ndarray
    gray_contrast: float
    feature_contrast: float
    thumbnails: Thumbnails
    files: tuple[str, ...]
    splits: tuple[str, ...]
    kinds: tuple[str, ...] = ()

    def compute_features(self, images: np.ndarray) -> np.ndarray:
        """Return features [num, d] of uint8 images [num, h, w, c] in the training's form."""
        return self.encoder.encode(shrink(images, SIDE))

    def find_copies(self, thumbnails: Thumbnails) -> dict[int, int]:
        """Return, by the index of each new image that is a copy, the index of its original.

        If there are several originals, a training image is preferred, then the most similar one.
        """
        copies: Copies = match_thumbnails(thumbnails, self.thumbnails)
        is_val = np.array([split != "train" for split in self.splits])[copies.pairs[:, 1]]
        order = np.lexsort((-copies.correlations, is_val))[::-1]
        return {int(new): int(old) for new, old in copies.pairs[order]}


def load_reference(key: str, cache_dir: Path) -> Reference | None:
    """Return the reference saved under `key`; None if there is none or its file is damaged."""
    path = _find_path(key, cache_dir)
    arrays = read_arrays(path)
    if arrays is None:
        return None
    note_use(path)
    params = {n.removeprefix("params/"): a for n, a in arrays.items() if n.startswith("params/")}
    num_searched, num_images = (int(n) for n in arrays["counts"])
    return Reference(
        TrainedEncoder(unflatten_dict(params, sep="/"), arrays["mean"], arrays["whitening"]),
        arrays["histogram"],
        arrays["features"],
        arrays["gray_yardstick"],
        arrays["feature_yardstick"],
        float(arrays["contrasts"][0]),
        float(arrays["contrasts"][1]),
        Thumbnails(arrays["pixels"], arrays["owners"], num_searched, num_images),
        tuple(arrays["files"].tolist()),
        tuple(arrays["splits"].tolist()),
        tuple(arrays["kinds"].tolist()),
    )


def make_reference(
    key: str,
    dataset: Dataset,
    load_thumbnails: Callable[[], tuple[Thumbnails, Sequence[str]]],
    cache_dir: Path,
    kinds: Sequence[str] = (),
) -> Reference:
    """Return the reference of the training images of `dataset`, and save it under `key`.

    An encoder is trained on these, or a saved one is used: see `jaxgan.evaluation.encoder`.
    """
    train, val = (_take_some(images) for images in (dataset.train, dataset.val))
    small = shrink(train.images, SIDE)
    encoder = load_or_train_encoder(small, train.labels, cache_dir=cache_dir)
    features, unseen_features = (encoder.encode(shrink(s.images, SIDE)) for s in (train, val))
    histograms, unseen = (compute_histograms(s.images) for s in (train, val))
    histogram = histograms.mean(axis=0)
    is_enough = np.bincount(val.labels).min() >= _FEWEST_OF_CLASS
    labels = val.labels if is_enough else train.labels
    of_classes = (unseen, unseen_features) if is_enough else (histograms, features)
    thumbnails, files = load_thumbnails()
    split_of = {file: name for name, s in dataset.splits.items() for file in s.files}
    reference = Reference(
        encoder,
        histogram,
        features,
        compute_gray_distances(unseen, histogram),
        compute_feature_distances(unseen_features, features),
        compare_classes(of_classes[0], labels, compare_histograms),
        compare_classes(of_classes[1], labels, compare_features),
        thumbnails,
        tuple(files),
        tuple(split_of.get(file, "train") for file in files),
        tuple(kinds),
    )
    # In a cache that can not be written, nothing is saved: the next call makes it again.
    with contextlib.suppress(DiskError):
        _write(_find_path(key, cache_dir), reference)
    return reference


def _take_some(images: ImageSet) -> ImageSet:
    """Return the images for the distances, in memory."""
    return images.take(choose_searched(len(images), MOST_COMPARED))


def name_reference(fingerprint: str, *, image_size: int, channels: int) -> str:
    """Return the key, 32 hexadecimal digits, of the reference of data with this fingerprint."""
    known = repr((VERSION, fingerprint, image_size, channels))
    return hashlib.sha256(known.encode()).hexdigest()[:32]


def _find_path(key: str, cache_dir: Path) -> Path:
    return cache_dir / "references" / f"{key}.npz"


def _write(path: Path, reference: Reference) -> None:
    thumbnails = reference.thumbnails
    arrays: dict[str, Any] = {
        f"params/{name}": np.asarray(a)
        for name, a in flatten_dict(reference.encoder.params, sep="/").items()
    }
    arrays |= {
        "mean": reference.encoder.mean,
        "whitening": reference.encoder.whitening,
        "histogram": reference.histogram,
        "features": reference.features,
        "gray_yardstick": reference.gray_yardstick,
        "feature_yardstick": reference.feature_yardstick,
        "contrasts": np.array([reference.gray_contrast, reference.feature_contrast]),
        "pixels": thumbnails.pixels,
        "owners": thumbnails.owners,
        "counts": np.array([thumbnails.num_searched, thumbnails.num_images]),
        "files": np.array(reference.files, np.str_),
        "splits": np.array(reference.splits, np.str_),
        "kinds": np.array(reference.kinds, np.str_),
    }
    with written_beside(path) as beside, beside.open("wb") as file:
        np.savez(file, **arrays)
