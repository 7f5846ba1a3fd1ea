"""The classifiers that a study keeps: a file for each training, and an index that describes them.

Layers that do not learn are the same in all classifiers: they have one file.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxgan.classifiers.protocol import Classifier
from jaxgan.classifiers.weights import create_shapes
from jaxgan.core.errors import UserError
from jaxgan.core.files import read_arrays, write_json, written_beside
from jaxgan.core.types import Params
from jaxgan.core.untrusted import printable
from jaxgan.study.settings import StudySettings

FOLDER = "classifiers"  # in the folder of a study
_INDEX = "index.json"
_FROZEN = "frozen"  # an array: the name of the file with the layers that do not learn

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Kept:
    """A classifier that a study has kept: its arm, fold and seed, its file and its job's record."""

    arm: str
    fold: int
    seed: int
    file: str
    record: Mapping[str, Any]


# Variables --------------------------------------------------------------------------------------


def write_variables(path: Path, variables: Params, classifier: Classifier) -> None:
    """Write the variables of a classifier to `path`, frozen layers to a file in the same folder."""
    arrays = {n: np.asarray(a) for n, a in flatten_dict(variables, sep="/").items()}
    frozen = {n: a for n, a in arrays.items() if _is_frozen(n, classifier)}
    own = {n: a for n, a in arrays.items() if n not in frozen}
    if frozen:
        name = f"frozen-{_hash(frozen)}.npz"
        if not (path.parent / name).exists():
            _write(path.parent / name, frozen)
        own[_FROZEN] = np.array(name)
    _write(path, own)


def read_variables(path: Path, classifier: Classifier) -> Params:
    """Return the variables that `write_variables` wrote. Raises `UserError` if they do not fit."""
    arrays = _read(path)
    shared = arrays.pop(_FROZEN, None)
    if shared is not None:
        arrays |= _read(path.parent / Path(str(shared)).name)
    shapes = flatten_dict(create_shapes(classifier), sep="/")
    if _list_forms(arrays) != _list_forms(shapes):
        raise UserError(f"{path} is of another network than its study. {_ADVICE}")
    return unflatten_dict(arrays, sep="/")


def _list_forms(arrays: Mapping[str, Any]) -> dict[str, Any]:
    return {name: (array.shape, array.dtype) for name, array in arrays.items()}


def measure_files(settings: StudySettings, num_classes: int, num_files: int) -> dict[str, Any]:
    """Return the number of classifiers that a study keeps, and their megabytes on the disk."""
    classifier = settings.transfer.apply(settings.classifier.create(num_classes))
    own = shared = 0
    for name, leaf in flatten_dict(create_shapes(classifier), sep="/").items():
        size = leaf.size * leaf.dtype.itemsize
        own, shared = (own, shared + size) if _is_frozen(name, classifier) else (own + size, shared)
    return {"classifiers": num_files, "megabytes": round((own * num_files + shared) / 1e6, 1)}


_ADVICE = "Remove the files jobs/classifier-*.npz of the study and run it again: it trains again."


def _is_frozen(name: str, classifier: Classifier) -> bool:
    return name.split("/")[1] in classifier.frozen


def _hash(arrays: Arrays) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(name.encode() + np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()[:20]


def _write(path: Path, arrays: Mapping[str, Any]) -> None:
    with written_beside(path) as beside, beside.open("wb") as file:
        named: dict[str, Any] = dict(arrays)
        np.savez(file, **named)  # numpy 2.0 would keep `allow_pickle` as an array


def _read(path: Path) -> Arrays:
    arrays = read_arrays(path)
    if arrays is None:
        raise UserError(f"{printable(str(path))} is damaged or gone. {_ADVICE}")
    return arrays


# The index --------------------------------------------------------------------------------------


def write_index(
    workdir: Path, study: Mapping[str, Any], class_names: Sequence[str], kept: Sequence[Kept]
) -> None:
    """Write the index of the kept classifiers; `study` is the record of the study."""
    described = {"study": study, "classes": class_names, "classifiers": [vars(k) for k in kept]}
    write_json(workdir / FOLDER / _INDEX, described)


def read_index(workdir: Path) -> tuple[dict[str, Any], tuple[str, ...], list[Kept]]:
    """Return the record of the study, its classes and its kept classifiers. Raises `UserError`."""
    path = workdir / FOLDER / _INDEX
    try:
        found = json.loads(path.read_bytes())
        kept = [
            Kept(**{**entry, "file": Path(entry["file"]).name}) for entry in found["classifiers"]
        ]
        study = dict(found["study"])
        dict(study["data"])["fingerprint"], dict(study["settings"])  # readers need both
        return study, tuple(map(str, found["classes"])), kept
    except FileNotFoundError:
        raise UserError(
            f"{workdir} is a study that has kept no classifiers, or has not ended yet. Run the "
            "study with --config.keep_classifiers in another --workdir, because finished jobs do "
            "not train again."
        ) from None
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
        raise UserError(
            f"{path} is damaged. To write it again, run the study's command with "
            "--config.keep_classifiers."
        ) from None


def describe_not_kept(num: int) -> str:
    """Return the message on classifiers that were trained before the study kept them."""
    return (
        f"{num} classifier(s) of this study were trained earlier and not kept. Finished jobs do "
        "not train again. To keep these classifiers, remove the study's files "
        "jobs/classifier-*.npz and run the same command. They train again, with the same results."
    )
