"""Load all data: a folder, a TFDS catalogue data set or the phantom becomes a `Dataset`."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from jaxgan.core.errors import UserError
from jaxgan.core.files import note_use, reserve, written_beside
from jaxgan.core.untrusted import printable
from jaxgan.data import guard
from jaxgan.data.copies import Thumbnails
from jaxgan.data.fit import FITS, describe_fit, fit_square
from jaxgan.data.folder import FolderScan, check_enough_images, scan_folder
from jaxgan.data.images import as_pixels, map_in_threads, measure_files, read_image
from jaxgan.data.limits import LISTED, naming
from jaxgan.data.phantom import TABLE_1
from jaxgan.data.sets import Dataset, ImageSet
from jaxgan.data.settings import DataSettings
from jaxgan.data.split import split_by_patient
from jaxgan.data.values import AUTO, parse_view

if TYPE_CHECKING:  # these import tensorflow_datasets, which takes a second
    from jaxgan.data.builders import PreparedSet, Record

MEMORY_LIMIT_BYTES = 2 * 2**30  # decoded sets above this are memory maps
DECODER_VERSION = 3  # raise it when decoded pixels change, so that caches are made again
STORED_SIDE = 512  # pixels of the short side of prepared folder images, or more when asked


@dataclass(frozen=True)
class DataSpec:
    """Which data to load. Without `data_dir` and `dataset` it is the phantom."""

    data_dir: Path | None = None  # a folder, see jaxgan.data.folder
    dataset: str | None = None  # a name in the TFDS catalogue
    patient_column: str | None = None  # of the folder's manifest.csv
    patient_pattern: str | None = None  # a regular expression on the paths below the classes
    patients_from: str = "auto"  # or table, dicom, folders, none: where patients are read from
    label_column: str | None = None  # of the folder's manifest.csv, if folders give no classes
    follow_links: bool = False  # out of the folder
    leave_out: tuple[str, ...] = ()  # names of files and folders that are no data
    skip_bad_images: bool = False  # of a folder, instead of one error that lists them
    fit: str = "crop"  # see jaxgan.data.fit
    value_range: str = AUTO  # or LOW,HIGH: see jaxgan.data.values
    window: str = ""  # or CENTER,WIDTH, instead
    val_fraction: float = 0.2  # of the training images, where the source has no validation split
    split_seed: int = 0
    phantom_seed: int = 0
    phantom_subtlety: float = 0.5
    phantom_counts: Mapping[str, Mapping[str, int]] = field(default_factory=lambda: TABLE_1)

    @classmethod
    def of(cls, settings: DataSettings, **where: Any) -> "DataSpec":
        """Return the data that `where` names, with the settings of its split and appearance."""
        known = {n: v for n, v in vars(settings).items() if n in cls.__dataclass_fields__}
        return cls(**where, **known)


class _Opened(NamedTuple):
    """A prepared source before it is split."""

    name: str
    prepared: "PreparedSet"
    patients_known: bool
    notices: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...] = ()

    def describe_look(self) -> dict[str, Any]:
        """Return the settings that change the appearance of images: ranges and fit."""
        view, fit = self.prepared.view, self.prepared.fit
        look: dict[str, Any] = {} if fit == "crop" else {"fit": fit}
        if view.asked:
            look["value_range"] = list(view.asked)
        if view.ranges:
            look["value_ranges"] = {kind: list(ends) for kind, ends in sorted(view.ranges.items())}
        return look


def load_dataset(
    spec: DataSpec,
    *,
    image_size: int,
    channels: int,
    cache_dir: Path,
    memory_limit_bytes: int = MEMORY_LIMIT_BYTES,
) -> Dataset:
    """Return the data as uint8 images [num, image_size, image_size, channels] by split.

    Prepared data are saved under `cache_dir` and used again. The fingerprint depends on the
    source's content, classes and split, and on the range of shown numbers and the fit if these are
    not the default. It does not depend on paths, dates, the image size or the channels. Sets above
    `memory_limit_bytes` are read-only memory maps. Raises `UserError`.
    """
    _check(spec, image_size, channels)
    opened = _open(spec, image_size, channels, cache_dir)
    # The phantom draws each film separately; images of a catalogue data set are often similar.
    films, unsearched = guard.number_films(opened.prepared, cache_dir if spec.data_dir else None)
    splits, split_notices = _split(opened, spec, films)
    names = opened.prepared.class_names
    _check_classes(names, splits, " ".join(split_notices))
    look = opened.describe_look()
    fingerprint = compute_fingerprint(names, splits, look)
    num_images = sum(len(records) for records in splits.values())
    in_memory = num_images * image_size**2 * channels <= memory_limit_bytes
    sets = {}
    for split, records in splits.items():
        file = f"{split}-{image_size}x{channels}-v{DECODER_VERSION}.npy"
        path = cache_dir / "arrays" / fingerprint / file
        _decode_once(opened.prepared, records, (image_size, image_size, channels), path)
        sets[split] = _create_set(records, _load(path, in_memory=in_memory))
    is_split_here = not any(record.split == "val" for record in opened.prepared.records)
    copies = _describe_copies(opened.prepared, splits, films, is_split_here)
    fitted = describe_fit(spec.fit, [r.aspect for records in splits.values() for r in records])
    notices = (
        *opened.notices,
        *fitted,
        *split_notices,
        *copies,
        *([unsearched] if unsearched else []),
    )
    return Dataset(
        opened.name,
        names,
        sets,
        fingerprint,
        notices,
        opened.skipped,
        look,
        val_was_made=is_split_here,
    )


def find_kinds(spec: DataSpec) -> tuple[str, ...]:
    """Return the kinds of numbers of more than 8 bits among the images of a folder.

    Other sources return none.
    """
    if spec.data_dir is None:
        return ()
    scan = _scan(spec, spec.data_dir)
    spreads = measure_files({image.file: scan.root / image.file for image in scan.images})
    return tuple(sorted({spread.kind for spread in spreads.values()}))


def load_thumbnails(
    spec: DataSpec, *, image_size: int, channels: int, cache_dir: Path
) -> tuple[Thumbnails, tuple[str, ...]]:
    """Return the thumbnails of all images of a source, to find copies, and their files.

    The images are those of `load_dataset`, in another order.
    """
    prepared = _open(spec, image_size, channels, cache_dir).prepared
    return guard.create_all_thumbnails(prepared), tuple(r.file for r in prepared.records)


def _check(spec: DataSpec, image_size: int, channels: int) -> None:
    """Refuse impossible settings before anything is read."""
    if spec.data_dir is not None and spec.dataset is not None:
        raise UserError(
            f"both a folder ({spec.data_dir}) and a catalogue data set ({spec.dataset}) were "
            "named: name only one of them"
        )
    of_folders = {
        "a patient column or pattern": spec.patient_column or spec.patient_pattern,
        "where patients come from": spec.patients_from != "auto",
        "a label column": spec.label_column,
        "links to follow": spec.follow_links,
        "what to leave out": spec.leave_out,
    }
    given = [what for what, value in of_folders.items() if value]
    if spec.data_dir is None and given:
        raise UserError(f"{given[0]} was given without a data folder: name one with --data_dir")
    if spec.fit not in FITS:
        raise UserError(f"--fit={spec.fit}: expected one of {', '.join(FITS)}.")
    view = parse_view(spec.value_range, spec.window)
    if spec.data_dir is None and spec.dataset is None and (spec.fit != "crop" or view.asked):
        raise UserError(
            "--fit, --value_range or --window was given without data: the phantom's films are "
            "square and of 8 bits. Name a folder by --data_dir, or leave it out."
        )
    if not 0.0 < spec.val_fraction < 1.0:
        raise UserError(
            f"the validation fraction is {spec.val_fraction}, expected above 0, below 1"
        )
    if image_size < 1 or channels not in (1, 3):
        raise UserError(
            f"images of size {image_size} with {channels} channel(s) were requested: expected a "
            "positive size and 1 (gray) or 3 (RGB) channels"
        )


# Opening ---------------------------------------------------------------------------------------


def _open(spec: DataSpec, image_size: int, channels: int, cache_dir: Path) -> _Opened:
    """Prepare the source that the specification names."""
    if spec.data_dir is not None:
        stored_side = max(STORED_SIDE, image_size)
        opened = _open_folder(spec, spec.data_dir, stored_side, channels, cache_dir)
    elif spec.dataset is not None:
        opened = _open_catalogue(spec, spec.dataset, cache_dir)
    else:
        opened = _open_phantom(spec, channels, cache_dir)
    return opened._replace(prepared=dataclasses.replace(opened.prepared, fit=spec.fit))


def _open_folder(
    spec: DataSpec, root: Path, stored_side: int, channels: int, cache_dir: Path
) -> _Opened:
    from jaxgan.data.builders import prepare_folder

    scan = _scan(spec, root)
    prepared = prepare_folder(
        scan,
        channels=channels,
        stored_side=stored_side,
        cache=cache_dir,
        skip_bad=spec.skip_bad_images,
        view=parse_view(spec.value_range, spec.window),
    )
    notices = (*scan.notices, *prepared.notices, *_describe_skipped(prepared.skipped))
    name = root.resolve().name
    return _Opened(name, prepared, scan.patients_known, notices, prepared.skipped)


def _scan(spec: DataSpec, root: Path) -> FolderScan:
    return scan_folder(
        root,
        patient_column=spec.patient_column,
        patient_pattern=spec.patient_pattern,
        patients_from=spec.patients_from,
        label_column=spec.label_column,
        follow_links=spec.follow_links,
        leave_out=spec.leave_out,
    )


def _describe_skipped(skipped: tuple[tuple[str, str], ...]) -> list[str]:
    if not skipped:
        return []
    listed = "; ".join(f"{printable(file)} {reason}" for file, reason in skipped[:LISTED])
    more = "; ..." if len(skipped) > LISTED else ""
    return [f"{len(skipped)} image(s) were skipped, as config.json records: {listed}{more}."]


def _open_catalogue(spec: DataSpec, name: str, cache_dir: Path) -> _Opened:
    from jaxgan.data.catalogue import prepare_catalogue

    prepared = prepare_catalogue(name, cache_dir, parse_view(spec.value_range, spec.window))
    notice = (
        f"{name} does not name patients. If a patient has several images, the validation set may "
        "hold patients of the training set. Its accuracy is then too high for new patients."
    )
    return _Opened(name, prepared, False, (notice, *prepared.notices))


def _open_phantom(spec: DataSpec, channels: int, cache_dir: Path) -> _Opened:
    from jaxgan.data.builders import prepare_phantom

    prepared = prepare_phantom(
        counts=spec.phantom_counts,
        seed=spec.phantom_seed,
        subtlety=spec.phantom_subtlety,
        channels=channels,
        cache=cache_dir,
    )
    notices = (
        f"No data was named, so this is the phantom: chest films that the program draws itself "
        f"(seed {spec.phantom_seed}, subtlety {spec.phantom_subtlety:g}).",
        "A result on the phantom says nothing about patients.",
    )
    return _Opened("phantom", prepared, True, notices)


# Splitting -------------------------------------------------------------------------------------


def _split(
    opened: _Opened, spec: DataSpec, films: np.ndarray
) -> tuple[dict[str, list["Record"]], list[str]]:
    """Return the records of each split; if there is no `val`, make it from `train`.

    `films` [num] are the films that the records show. A new split has each film on one side. The
    content decides the order within a split, so that equal fingerprints mean equal order.
    """
    splits: dict[str, list[Record]] = {}
    for record in opened.prepared.records:
        splits.setdefault(record.split, []).append(record)
    notices = []
    if "val" not in splits:
        notices.append(_describe_split(opened, spec))
        shown = [f for r, f in zip(opened.prepared.records, films, strict=True) if _is_train(r)]
        splits = _make_val(splits, opened, spec, np.array(shown))
    for records in splits.values():
        records.sort(key=lambda record: (record.sha256, record.label, record.file))
    return splits, notices


def _is_train(record: "Record") -> bool:
    return record.split == "train"


def _make_val(
    splits: dict[str, list["Record"]], opened: _Opened, spec: DataSpec, films: np.ndarray
) -> dict[str, list["Record"]]:
    """Divide the training records into train and val, by patient, or by content if unknown.

    `films` [num] are the films that the training records show: all copies of one stay on one side.
    """
    pool = splits["train"]
    owners = [r.patient if r.knows_patient else r.sha256 for r in pool]
    owners = guard.join_owners(owners, films)
    num_joined, num_patients = len(set(owners)), len({r.patient for r in pool})
    try:
        indices = split_by_patient(
            np.array([record.label for record in pool]),
            owners,
            {"train": 1.0 - spec.val_fraction, "val": spec.val_fraction},
            spec.split_seed,
            class_names=opened.prepared.class_names,
        )
    except UserError as error:
        if num_joined == num_patients:
            raise
        raise UserError(
            f"{error} Images that are copies of one another count as one patient's here, which "
            f"leaves {num_joined} of {num_patients}."
        ) from None
    made = {split: [pool[i] for i in chosen] for split, chosen in indices.items()}
    return {**made, **{split: splits[split] for split in splits if split != "train"}}


def _describe_split(opened: _Opened, spec: DataSpec) -> str:
    unit = "patient" if opened.patients_known else "image"
    if not opened.patients_known and any(r.knows_patient for r in opened.prepared.records):
        unit = "patient, or by image where none is known,"
    return (
        f"{opened.name} has no validation split: {spec.val_fraction:.0%} of the training images "
        f"were set apart by {unit} (seed {spec.split_seed})."
    )


def _check_classes(
    names: tuple[str, ...], splits: Mapping[str, list["Record"]], remark: str
) -> None:
    """Refuse tiny classes, and classes that are not in every split."""
    for split, records in splits.items():
        counts = np.bincount([record.label for record in records], minlength=len(names))
        for name, count in zip(names, counts, strict=True):
            if split == "train":
                check_enough_images(name, int(count), remark)
            elif count == 0:
                raise UserError(
                    f"class {name!r} has no image in {split}: its accuracy cannot be measured. "
                    "Expected every class in every split; add images or choose other data."
                )


def compute_fingerprint(
    names: tuple[str, ...],
    splits: Mapping[str, list["Record"]],
    look: Mapping[str, Any] = MappingProxyType({}),
) -> str:
    """Return the SHA-256 over class names, split membership, labels and each image's hash.

    `look` holds the settings that change the appearance of images; it is left out if empty.
    """
    members = {
        split: sorted((record.sha256, record.label) for record in records)
        for split, records in splits.items()
    }
    canonical = json.dumps([names, members, *([dict(look)] if look else [])], sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _describe_copies(
    prepared: "PreparedSet",
    splits: Mapping[str, list["Record"]],
    films: np.ndarray,
    is_split_here: bool,
) -> list[str]:
    """Return the notices on images that show the same film."""
    number_of = {(r.split, r.position): f for r, f in zip(prepared.records, films, strict=True)}
    names = sorted(splits, key=lambda split: split != "train")  # train is named first
    sides = [(split, record) for split in names for record in splits[split]]
    shown = guard.Films(
        np.array([number_of[record.split, record.position] for _, record in sides]),
        [record.file for _, record in sides],
        np.array([record.label for _, record in sides]),
        [split for split, _ in sides],
    )
    return guard.describe(shown, prepared.class_names, is_split_here=is_split_here)


# Decoding --------------------------------------------------------------------------------------


def _decode_once(
    prepared: "PreparedSet", records: list["Record"], shape: tuple[int, int, int], path: Path
) -> None:
    """Write the records' pixels, uint8 [num, *shape], to `path` unless they are there already."""
    if path.is_file():
        return
    with written_beside(path) as beside:
        images = np.lib.format.open_memmap(
            beside, mode="w+", dtype=np.uint8, shape=(len(records), *shape)
        )
        reserve(beside, images.offset + images.nbytes)
        _decode(prepared, records, images)
        images.flush()


def _decode(prepared: "PreparedSet", records: list["Record"], images: np.ndarray) -> None:
    """Fill `images` [num, size, size, channels] with the records' pixels."""
    _, size, _, channels = images.shape

    def pixels(item: tuple["Record", bytes]) -> np.ndarray:
        record, encoded = item
        with naming(record.file):
            image = read_image(encoded, channels, prepared.view)
            return as_pixels(fit_square(image, size, prepared.fit))

    encoded = ((record, prepared.read(record)) for record in records)
    title = f"decoding {records[0].split}"
    for index, image in enumerate(map_in_threads(pixels, encoded, title=title, total=len(records))):
        images[index] = image


def _load(path: Path, *, in_memory: bool) -> np.ndarray:
    note_use(path)
    return np.load(path, mmap_mode=None if in_memory else "r", allow_pickle=False)


def _create_set(records: list["Record"], images: np.ndarray) -> ImageSet:
    return ImageSet(
        images=images,
        labels=np.array([record.label for record in records], dtype=np.int32),
        files=tuple(record.file for record in records),
        patients=tuple(record.patient for record in records),
        known=np.array([record.knows_patient for record in records], bool),
    )
