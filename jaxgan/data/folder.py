"""A user's folder of images: which files, classes, splits and patients it holds.

Nothing is decoded here and nothing is assumed about what the classes are called.
"""

import csv
import hashlib
import io
import os
import posixpath
import re
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath

from jaxgan.data import dicom
from jaxgan.data.images import map_in_threads, progress_bar
from jaxgan.data.limits import ImageError, read_file, unusable_images_error
from jaxgan.data.split import find_shared_patients
from jaxgan.errors import UserError
from jaxgan.untrusted import printable

SPLITS = ("train", "val", "test")
ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".dcm", ".dicom")
MANIFEST = "manifest.csv"
FILE_COLUMN = "file"
PATIENT_COLUMNS = ("patient_group", "patient_id", "patient", "subject", "subject_id")
MIN_TRAIN_IMAGES = 10
MAX_ROWS = 500_000  # of a manifest: two seconds
MAX_MANIFEST_BYTES = 32 * 2**20  # four seconds where they are a thousand columns
MAX_HASHED_BYTES = 2**30  # of all images: two to five seconds at every launch
LISTED = 5  # an error message names this many examples

_LAYOUTS = (
    f"DIR/train/CLASS/* and DIR/val/CLASS/* (DIR/test/CLASS/* if there is one), or DIR/CLASS/*, "
    f"with images that end in {', '.join(ENDINGS)} (DICOM files may be called anything)"
)


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

    `unusable` are files that are no images to begin with, with the reason: broken or looping links,
    links that lead out of the folder, pipes, names that are not UTF-8.
    """

    root: Path
    class_names: tuple[str, ...]
    splits: tuple[str, ...]
    images: tuple[FolderImage, ...]
    notices: tuple[str, ...]
    unusable: tuple[tuple[str, ImageError], ...] = ()

    @property
    def patients_known(self) -> bool:
        """Whether every image has a patient (it is all of them or none)."""
        return all(image.patient is not None for image in self.images)


def scan_folder(
    root: Path, *, patient_column: str | None = None, patient_pattern: str | None = None
) -> FolderScan:
    """List the images of `root` with class, split and patient.

    Patients come from `patient_pattern` (a regular expression searched in the file name: its first
    group, or the whole match), or from a column of `manifest.csv`, or from DICOM headers, or are
    unknown, which gives a notice. A patient that a DICOM header tells is called after the first of
    his files: the identifier itself goes no further. Raises `UserError` for a folder that cannot be
    used; single files that cannot are in `unusable`.
    """
    if patient_column is not None and patient_pattern is not None:
        raise UserError("a patient column and a patient pattern were both given: give one of them")
    if not root.is_dir():
        found = "is a file" if root.exists() else "does not exist"
        raise UserError(f"the data folder {root} {found}. Expected a folder: {_LAYOUTS}")
    splits = _find_splits(root)
    _check_class_folders(root, splits)
    paths, unusable, notices = _list_all(root, splits)
    try:
        class_names = _check_classes(root, splits, paths)
    except UserError as error:
        if not unusable:
            raise
        num_images = len(unusable) + sum(map(len, paths.values()))
        raise UserError(
            f"{error}\n{unusable_images_error(unusable, num_images=num_images)}"
        ) from None
    images = [
        _describe(root, path, split, class_names.index(name))
        for (split, name), group in paths.items()
        for path in group
    ]
    images.sort(key=lambda image: image.file)
    images, patient_notices = _add_patients(root, images, patient_column, patient_pattern)
    if any(image.patient is None for image in images):
        patient_notices.append(_describe_risk(splits))
    if splits:
        _check_no_shared_patient(images)
    all_notices = (*notices, *patient_notices)
    return FolderScan(root, class_names, splits, tuple(images), all_notices, tuple(unusable))


def _list_folder(path: Path) -> list[Path]:
    """Return the visible entries of a folder, sorted by name."""
    try:
        entries = sorted(path.iterdir())
    except OSError as error:
        raise UserError(f"the folder {path} cannot be read: {error.strerror}") from error
    return [entry for entry in entries if not entry.name.startswith((".", "__MACOSX"))]


def _folders_in(path: Path) -> list[Path]:
    return [entry for entry in _list_folder(path) if entry.is_dir()]


def _find_splits(root: Path) -> tuple[str, ...]:
    """Return the split folders of `root`, or () where it holds class folders directly."""
    found = tuple(split for split in SPLITS if (root / split).is_dir())
    if found and "train" not in found:
        raise UserError(f"{root} holds {' and '.join(found)} but no train. Expected {_LAYOUTS}")
    return found


def _check_class_folders(root: Path, splits: tuple[str, ...]) -> None:
    """Refuse folders that are links out of the data, and class names that cannot be shown."""
    inside = [root / split for split in splits]
    inside += [folder for parent in inside or [root] for folder in _folders_in(parent)]
    for folder in inside:
        if not _is_inside(folder, root):
            raise UserError(
                f"the folder {printable(str(folder))} is a link that leads out of {root}: expected "
                "all images inside it. Copy them there, or name the folder that holds everything."
            )
        if not folder.name.isprintable():  # nor is what came from bytes that are not UTF-8
            raise UserError(
                f"the class folder {folder.name!r} has a name with control characters or bytes "
                "that are not UTF-8: rename it"
            )


def _is_inside(path: Path, root: Path) -> bool:
    """Tell whether `path`, its links followed, lies in `root`."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root))


def _is_unicode(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:  # Python's stand-ins for bytes that could not be decoded
        return False
    return True


def _list_all(
    root: Path, splits: tuple[str, ...]
) -> tuple[dict[tuple[str, str], list[Path]], list[tuple[str, ImageError]], list[str]]:
    """Return the image paths by (split, class), what is unusable, and notices on what is left."""
    paths: dict[tuple[str, str], list[Path]] = {}
    unusable, ignored = [], []
    if splits:
        ignored += [f for f in _folders_in(root) if f.name not in splits]
    for split in splits or ("train",):
        for folder in _folders_in(root / split if splits else root):
            group = paths[split, folder.name] = []
            for entry in _list_folder(folder):
                try:
                    (group if is_image(entry, root) else ignored).append(entry)
                except ImageError as error:
                    unusable.append((entry.relative_to(root).as_posix(), error))
    names = [path.relative_to(root).as_posix() for path in ignored]
    notice = (
        f"{_some(names, 'item')} in {root} left out: not among {', '.join(ENDINGS)} or not a split."
    )
    return paths, unusable, [notice] if names else []


def is_image(entry: Path, root: Path) -> bool:
    """Tell whether an entry of a class folder is an image by its name, or DICOM by its content.

    Raises `ImageError` for what might be meant as one and cannot be taken.
    """
    try:
        mode = entry.stat().st_mode
    except OSError as error:
        what = "is a link that leads nowhere" if entry.is_symlink() else "cannot be read"
        raise ImageError(f"{what} ({error.strerror})") from None
    if stat.S_ISDIR(mode):
        return False
    is_named = entry.suffix.lower() in ENDINGS
    if not is_named and not stat.S_ISREG(mode):
        return False
    if not _is_inside(entry, root):  # asked before it is opened
        raise ImageError("is a link that leads out of the data folder: copy the file there")
    if not is_named and not dicom.starts_as_dicom(entry):
        return False
    if not stat.S_ISREG(mode):
        raise ImageError("is not an ordinary file")
    if not _is_unicode(entry.name):
        raise ImageError("has a name that is not UTF-8: rename it")
    return True


def _check_classes(
    root: Path, splits: tuple[str, ...], paths: Mapping[tuple[str, str], list[Path]]
) -> tuple[str, ...]:
    """Return the class names, having refused missing, stray, empty and tiny classes."""
    if not any(paths.values()):
        raise UserError(f"no images found in {root}. Expected {_LAYOUTS}")
    class_names = tuple(sorted(name for split, name in paths if split == "train"))
    for split, name in paths:
        if name not in class_names:
            raise UserError(
                f"class {name!r} is in {split} but not in train, which has "
                f"{', '.join(class_names) or 'no class'}. Remove it or give it training images."
            )
    for split in splits or ("train",):
        for name in class_names:
            _check_count(root, split, name, len(paths.get((split, name), ())))
    if len(class_names) < 2:
        raise UserError(
            f"{root} holds one class only ({class_names[0]!r}): expected two or more. "
            f"Expected {_LAYOUTS}"
        )
    return class_names


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


def _describe(root: Path, path: Path, split: str, label: int) -> FolderImage:
    stat = path.stat()
    file = path.relative_to(root).as_posix()
    return FolderImage(split, label, file, stat.st_size, stat.st_mtime_ns)


# Patients --------------------------------------------------------------------------------------


def _add_patients(
    root: Path, images: list[FolderImage], column: str | None, pattern: str | None
) -> tuple[list[FolderImage], list[str]]:
    """Return the images with their patients where something tells them, and notices."""
    notices: list[str] = []
    find: Callable[[str], str | None]
    if pattern is not None:
        find = _patient_by_pattern(pattern, [image.file for image in images])
    else:
        patients, notices = _read_patients(root, column, [image.file for image in images])
        if patients is None:
            patients, more = _find_dicom_patients(root, [image.file for image in images])
            notices += more
        if not patients:
            return images, notices
        find = patients.get
    return [_with_patient(image, find(image.file)) for image in images], notices


def _find_dicom_patients(root: Path, files: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Return, for each film whose header tells the patient, words that name his first file.

    `files` are sorted, so that the names do not depend on anything but the folder.
    """
    first_of: dict[str, str] = {}
    patients = {}
    for file in files:
        if dicom.starts_as_dicom(root / file):
            token = dicom.read_patient(root / file)
            if token is not None:
                patients[file] = first_of.setdefault(token, f"the patient of {file}")
    missing = [file for file in files if file not in patients]
    if not patients or not missing:
        return patients, []
    return patients, [f"DICOM headers tell the patients, but not those of {_some(missing)}."]


def _describe_risk(splits: tuple[str, ...]) -> str:
    """Say what it means that nothing tells whose an image is."""
    how = (
        "The split in the folder is taken as it is" if "val" in splits else "The split is by image"
    )
    return (
        f"No patient information. {how}: where a patient has several images, the validation may "
        "hold patients that the training has seen, and its accuracy is then too high for new "
        "patients. Give a manifest.csv with a patient column, or a patient pattern."
    )


def _with_patient(image: FolderImage, patient: str | None) -> FolderImage:
    return FolderImage(image.split, image.label, image.file, image.size, image.mtime_ns, patient)


def _patient_by_pattern(pattern: str, files: Sequence[str]) -> Callable[[str], str]:
    """Return a function from file to patient, having tried the pattern on every file."""
    try:
        regex = re.compile(pattern)
    except re.error as error:
        raise UserError(
            f"the patient pattern {pattern!r} is not a regular expression: {error}"
        ) from error

    def find(file: str) -> str:
        match = regex.search(PurePosixPath(file).name)
        return (match.group(1 if regex.groups else 0) or "") if match else ""

    unmatched = [file for file in files if not find(file)]
    if unmatched:
        raise UserError(
            f"the patient pattern {pattern!r} finds no patient in the names of {_some(unmatched)}, "
            f"of {len(files)} images. Expected a match in every file name (its first group, or all "
            "of it, is the patient)."
        )
    return find


def _read_patients(
    root: Path, column: str | None, files: Sequence[str]
) -> tuple[dict[str, str] | None, list[str]]:
    """Return the patient of each file out of the manifest, or None and why there is none."""
    path = root / MANIFEST
    if not path.exists():
        if column is not None:
            raise UserError(
                f"the patient column {column!r} was asked for but {path} does not exist: expected "
                f"a table with a row an image and the columns {FILE_COLUMN!r} and {column!r}"
            )
        return None, []
    rows, columns = read_manifest(root)
    chosen = _choose_column(path, columns, column)
    if chosen is None:
        return None, [
            f"{path} has no patient column (found {_list(columns)}; looked for "
            f"{', '.join(PATIENT_COLUMNS)})."
        ]
    return match_rows(root, rows, chosen, files)


def read_manifest(root: Path) -> tuple[list[dict[str, str]], list[str]]:
    """Return the rows and the column names of the folder's manifest; `UserError` if it is none."""
    path = root / MANIFEST
    if not _is_inside(path, root):
        raise UserError(f"{path} is a link that leads out of the folder: copy the table there")
    try:
        return parse_manifest(read_file(path, MAX_MANIFEST_BYTES), path)
    except ImageError as error:
        raise UserError(f"{path} {error}") from None


def parse_manifest(content: bytes, path: Path) -> tuple[list[dict[str, str]], list[str]]:
    """Return the rows and the column names of a manifest's content; `path` is for messages."""
    try:
        lines = io.StringIO(content.decode("utf-8-sig"), newline="")
        reader = csv.reader(lines, strict=True)
        columns = _check_heading(path, next(reader, []))
        filled = islice((row for row in reader if row), MAX_ROWS + 1)
        rows = [_check_row(path, reader.line_num, columns, row) for row in filled]
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not a table in CSV, UTF-8: {error}") from error
    if len(rows) > MAX_ROWS:
        raise UserError(
            f"{path} has more than the {MAX_ROWS} rows that are accepted: leave only those of "
            "the images in the folder"
        )
    return rows, columns


def _check_heading(path: Path, columns: list[str]) -> list[str]:
    if FILE_COLUMN not in columns or len(set(columns)) < len(columns):
        raise UserError(
            f"{path} has the columns {_list(columns) or 'of an empty line'}, expected "
            f"{FILE_COLUMN!r} (the image's path relative to the folder) and no column twice, "
            "separated by commas"
        )
    return columns


def _check_row(path: Path, line: int, columns: list[str], row: list[str]) -> dict[str, str]:
    if len(row) != len(columns):
        raise UserError(
            f"{path}, line {line}: more or fewer fields than the heading has. Expected one row an "
            "image, separated by commas"
        )
    return dict(zip(columns, row, strict=True))


def _choose_column(path: Path, columns: Sequence[str], asked: str | None) -> str | None:
    if asked is not None:
        if asked not in columns:
            raise UserError(f"{path} has no column {asked!r}: it has {_list(columns)}")
        return asked
    return next((name for name in PATIENT_COLUMNS if name in columns), None)


def match_rows(
    root: Path, rows: Iterable[Mapping[str, str]], column: str, files: Sequence[str]
) -> tuple[dict[str, str], list[str]]:
    """Return the patient of each file, having checked that the manifest and the folder agree."""
    manifest = root / MANIFEST
    patients: dict[str, str] = {}
    for row in rows:
        file = _check_inside(manifest, row[FILE_COLUMN])
        if patients.setdefault(file, row[column].strip()) != row[column].strip():
            raise UserError(
                f"{manifest} gives {printable(file)} two patients in the column {column!r}"
            )
    missing = [file for file in files if file not in patients]
    if missing:
        raise UserError(
            f"{manifest} has no row for {_some(missing)}: add them, or remove the files"
        )
    unnamed = [file for file in files if not patients[file]]
    if unnamed:
        raise UserError(f"{manifest} has an empty {column!r} for {_some(unnamed)}: fill it in")
    num_absent = len(patients.keys() - set(files))
    notice = f"{manifest} has {num_absent} row(s) for files that are not among the images."
    return {file: patients[file] for file in files}, [notice] if num_absent else []


def _check_inside(manifest: Path, entry: str) -> str:
    """Return the path of a manifest row in plain form, having refused any way out of the folder.

    Links need no look, which would take a minute a million rows: only `files` of the scan are read.
    """
    if entry.startswith("/") or ".." in entry.split("/") or "\0" in entry:
        raise UserError(
            f"{manifest} names {entry!r}, which lies outside the folder: expected paths relative "
            "to it, without '..'"
        )
    return posixpath.normpath(entry)


def _check_no_shared_patient(images: Sequence[FolderImage]) -> None:
    """Refuse a ready-made split that has a patient on two sides."""
    files: dict[str, list[str]] = {}
    by_split: dict[str, list[str]] = {}
    for image in images:
        if image.patient is not None:
            files.setdefault(image.patient, []).append(image.file)
            by_split.setdefault(image.split, []).append(image.patient)
    shared = find_shared_patients(by_split)
    if shared:
        lines = [
            f"  {printable(patient)} in {' and '.join(splits)}: {_some(files[patient])}"
            for patient, splits in list(shared.items())[:LISTED]
        ]
        more = [f"  and {len(shared) - LISTED} more"] if len(shared) > LISTED else []
        raise UserError(
            "\n".join(
                [
                    f"{len(shared)} patient(s) are in more than one split, so the validation would "
                    "know them already:",
                    *lines,
                    *more,
                    "Move each patient's images into one split, or remove val/ to have the split "
                    "made by patient.",
                ]
            )
        )


def _some(names: Sequence[str], noun: str = "file") -> str:
    """Return how many there are and name the first ones."""
    return f"{len(names)} {noun}{'s' * (len(names) != 1)} ({_list(names, LISTED)})"


def _list(names: Sequence[str], most: int = 50) -> str:
    """Return the first ones of names from the folder, in a line that they can not break."""
    more = ", ..." if len(names) > most else ""
    return ", ".join(map(printable, names[:most])) + more


# Identity --------------------------------------------------------------------------------------


def compute_key(scan: FolderScan, settings: Sequence[object], contents: Sequence[str]) -> str:
    """Return a name, 32 hexadecimal digits, for what the folder holds under these settings.

    `contents` are `hash_contents`. It changes with the path in the folder, the class, the patient
    or the bytes of an image, and with the files that can not be used; where the folder lies and
    what it is called are no part of it.
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
    """Return the SHA-256 of each image's file, or why it can not be read: that may pass."""
    hashes = map_in_threads(_hash_content, (scan.root / image.file for image in scan.images))
    return list(progress_bar(hashes, title="reading", total=len(scan.images)))


def compute_state(scan: FolderScan) -> str:
    """Return a name, 32 hexadecimal digits, for the files as the disk lists them, unread.

    Two folders, or a folder before and after a change, have one of their own each; sizes and times
    of change stand for the bytes.
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
