"""What the images of a training are like, kept so that new images can be held against them.

It is made once for a training's data and form and then kept in the cache: the training images need
not be read again for it, nor be there.
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

VERSION = 1  # raise it when anything here comes out differently, so that kept ones are made again
MOST_COMPARED = 2000  # training images, and validation images, that distances are measured with
_FEWEST_OF_CLASS = 10  # validation images by which classes are compared; of fewer, training images


@dataclass(frozen=True)
class Reference:
    """What training images are like, and how far the validation images are from them.

    `histogram` [256] is the mean of the training images, `features` [n, d] are theirs.
    `gray_yardstick` and `feature_yardstick` [m] are the validation images' distances, and
    `gray_contrast` and `feature_contrast` those between their classes. `thumbnails`
    are those of all images of the data, by `files`, each in one of `splits`.
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

    def compute_features(self, images: np.ndarray) -> np.ndarray:
        """Return features [num, d] of uint8 images [num, h, w, c] in the training's form."""
        return self.encoder.encode(shrink(images, SIDE))

    def find_copies(self, thumbnails: Thumbnails) -> dict[int, int]:
        """Return, for each new image that is a copy, its index and that of what it is a copy of.

        Of several the training image comes first, then the most similar.
        """
        copies: Copies = match_thumbnails(thumbnails, self.thumbnails)
        is_val = np.array([split != "train" for split in self.splits])[copies.pairs[:, 1]]
        order = np.lexsort((-copies.correlations, is_val))[::-1]
        return {int(new): int(old) for new, old in copies.pairs[order]}


def load_reference(key: str, cache_dir: Path) -> Reference | None:
    """Return what is kept under `key`, None where there is none or the file is damaged."""
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
    )


def make_reference(
    key: str,
    dataset: Dataset,
    load_thumbnails: Callable[[], tuple[Thumbnails, Sequence[str]]],
    cache_dir: Path,
) -> Reference:
    """Return what the training images of `dataset` are like, and keep it under `key`.

    An encoder is trained on them, or the kept one is taken: see `jaxgan.evaluation.encoder`.
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
    )
    # What can not be kept, in a cache that others have made, is made again the next time.
    with contextlib.suppress(DiskError):
        _write(_find_path(key, cache_dir), reference)
    return reference


def _take_some(images: ImageSet) -> ImageSet:
    """Return the images that distances are measured with, in memory."""
    return images.take(choose_searched(len(images), MOST_COMPARED))


def name_reference(fingerprint: str, *, image_size: int, channels: int) -> str:
    """Return the key, 32 hexadecimal digits, of what data with this fingerprint are like."""
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
    }
    with written_beside(path) as beside, beside.open("wb") as file:
        np.savez(file, **arrays)
