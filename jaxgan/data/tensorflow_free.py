"""Let TFDS prepare catalogue data sets without TensorFlow.

TFDS 4.9.10 writes and reads array_record without TensorFlow. But it unpacks archives and encodes
numpy images with it, and most catalogue data sets open their files through `tf.io.gfile`. Here
plain Python replaces these few calls, only inside TFDS and only while the context is open.
"""

import contextlib
import glob
import io
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
from PIL import Image
from tensorflow_datasets.core.features import image_feature
from tensorflow_datasets.core.utils.lazy_imports_utils import tensorflow


@contextlib.contextmanager
def without_tensorflow() -> Iterator[None]:
    """Replace TFDS's file calls, and its encoding of numpy images, by plain Python."""
    replaced = {"io": SimpleNamespace(gfile=_GFILE), "compat": SimpleNamespace(as_text=_as_text)}
    encoder = image_feature._ImageEncoder
    with (
        mock.patch.dict(vars(tensorflow)["_submodules"], replaced),
        mock.patch.object(encoder, "_encode_image", _encode_image),
    ):
        yield


def _encode_image(encoder: Any, array: np.ndarray) -> bytes:
    """Return an image [height, width, channels] as PNG, for any format that the data set names."""
    image_feature._validate_np_array(array, shape=encoder.shape, dtype=encoder.np_dtype)
    buffer = io.BytesIO()
    Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array).save(buffer, "PNG")
    return buffer.getvalue()


def _as_text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _open(name: str | os.PathLike, mode: str = "r") -> Any:
    return Path(name).open(mode)


def _glob(pattern: str | os.PathLike) -> list[str]:
    return sorted(glob.glob(os.fspath(pattern)))  # noqa: PTH207  the pattern is one string


def _makedirs(path: str | os.PathLike) -> None:
    Path(path).mkdir(parents=True, exist_ok=True)


def _copy(source: str | os.PathLike, target: str | os.PathLike, overwrite: bool = False) -> None:
    if Path(target).exists() and not overwrite:
        raise FileExistsError(os.fspath(target))
    shutil.copyfile(source, target)


_GFILE = SimpleNamespace(
    GFile=_open,
    listdir=lambda path: sorted(os.listdir(path)),  # noqa: PTH208  names, as TensorFlow gives
    glob=_glob,
    exists=lambda path: Path(path).exists(),
    isdir=lambda path: Path(path).is_dir(),
    walk=os.walk,
    makedirs=_makedirs,
    copy=_copy,
)
