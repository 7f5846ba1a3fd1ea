"""A user's folder of images: find its files, classes, splits and patients.

No image is decoded here, and the classes may have any names.
"""

import hashlib
import os
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from jaxgan.core.errors import UserError, list_some, name_some
from jaxgan.core.untrusted import printable
from jaxgan.data import dicom, headings
from jaxgan.data.images import map_in_threads
from jaxgan.data.limits import (
    LISTED,
    ImageError,
    list_lines,
    unusable_images_error,
)
from jaxgan.data.manifests import (
    FILE_COLUMN,
    MANIFEST,
    Table,
    check_complete,
    covers,
    find_tables,
    list_columns,
    match_cells,
    match_rows,
)
from jaxgan.data.sets import describe_renamed, name_classes
from jaxgan.data.split import WRONG_PATIENTS, find_shared_patients
from jaxgan.data.tree import (
    ENDINGS,
    LAYOUTS,
    MIN_TRAIN_IMAGES,
    SPLITS,
    Folder,
    Layout,
    Placed,
    as_split,
    find_layout,
    go_down,
    read_tree,
)

PATIENTS_FROM = ("auto", "table", "dicom", "folders", "none")  # where patients are read from
_NO_PATIENTS = {
    "dicom": "no DICOM header among the images names a patient",
    "folders": "no class has a folder for each patient",
}
MAX_HASHED_BYTES = 2**30  # of all images: two to five seconds at every launch


@dataclass(frozen=True)
class FolderImage:
    """One image file; `file` is relative to the folder, with forward slashes."""

    split: str
    label: int
    file: str
    size: int
    mtime_ns: int
    patient: str | None = None


@dataclass(frozen=True)
class FolderScan:
    """What a folder holds. `images` are sorted by file; `splits` is empty for DIR/CLASS/*.

    `unusable` are files that can not be used even before decoding, with the reason: broken or
    circular links, links out of the folder, pipes, names that are not UTF-8.
    """

    root: Path
    class_names: tuple[str, ...]
    splits: tuple[str, ...]
    images: tuple[FolderImage, ...]
    notices: tuple[str, ...]
    unusable: tuple[tuple[str, ImageError], ...] = ()

    @property
    def patients_known(self) -> bool:
        """Whether every image has a known patient."""
        return all(image.patient is not None for image in self.images)


@dataclass(frozen=True)
class _Options:
    """The flags of a user for a folder, without its path."""

    patient_column: str | None
    patient_pattern: str | None
    patients_from: str
    label_column: str | None

    @property
    def names_patients(self) -> bool:
        """Whether the user has said where the patients come from."""
        asked = self.patient_column or self.patient_pattern
        return asked is not None or self.patients_from != "auto"

    @property
    def asks_table(self) -> bool:
        """Whether the user wants a table to be read."""
        asked = (self.patient_column, self.label_column)
        return any(column is not None for column in asked) or self.patients_from == "table"


def scan_folder(
    root: Path,
    *,
    patient_column: str | None = None,
    patient_pattern: str | None = None,
    patients_from: str = "auto",
    label_column: str | None = None,
    follow_links: bool = False,
    leave_out: Collection[str] = (),
) -> FolderScan:
    """List the images of `root` with class, split and patient.

    Patients come from one of these sources, tried in this order: `patient_pattern`, a column of
    `manifest.csv` or another table, DICOM headers, folders in the class folder. Without a source,
    patients are unknown, and a notice says so. `patients_from`, one of `PATIENTS_FROM`, allows only
    one source. `patient_pattern` is a regular expression, searched in the path below the class; its
    first group, or the full match, is the patient. A patient from a DICOM header is named after
    the first of the patient's files: the identifier itself is not passed on.

    Classes are folders, or the cells of a table's `label_column`. `leave_out` are names of files
    and folders, anywhere in `root` or as paths from it. Raises `UserError` for a folder that cannot
    be used, or that holds images in unexpected places. Single files that cannot be used are in
    `unusable`.
    """
    options = _Options(patient_column, patient_pattern, patients_from, label_column)
    _check_options(options)
    if not root.is_dir():
        found = "is a file" if root.exists() else "does not exist"
        raise UserError(f"the data folder {root} {found}. Expected a folder: {LAYOUTS}")
    leave_out = [name.strip().rstrip("/") for name in leave_out]
    return _scan(read_tree(root, follow_links=follow_links, leave_out=leave_out), options)


def _scan(tree: Folder, options: _Options) -> FolderScan:
    top = go_down(tree)
    tables, unread = find_tables(top.path, tree.path)
    if options.asks_table and unread and not tables:
        raise UserError(unread[0])
    knows_patients = any(list_columns(tables, options.patient_column, headings.PATIENTS))
    layout = find_layout(top, trust_folders=options.names_patients or knows_patients)
    unusable = [(p.relative_to(top.path).as_posix(), error) for p, error in layout.unusable]
    placed, label_notices = _label(layout, tables, unread, options.label_column)
    splits = _list_splits(layout, placed)
    try:
        class_names = _check_classes(layout, splits, placed)
    except UserError as error:
        if not unusable:
            raise
        listed = unusable_images_error(unusable, num_images=top.num_images)
        raise UserError(f"{error}\n{listed}") from None
    patients, patient_notices = _find_patients(top.path, placed, tables, options)
    images = [_describe(image, class_names, patients.get(image.file)) for image in placed]
    images.sort(key=lambda image: image.file)
    if splits:
        _check_no_shared_patient(images)
    notices = (
        *_describe_place(tree, top),
        *_describe_others(layout, tables),
        *label_notices,
        *patient_notices,
        *(() if layout.is_flat or options.names_patients else _describe_unread(unread, images)),
        *_describe_risk(images, splits),
        *_describe_same_names(class_names),
    )
    return FolderScan(top.path, class_names, splits, tuple(images), notices, tuple(unusable))


def _describe_unread(unread: Sequence[str], images: Sequence[FolderImage]) -> list[str]:
    """Name the tables that could not be read, if they might name the missing patients."""
    is_known = all(image.patient is not None for image in images)
    return [] if is_known else [f"Not read: {reason}." for reason in unread[:LISTED]]


def _list_splits(layout: Layout, placed: Sequence[Placed]) -> tuple[str, ...]:
    """Return the splits that folders or a table give; none if all images are for training."""
    present = tuple(split for split in SPLITS if any(image.split == split for image in placed))
    return layout.splits or (present if len(present) > 1 else ())


def _check_options(options: _Options) -> None:
    """Refuse an unknown source of patients, and two sources at once."""
    if options.patients_from not in PATIENTS_FROM:
        raise UserError(
            f"patients can not come from {options.patients_from!r}: expected one of "
            f"{', '.join(PATIENTS_FROM)}"
        )
    sources = {
        "a patient column": options.patient_column is not None,
        "a patient pattern": options.patient_pattern is not None,
        "where patients come from": options.patients_from != "auto",
    }
    given = [name for name, is_given in sources.items() if is_given]
    if len(given) > 1:
        raise UserError(f"{' and '.join(given)} were both given: give only one of them")


def _describe_place(tree: Folder, top: Folder) -> list[str]:
    if top is tree:
        return []
    where = printable(top.path.relative_to(tree.path).as_posix())
    return [f"{tree.path} holds only one folder, {where}: the classes are read from it."]


def _describe_others(layout: Layout, tables: Sequence[Table]) -> list[str]:
    others = set(layout.others) - {table.path for table in tables}
    names = sorted(path.relative_to(layout.root).as_posix() for path in others)
    if not names:
        return []
    return [
        f"{name_some(names, 'item')} in {layout.root} left out: not an image "
        f"({', '.join(ENDINGS)}), not a split, a folder "
        "of the system, or a link that was not followed."
    ]


def _check_classes(
    layout: Layout, splits: tuple[str, ...], placed: Sequence[Placed]
) -> tuple[str, ...]:
    """Return the class names; refuse missing, empty and tiny classes, and classes not in train."""
    if not placed:
        raise UserError(f"no images found in {layout.root}. Expected {LAYOUTS}")
    counts = Counter((image.split, image.class_name or "") for image in placed)
    folders = layout.classes if _are_told_by_folders(layout, placed) else ()
    class_names = sorted({name for split, name in [*folders, *counts] if split == "train"})
    for split, name in [*folders, *counts]:
        if name not in class_names:
            raise UserError(
                f"class {name!r} is in {split} but not in train (its classes: "
                f"{list_some(class_names) or 'none'}). Remove it or give it training images."
            )
    if len(class_names) > 2 and max(counts.values()) < MIN_TRAIN_IMAGES:
        raise UserError(
            f"{layout.root} holds {len(class_names)} folders ({list_some(class_names)}), and none "
            f"has {MIN_TRAIN_IMAGES} images: if these are patients, put them into a folder for "
            f"each class, DIR/CLASS/PATIENT/*; or write the classes into a {MANIFEST}, and give "
            "its column with --label_column=NAME"
        )
    for split in splits or ("train",):
        for name in class_names:
            _check_count(layout.root, split, name, counts[split, name])
    return tuple(class_names)


def _describe_same_names(class_names: Sequence[str]) -> list[str]:
    """Name the classes that differ only in upper and lower case."""
    by_name = defaultdict(list)
    for name in class_names:
        by_name[name.casefold()].append(name)
    same = [" and ".join(names) for names in by_name.values() if len(names) > 1]
    return [f"Two classes differ only in upper and lower case: {list_some(same)}."] if same else []


def _are_told_by_folders(layout: Layout, placed: Sequence[Placed]) -> bool:
    return [i.class_name for i in placed] == [i.class_name for i in layout.images]


def _check_count(root: Path, split: str, name: str, count: int) -> None:
    if count == 0:
        raise UserError(
            f"class {name!r} has no images in {split} of {root}: add images or remove the class "
            "from every split"
        )
    if split == "train":
        check_enough_images(name, count)


def check_enough_images(name: str, count: int, remark: str = "") -> None:
    """Refuse a class with too few training images to learn from."""
    if count < MIN_TRAIN_IMAGES:
        raise UserError(
            f"class {name!r} has {count} training images, expected at least {MIN_TRAIN_IMAGES}: "
            f"add images or remove the class. {remark}".rstrip()
        )


def _describe(image: Placed, class_names: Sequence[str], patient: str | None) -> FolderImage:
    status = image.path.stat()
    label = class_names.index(image.class_name or "")
    size, time = status.st_size, status.st_mtime_ns
    return FolderImage(image.split, label, image.file, size, time, patient)


# Labels ----------------------------------------------------------------------------------------


def _label(
    layout: Layout, tables: Sequence[Table], unread: Sequence[str], column: str | None
) -> tuple[list[Placed], list[str]]:
    """Return the images with their classes, from folders or a table, and notices.

    `unread` says why other tables could not be read.
    """
    files = [image.file for image in layout.images]
    table, chosen = _choose_labels(tables, column, files, is_needed=layout.is_flat)
    placed, notices = list(layout.images), list[str]()
    is_alone = len({image.class_name for image in placed}) == 1
    if table is not None and chosen is not None and (column or layout.is_flat):
        labels = _read_labels(table, chosen, files)
        names = name_classes(str(table.path), labels)
        placed = [
            replace(i, class_name=names[label], below=i.below if layout.is_flat else i.file)
            for i, label in zip(placed, labels, strict=True)
        ]
        notices.append(
            f"Classes are read from the column {printable(chosen)!r} of {table.path.name}: "
            f"{list_some(sorted(set(names.values())))}."
        )
        notices += describe_renamed(names)
    elif layout.is_flat:
        name = layout.root.resolve().name or "images"
        placed = [replace(image, class_name=name) for image in placed]
        notices.append(_describe_one_class(name, tables, unread))
    elif table is not None and chosen is not None and is_alone:
        notices.append(
            f"The one folder is the class, and no class is read from {table.path.name}: "
            f"--label_column={printable(chosen)} takes the classes from its column."
        )
    if not layout.splits:
        whole = (t for t in tables if t.is_manifest or covers(t, files))
        return _divide(placed, files, next(whole, None), notices)
    return placed, notices


def _describe_one_class(name: str, tables: Sequence[Table], unread: Sequence[str]) -> str:
    """Say that all images are one class, and list the tables that name no other class."""
    found = [f"{table.path} has {list_some(table.columns)}" for table in tables]
    why = "".join(f"; {reason}" for reason in [*found, *unread][:LISTED])
    remedy = f". --label_column=NAME takes the classes from a table's column{why}" if why else ""
    return f"No folder or table gives classes: all images are one, {printable(name)!r}{remedy}."


def _choose_labels(
    tables: Sequence[Table], column: str | None, files: Sequence[str], *, is_needed: bool
) -> tuple[Table | None, str | None]:
    """Return the table and the column that give the classes, if there is one."""
    found = list_columns(tables, column, headings.LABELS)
    if column is not None and not found:
        raise _missing_column_error("label", column, tables, Path(MANIFEST))
    whole = [(table, chosen) for table, chosen in found if covers(table, files)]
    if len(whole) > 1 and (column or is_needed):
        names = list_some([table.path.name for table, _ in whole])
        raise UserError(f"several tables give classes ({names}): rename one to {MANIFEST}")
    return next(iter(whole or found), (None, None))


def _read_labels(table: Table, column: str, files: Sequence[str]) -> list[str]:
    """Return the class of each file; an image without one is an error."""
    cells = match_cells(table.path, table.rows, column, files)
    check_complete(table.path, files, cells)
    labels = {file: cells[file][0] for file in files if len(set(cells[file])) == 1}
    twice = [file for file in files if file not in labels]
    if twice:
        raise UserError(f"{table.path} gives two classes in {column!r} to {name_some(twice)}")
    missing = [file for file in files if headings.simplify(labels[file]) in ("", "nan")]
    if missing:
        raise UserError(
            f"{table.path} has no {column!r} for {name_some(missing)}: fill it in, or leave the "
            "files out"
        )
    strange = [label for label in labels.values() if not label.isprintable()]
    if strange:
        raise UserError(f"{table.path} has a class {strange[0]!r}, which can not be shown")
    return [labels[file] for file in files]


def _divide(
    placed: list[Placed], files: Sequence[str], table: Table | None, notices: list[str]
) -> tuple[list[Placed], list[str]]:
    """Return the images with the splits of the table's split column, if it has one."""
    column = table and headings.find_heading(table.columns, headings.SPLITS)
    if not table or not column:
        return placed, notices
    cells = match_cells(table.path, table.rows, column, files)
    splits = [as_split(cells[file][0]) if file in cells else None for file in files]
    if not any(splits):
        return placed, notices
    unknown = [file for file, split in zip(files, splits, strict=True) if split is None]
    if unknown or "train" not in splits:
        raise UserError(
            f"{table.path} gives splits in its column {column!r}, but "
            f"{'none for ' + name_some(unknown) if unknown else 'train for no image'}: "
            "expected train, val or test for each image, or no such column"
        )
    notices = [*notices, f"The split is read from the column {column!r} of {table.path.name}."]
    return [replace(i, split=s or "") for i, s in zip(placed, splits, strict=True)], notices


# Patients --------------------------------------------------------------------------------------


def find_patients(
    root: Path,
    placed: Sequence[Placed],
    tables: Sequence[Table],
    *,
    patient_column: str | None,
    patient_pattern: str | None,
    patients_from: str,
) -> tuple[dict[str, str], list[str]]:
    """Return the patient of each file in `root` with a known patient, and notices.

    Patients come from the same places as in `scan_folder`.
    """
    options = _Options(patient_column, patient_pattern, patients_from, None)
    _check_options(options)
    return _find_patients(root, placed, tables, options)


def _find_patients(
    root: Path, placed: Sequence[Placed], tables: Sequence[Table], options: _Options
) -> tuple[dict[str, str], list[str]]:
    """Return the patient of each file with a known patient, and notices."""
    files = [image.file for image in placed]
    if options.patient_pattern is not None:
        return _match_pattern(options.patient_pattern, placed)
    source = options.patients_from
    notices: list[str] = []
    if source in ("auto", "table") or options.patient_column:
        patients, notices = _read_patients(root, tables, options, files)
        if patients is not None:
            return patients, notices
    patients = {}
    if source in ("auto", "dicom"):
        patients, more = _find_dicom_patients(root, files)
        notices = [*notices, *more]
    if source in ("auto", "folders") and not patients:
        patients, more = _find_folder_patients(placed)
        notices = [*notices, *more]
    if source in _NO_PATIENTS and not patients:
        raise UserError(
            f"--patients_from={source} was given, but {_NO_PATIENTS[source]}: leave it out, or "
            "give --patient_column or --patient_pattern"
        )
    return patients, notices


def _find_dicom_patients(root: Path, files: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Return a patient name, made from the patient's first file, for each film that names one.

    The files are sorted, so that the names depend on the folder only.
    """
    first_of: dict[str, str] = {}
    patients = {}
    films = [file for file in sorted(files) if dicom.starts_as_dicom(root / file)]
    for file in films:
        token = dicom.read_patient(root / file)
        if token is not None:
            patients[file] = first_of.setdefault(token, f"the patient of {file}")
    missing = [file for file in sorted(files) if file not in patients]
    if not patients and films:
        return {}, [
            f"The DICOM headers of {name_some(films)} name no patient: they are empty, or hold "
            "what an anonymiser writes for all."
        ]
    if not patients or not missing:
        return patients, []
    return patients, [f"DICOM headers name the patients, but not those of {name_some(missing)}."]


def _find_folder_patients(placed: Sequence[Placed]) -> tuple[dict[str, str], list[str]]:
    """Return the folders in each class folder as patients, if there are any."""
    patients = {image.file: image.patient for image in placed if image.patient}
    if not patients:
        return {}, []
    names = sorted(set(patients.values()))
    return patients, [
        f"Patients are the folders in the folder of each class: {name_some(names, 'patient')}. "
        "Folders of one name in two classes or splits count as different patients. If they are "
        f"one patient, say so in a {MANIFEST} with patients."
    ]


def _describe_risk(images: Sequence[FolderImage], splits: tuple[str, ...]) -> list[str]:
    """Say what it means that the patients of some images are unknown."""
    num_unknown = sum(image.patient is None for image in images)
    if not num_unknown:
        return []
    which = "." if num_unknown == len(images) else f" for {num_unknown} images."
    how = "The split in the folder is used as it is" if "val" in splits else "The split is by image"
    return [
        f"No patient information{which} {how}: if a patient has several images, the validation "
        "set may hold patients of the training set. Its accuracy is then too high for new "
        "patients. Give a manifest.csv with a patient column, or a patient pattern."
    ]


def _match_pattern(pattern: str, placed: Sequence[Placed]) -> tuple[dict[str, str], list[str]]:
    """Return the patient that a pattern finds in each path below the class.

    If one path is in two folders, the names start again in each folder, and so do the patients.
    """
    try:
        regex = re.compile(pattern)
    except re.error as error:
        raise UserError(
            f"the patient pattern {pattern!r} is not a regular expression: {error}"
        ) from error

    def find(below: str) -> str:
        match = regex.search(below)
        return (match.group(1 if regex.groups else 0) or "") if match else ""

    found = {image.file: find(image.below) for image in placed}
    unmatched = [file for file, patient in found.items() if not patient]
    if unmatched:
        raise UserError(
            f"the patient pattern {pattern!r} finds no patient in the names of "
            f"{name_some(unmatched)}, of {len(placed)} images. Expected a match in the path below "
            "the class of every image (its first group, or all of it, is the patient)."
        )
    twice = [name for name, count in Counter(i.below for i in placed).items() if count > 1]
    if not twice:
        return found, []
    return {i.file: i.file.removesuffix(i.below) + found[i.file] for i in placed}, [
        f"{name_some(sorted(twice), 'name')} occur in two folders, so the names start again in "
        "each: the same match in two folders is two patients. If it is one patient, say so in a "
        f"{MANIFEST} with patients."
    ]


def _read_patients(
    root: Path, tables: Sequence[Table], options: _Options, files: Sequence[str]
) -> tuple[dict[str, str] | None, list[str]]:
    """Return the patient of each file from a table, or None and the reason."""
    column = options.patient_column
    is_asked = column is not None or options.patients_from == "table"
    found = list_columns(tables, column, headings.PATIENTS)
    if not found and is_asked:
        raise _missing_column_error("patient", column, tables, root / MANIFEST)
    if not found:
        return None, [notice for table in tables for notice in _describe_unknown(table)]
    whole = [(table, name) for table, name in found if table.is_manifest or covers(table, files)]
    if len(whole) > 1 or (len(found) > 1 and not whole):
        names = list_some([table.path.name for table, _ in whole or found])
        several = f"Several tables name patients ({names}): rename one to {MANIFEST}."
        if is_asked:
            raise UserError(several)
        return None, [several]
    if not whole and not is_asked:
        return None, [
            f"{found[0][0].path.name} has no row for some images, or one for several, and is not "
            f"read: rename it to {MANIFEST} if it names their patients."
        ]
    ((table, name),) = whole or found
    patients, notices = match_rows(table.path, table.rows, name, files)
    if not patients:
        return None, notices
    where = f"Patients are read from the column {printable(name)!r} of {table.path.name}"
    return patients, [f"{where}: {len(set(patients.values()))} of them.", *notices]


def _describe_unknown(table: Table) -> list[str]:
    """Say that no known column names patients; for a manifest with other columns, raise."""
    if not headings.list_unknown(table.columns):
        return []
    found = (
        f"{table.path} has no patient column with a known name (found {list_some(table.columns)}; "
        "expected patient_id, PatientID, subject, record_id, mrn or similar)"
    )
    remedy = "--patient_column=NAME names the column with the patients"
    if table.is_manifest:
        raise UserError(f"{found}. {remedy}; --patients_from=none continues without patients")
    return [f"{found}: {remedy}."]


def _missing_column_error(
    what: str, column: str | None, tables: Sequence[Table], manifest: Path
) -> UserError:
    """Return the error for a requested column that no table has."""
    if not tables:
        return UserError(
            f"the {what} column {column or 'of a table'!r} was requested but {manifest} does not "
            f"exist: expected a table with one row per image and the columns {FILE_COLUMN!r} and "
            f"{column or what!r}"
        )
    found = "; ".join(f"{table.path} has {list_some(table.columns)}" for table in tables[:LISTED])
    return UserError(f"no column {column or what!r} for the {what}: {found}")


def _check_no_shared_patient(images: Sequence[FolderImage]) -> None:
    """Refuse splits given by the user that share a patient."""
    files, by_split = defaultdict(list), defaultdict(list)
    for image in images:
        if image.patient is not None:
            files[image.patient].append(image.file)
            by_split[image.split].append(image.patient)
    shared = find_shared_patients(by_split)
    if shared:
        lines = [
            f"{printable(patient)} in {' and '.join(splits)}: {name_some(files[patient])}"
            for patient, splits in shared.items()
        ]
        raise UserError(
            f"{len(shared)} patient(s) are in more than one split, so the classifier would have "
            f"seen them before validation:\n{list_lines(lines)}\nMove each patient's images into "
            f"one split, or remove val/: jaxgan then splits by patient. {WRONG_PATIENTS}"
        )


# Identity --------------------------------------------------------------------------------------


def compute_key(scan: FolderScan, settings: Sequence[object], contents: Sequence[str]) -> str:
    """Return a name, 32 hexadecimal digits, for what the folder holds under these settings.

    `contents` are `hash_contents`. The name changes with the path in the folder, the class, the
    patient or the bytes of an image, and with the files that can not be used. It does not change
    with the folder's own path.
    """
    unusable = [(file, str(reason)) for file, reason in scan.unusable]
    what = [scan.class_names, unusable, dicom.find_decoders(), *settings]
    digest = hashlib.sha256(repr(what).encode())
    for image, content in zip(scan.images, contents, strict=True):
        known = (image.split, image.label, image.file, image.size, image.patient, content)
        digest.update(repr(known).encode())
    return digest.hexdigest()[:32]


def is_quick_to_hash(scan: FolderScan) -> bool:
    """Whether the images are few enough to be read at every launch."""
    return sum(image.size for image in scan.images) <= MAX_HASHED_BYTES


def hash_contents(scan: FolderScan) -> list[str]:
    """Return the SHA-256 of each image's file, or why it can not be read (perhaps only now)."""
    paths = [scan.root / image.file for image in scan.images]
    return list(map_in_threads(_hash_content, paths, title="reading", total=len(paths)))


def compute_state(scan: FolderScan) -> str:
    """Return a name, 32 hexadecimal digits, for the files as the disk lists them, without reading.

    Two folders have different names, and so has a folder before and after a change. File sizes and
    times of change are used instead of the bytes.
    """
    digest = hashlib.sha256(str(scan.root.resolve()).encode(errors="surrogateescape"))
    for image in scan.images:
        is_readable = os.access(scan.root / image.file, os.R_OK)
        digest.update(repr((image.file, image.size, image.mtime_ns, is_readable)).encode())
    return digest.hexdigest()[:32]


def _hash_content(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return f"cannot be read ({error.strerror})"
