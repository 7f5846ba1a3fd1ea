"""Find the images that a trained classifier predicts, in any folder or file, and what is known.

No image is decoded here. Unlike `jaxgan.data.folder`, this needs no least number of images or
classes: an image may have no class, or one that the classifier does not know.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from jaxgan.core.errors import UserError, list_some, name_some
from jaxgan.core.untrusted import printable
from jaxgan.data import headings
from jaxgan.data.folder import PATIENTS_FROM, find_patients
from jaxgan.data.limits import ImageError
from jaxgan.data.loose import SHEETS
from jaxgan.data.manifests import (
    MANIFEST,
    TABLE_ENDINGS,
    Table,
    covers,
    find_tables,
    list_columns,
    match_cells,
)
from jaxgan.data.tree import (
    ENDINGS,
    Folder,
    Placed,
    as_split,
    is_beside,
    is_image,
    is_no_data,
    read_tree,
)

LABELS_FROM = ("auto", "folders", "manifest", "none")
UNKNOWN = "unknown"  # the source of an image of which the source is not known
_ABOVE = 2  # number of folders above the given one that may hold the manifest
_NO_CLASS = ("", "nan", "na", "none", "null", "unknown")  # cells without a class


@dataclass(frozen=True)
class Asked:
    """What a user says about new images, except their path."""

    labels_from: str = "auto"
    label_column: str | None = None
    patient_column: str | None = None
    patient_pattern: str | None = None
    patients_from: str = PATIENTS_FROM[0]
    source_column: str | None = None
    follow_links: bool = False
    leave_out: tuple[str, ...] = ()
    skip_bad_images: bool = False

    def __post_init__(self) -> None:
        if self.labels_from not in LABELS_FROM:
            raise UserError(
                f"classes can not come from {self.labels_from!r}: expected one of "
                f"{', '.join(LABELS_FROM)}."
            )
        if self.label_column and self.labels_from not in ("auto", "manifest"):
            raise UserError(
                f"--label_column={self.label_column} reads classes from a table, and "
                f"--labels_from={self.labels_from} does not: give one of them."
            )


@dataclass(frozen=True)
class NewImages:
    """Images [num] in `root`: the file of each, and what is known about it.

    `classes` are the classifier's names if it knows the class, otherwise the name in the folder or
    table; None if the class is not known. `patients` are None if the patient is not known.
    `sources` is empty if no source is known. `unusable` are files that can not be used, and why.
    """

    root: Path
    files: tuple[str, ...]
    patients: tuple[str | None, ...]
    classes: tuple[str | None, ...]
    sources: tuple[str, ...]
    notices: tuple[str, ...]
    unusable: tuple[tuple[str, ImageError], ...] = ()

    def __len__(self) -> int:
        return len(self.files)

    @property
    def paths(self) -> list[Path]:
        """The path of each image."""
        return [self.root / file for file in self.files]

    def take(self, indices: Sequence[int]) -> "NewImages":
        """Return the images at `indices`, in that order."""
        return replace(
            self,
            files=tuple(self.files[i] for i in indices),
            patients=tuple(self.patients[i] for i in indices),
            classes=tuple(self.classes[i] for i in indices),
            sources=tuple(self.sources[i] for i in indices) if self.sources else (),
        )


@dataclass(frozen=True)
class _Listed:
    """The images of a folder; files are paths from `base`, which is `root` or lies above it."""

    root: Path
    base: Path
    files: tuple[str, ...]
    tables: tuple[Table, ...]
    notices: tuple[str, ...]


def find_new_images(path: Path, class_names: Sequence[str], asked: Asked) -> NewImages:
    """List the images of the folder or file `path`, and what is known about each.

    `class_names` are those of the classifier. Classes come from folders with the name of a class,
    or from a column of a table; patients from the same places as in training (`find_patients`);
    sources from a table. A `manifest.csv` is also found in the two folders above. Raises
    `UserError`.
    """
    root, files, unusable, notices = _list_files(path, class_names, asked)
    listed = _look_above(root, files)
    placed = _place(listed, class_names, asked)
    classes, said = _find_classes(listed, placed, class_names, asked)
    patients, more = find_patients(
        listed.base,
        placed,
        listed.tables,
        patient_column=asked.patient_column,
        patient_pattern=asked.patient_pattern,
        patients_from=asked.patients_from,
    )
    sources, last = _find_sources(listed, asked.source_column)
    return NewImages(
        root,
        tuple(files),
        tuple(patients.get(file) for file in listed.files),
        classes,
        sources,
        (*notices, *listed.notices, *said, *more, *last),
        tuple(unusable),
    )


# Files -----------------------------------------------------------------------------------------


def _list_files(
    path: Path, class_names: Sequence[str], asked: Asked
) -> tuple[Path, list[str], list[tuple[str, ImageError]], list[str]]:
    """Return the folder, the images in it, the files that can not be used, and notices."""
    if path.is_dir():
        return _list_folder(path, class_names, asked)
    if not path.exists():
        raise UserError(f"There is no {path}: expected a folder of images, or an image file.")
    try:
        if is_image(path, path.parent, follow_links=asked.follow_links):
            return path.parent, [path.name], [], []
    except ImageError as error:
        raise UserError(f"{path} {error}.") from None
    raise UserError(f"{path} is not an image: expected {', '.join(ENDINGS)}, or a folder of them.")


def _list_folder(
    root: Path, class_names: Sequence[str], asked: Asked
) -> tuple[Path, list[str], list[tuple[str, ImageError]], list[str]]:
    leave_out = [name.strip().rstrip("/") for name in asked.leave_out]
    tree = read_tree(root, follow_links=asked.follow_links, leave_out=leave_out)
    folders = [folder for folder in tree.walk() if not _is_left_out(folder, root, class_names)]
    _check_no_way_out(root, folders)
    paths = [path for folder in folders for path in folder.images]
    files = [path.relative_to(root).as_posix() for path in paths if path.name not in SHEETS]
    sheets = [path.relative_to(root).as_posix() for path in paths if path.name in SHEETS]
    bad = [(p.relative_to(root).as_posix(), e) for folder in folders for p, e in folder.unusable]
    if not files and not bad:
        raise UserError(f"There are no images in {root}: expected {', '.join(ENDINGS)}.")
    return root, sorted(files), bad, _describe_left_out(tree, folders, sheets)


def _is_left_out(folder: Folder, root: Path, class_names: Sequence[str]) -> bool:
    """Whether a folder is, or lies in, one of masks or annotations and not of a class."""
    inside = folder.path.relative_to(root).parts
    return any(
        is_beside(Folder(Path(part))) and match_class(part, class_names) is None for part in inside
    )


def _check_no_way_out(root: Path, folders: Sequence[Folder]) -> None:
    for folder in folders:
        if folder.is_way_out:
            raise UserError(
                f"The folder {printable(str(folder.path))} is a link that leads out of {root}. "
                "Replace the link by the folder itself, follow all links with --follow_links, or "
                "leave it out with --leave_out=NAME."
            )


def _describe_left_out(tree: Folder, folders: Sequence[Folder], sheets: Sequence[str]) -> list[str]:
    kept = {folder.path for folder in folders}
    beside = [f.path.name for f in tree.walk() if f.path not in kept and f.images]
    others = [path for folder in folders for path in folder.others]
    names = [p.name for p in others if not p.name.lower().endswith(TABLE_ENDINGS)]
    names = [name for name in names if not is_no_data(name)]
    said = []
    if beside:
        said.append(f"Left out as masks or annotations: {name_some(sorted(beside), 'folder')}.")
    if sheets:
        said.append(f"Left out as overviews of generated images: {name_some(sorted(sheets))}.")
    if names:
        said.append(f"Left out, not an image: {name_some(sorted(names), 'item')}.")
    return said


def _look_above(root: Path, files: Sequence[str]) -> _Listed:
    """Return the images and their tables: those in the folder, or a manifest above it."""
    tables, unread = find_tables(root, root)
    if tables:
        return _Listed(root, root, tuple(files), tuple(tables), ())
    absolute = root.resolve()
    for base in absolute.parents[:_ABOVE]:
        prefix = absolute.relative_to(base).as_posix()
        named = tuple(f"{prefix}/{file}" for file in files)
        table = _find_manifest(base, named)
        if table is not None:
            said = f"Read from the folder above: {table.path}."
            return _Listed(root, base, named, (table,), (said,))
    said_unread = tuple(f"Not read: {reason}." for reason in unread[:3])
    return _Listed(root, root, tuple(files), (), said_unread)


def _find_manifest(folder: Path, files: Sequence[str]) -> Table | None:
    """Return the manifest of a folder if it has a row for each file; otherwise None."""
    try:
        tables, _ = find_tables(folder, folder)
    except (UserError, OSError):
        return None
    return next((t for t in tables if t.is_manifest and covers(t, files)), None)


# Classes ---------------------------------------------------------------------------------------


def match_class(word: str, class_names: Sequence[str]) -> str | None:
    """Return the class that a word names, in upper or lower case; None if it names no class."""
    name = word.strip().replace("/", "-")  # as in a run
    if name in class_names:
        return name
    near = [known for known in class_names if known.casefold() == name.casefold()]
    return near[0] if len(near) == 1 else None


def _place(listed: _Listed, class_names: Sequence[str], asked: Asked) -> list[Placed]:
    """Return the images with the class that a folder names, if one does, and the path below it."""
    uses_folders = asked.labels_from in ("auto", "folders") and not asked.label_column
    if not uses_folders:
        return [Placed(listed.base / file, file, "", None, file) for file in listed.files]
    places = [_find_place(listed, file, class_names) for file in listed.files]
    is_named = asked.labels_from == "folders" or any(
        match_class(folder, class_names) for _, folder, _ in places if folder
    )
    placed = []
    for file, folder, below in places:
        inner = below.rpartition("/")[0].partition("/")[0]
        patient = file.removesuffix(below) + inner if is_named and folder and inner else None
        class_name = folder if is_named else None
        path = listed.base / file
        placed.append(Placed(path, file, "", class_name, below if class_name else file, patient))
    return placed


def _find_place(
    listed: _Listed, file: str, class_names: Sequence[str]
) -> tuple[str, str | None, str]:
    """Return a file, the folder that names its class, and its path below that folder.

    This is the folder of its path with the name of a class. If there is none, it is the first
    folder that is not a split.
    """
    first = len(listed.root.resolve().relative_to(listed.base.resolve()).parts)
    parts = file.split("/")
    inside = range(first, len(parts) - 1)
    known = [i for i in inside if match_class(parts[i], class_names)]
    if len({match_class(parts[i], class_names) for i in known}) > 1:
        raise UserError(
            f"{printable(file)} lies in folders of two classes: expected one. "
            "--labels_from=manifest takes classes from a table."
        )
    others = [i for i in inside if as_split(parts[i]) is None]
    chosen = next(iter(known or others), None)
    if chosen is None:
        return file, None, file
    return file, parts[chosen], "/".join(parts[chosen + 1 :])


def _find_classes(
    listed: _Listed, placed: Sequence[Placed], class_names: Sequence[str], asked: Asked
) -> tuple[tuple[str | None, ...], list[str]]:
    """Return the class of each image, None if it is not known, and notices."""
    if asked.labels_from == "none":
        return (None,) * len(placed), []
    if any(image.class_name for image in placed):
        words = [image.class_name for image in placed]
        return _match_classes(words, class_names), ["The true classes are those of the folders."]
    if asked.labels_from == "folders":
        return _name_after_root(listed, class_names)
    return _read_classes(listed, class_names, asked)


def _match_classes(
    words: Sequence[str | None], class_names: Sequence[str]
) -> tuple[str | None, ...]:
    return tuple(word and (match_class(word, class_names) or word) for word in words)


def _name_after_root(
    listed: _Listed, class_names: Sequence[str]
) -> tuple[tuple[str | None, ...], list[str]]:
    """Return, for all images, the class that the name of the folder itself gives."""
    word = listed.root.resolve().name
    found = match_class(word, class_names)
    if found is None:
        raise UserError(
            f"--labels_from=folders: no folder in {listed.root} names a class. Expected folders "
            f"named {list_some(class_names)}."
        )
    said = f"All images have the class {printable(found)}, the name of their folder."
    return (found,) * len(listed.files), [said]


def _read_classes(
    listed: _Listed, class_names: Sequence[str], asked: Asked
) -> tuple[tuple[str | None, ...], list[str]]:
    """Return the classes in a table; None for all if no known class is in it and none is asked."""
    column, is_asked = asked.label_column, bool(asked.label_column)
    is_asked |= asked.labels_from == "manifest"
    found = list_columns(listed.tables, column, headings.LABELS)
    if not found:
        if is_asked:
            raise _missing_column("class", column, listed)
        return (None,) * len(listed.files), []
    whole = [(t, chosen) for t, chosen in found if t.is_manifest or covers(t, listed.files)]
    table, chosen = (whole or found)[0]
    cells = match_cells(table.path, table.rows, chosen, listed.files)
    words = [_read_class(table, chosen, file, cells.get(file, [])) for file in listed.files]
    classes = _match_classes(words, class_names)
    if not is_asked and not set(classes) & set(class_names):
        return (None,) * len(classes), []
    said = f"The true classes are those of the column {printable(chosen)!r} of {table.path.name}."
    return classes, [said]


def _read_class(table: Table, column: str, file: str, cells: Sequence[str]) -> str | None:
    words = sorted(set(cells))
    if len(words) > 1:
        raise UserError(f"{table.path} gives two classes in {column!r} to {printable(file)}.")
    known = [word for word in words if headings.simplify(word) not in _NO_CLASS]
    return known[0] if known else None


def _missing_column(what: str, column: str | None, listed: _Listed) -> UserError:
    """Return the error for a requested column that no table has."""
    named = f"no column {column!r}" if column else f"no column that names the {what}"
    if not listed.tables:
        return UserError(
            f"There is no table in {listed.root}, such as {MANIFEST}: expected one with a row for "
            f"each image and the columns file and {column or what}."
        )
    found = "; ".join(f"{table.path} has {list_some(table.columns)}" for table in listed.tables)
    return UserError(f"There is {named}: {found}.")


# Sources ---------------------------------------------------------------------------------------


def _find_sources(listed: _Listed, column: str | None) -> tuple[tuple[str, ...], list[str]]:
    """Return the source of each image, such as its hospital; empty if no source is known."""
    found = list_columns(listed.tables, column, headings.SOURCES)
    if not found:
        if column:
            raise _missing_column("source", column, listed)
        return (), []
    table, chosen = found[0]
    cells = match_cells(table.path, table.rows, chosen, listed.files)
    sources = tuple(next(iter(cells.get(file, ())), "") or UNKNOWN for file in listed.files)
    said = f"Sources are those of the column {printable(chosen)!r} of {table.path.name}."
    return (sources, [said]) if set(sources) != {UNKNOWN} else ((), [])
