"""Users' tables: find those next to the images, and read what their rows say about each file."""

import codecs
import csv
import io
import os
import posixpath
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath

from jaxgan.core.errors import UserError, list_some, name_some
from jaxgan.core.untrusted import printable
from jaxgan.data import headings
from jaxgan.data.limits import ImageError, read_file
from jaxgan.data.tree import is_inside, is_no_data

MANIFEST = "manifest.csv"
FILE_COLUMN = "file"
TABLE_ENDINGS = (".csv", ".tsv")
_MAX_ABOVE = 8  # folders above those of the classes
MAX_ROWS = 500_000  # of a manifest: two seconds
MAX_MANIFEST_BYTES = 32 * 2**20  # four seconds where they are a thousand columns


@dataclass(frozen=True)
class Table:
    """A table with one row per image; `columns` include one for the file."""

    path: Path
    columns: tuple[str, ...]
    rows: Sequence[Mapping[str, str]]

    @property
    def is_manifest(self) -> bool:
        """Whether its name says that it is for jaxgan."""
        return _is_manifest(self.path)


def _is_manifest(path: Path) -> bool:
    return path.stem.casefold() == "manifest" and path.suffix.casefold() in TABLE_ENDINGS


def _list_tables(top: Path, root: Path) -> list[Path]:
    """Return the tables in a folder, and in those above it up to `root`."""
    folders = [top, *(path for path in top.parents if path.is_relative_to(root))]
    return [
        path
        for folder in folders
        for path in sorted(folder.iterdir())
        if path.suffix.casefold() in TABLE_ENDINGS and not path.name.startswith(".")
    ]


def find_tables(top: Path, root: Path) -> tuple[list[Table], list[str]]:
    """Return only the manifest if there is one, otherwise every table that has a file column.

    The tables lie in `top`, or above it up to `root`. Also returns why other tables could not be
    read: they were not written for jaxgan, so this is not an error.
    """
    paths = _list_tables(top, root)
    manifests = [path for path in paths if _is_manifest(path)]
    if manifests:
        return [_read_table(manifests[0])], []
    found, unread = [], []
    for path in paths:
        try:
            found.append(_read_table(path))
        except UserError as error:
            unread.append(str(error))
    return found, unread


def find_manifest(root: Path) -> Path | None:
    """Return the path of the manifest.csv of a folder, or of the only folder in it."""
    folder = root
    for _ in range(_MAX_ABOVE):
        inside = [p for p in folder.iterdir() if p.is_dir() and not is_no_data(p.name)]
        if len(inside) != 1:
            break
        (folder,) = inside
    return next(filter(_is_manifest, _list_tables(folder, root)), None)


def _read_table(path: Path) -> Table:
    if not is_inside(path, path.parent):
        raise UserError(f"{path} is a link that leads out of the folder: copy the table there")
    try:
        rows, columns = parse_manifest(read_file(path, MAX_MANIFEST_BYTES), path)
    except ImageError as error:
        raise UserError(f"{path} {error}") from None
    return Table(path, tuple(columns), rows)


def read_manifest(path: Path) -> tuple[list[Mapping[str, str]], list[str]]:
    """Return the rows and the column names of a manifest; `UserError` if it is none."""
    table = _read_table(path)
    return list(table.rows), list(table.columns)


def parse_manifest(content: bytes, path: Path) -> tuple[list[dict[str, str]], list[str]]:
    """Return the rows and the column names of a manifest's content; `path` is for messages.

    Fields are separated by commas, semicolons or tabs. Blank rows and columns without a heading
    are left out.
    """
    is_wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = content.decode("utf-16" if is_wide else "utf-8-sig")
        separator = _find_separator(text)
        reader = csv.reader(
            io.StringIO(text, newline=""), strict=True, delimiter=separator, skipinitialspace=True
        )
        columns = [column.strip() for column in next(reader, [])]
        _check_heading(path, columns)
        filled = islice((row for row in reader if any(map(str.strip, row))), MAX_ROWS + 1)
        rows = [_check_row(path, reader.line_num, columns, row) for row in filled]
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(
            f"{path} is not a table in CSV, UTF-8 ({error}): save it as such"
        ) from error
    if len(rows) > MAX_ROWS:
        raise UserError(
            f"{path} has more than the {MAX_ROWS} rows that are accepted: leave only those of "
            "the images in the folder"
        )
    return rows, [column for column in columns if column]


def _find_separator(text: str) -> str:
    """Return what separates the fields, such that the heading has a column for the file."""
    heading = text[: text.find("\n")] if "\n" in text else text
    for separator in ",;\t":
        if headings.find_heading(heading.split(separator), headings.FILES):
            return separator
    return ","


def _check_heading(path: Path, columns: list[str]) -> None:
    named = [column for column in columns if column]
    if not headings.find_heading(named, headings.FILES) or len(set(named)) < len(named):
        raise UserError(
            f"{path} has the columns {list_some(named) or 'of an empty line'}, expected "
            f"{FILE_COLUMN!r} (the image's path relative to the folder, or its name if no two "
            "images have the same; filename, image or similar headings also work) and no column "
            "twice, separated by commas, semicolons or tabs"
        )


def _check_row(path: Path, line: int, columns: list[str], row: list[str]) -> dict[str, str]:
    if len(row) != len(columns):
        raise UserError(
            f"{path}, line {line}: more or fewer fields than the heading has. Expected one row per "
            "image, the same separator as in the heading, and quotes around a field that contains "
            "the separator"
        )
    return {column: cell for column, cell in zip(columns, row, strict=True) if column}


def list_columns(
    tables: Sequence[Table], asked: str | None, known: Sequence[str]
) -> list[tuple[Table, str]]:
    """Return the tables with the `asked` column (None: with a `known` one), and its name."""
    words = known if asked is None else [headings.simplify(asked)]
    found = [
        (t, asked if asked in t.columns else headings.find_heading(t.columns, words))
        for t in tables
    ]
    return [(table, column) for table, column in found if column is not None]


# What a table says of the files ---------------------------------------------------------------


def match_rows(
    path: Path, rows: Sequence[Mapping[str, str]], column: str, files: Sequence[str]
) -> tuple[dict[str, str], list[str]]:
    """Return the patient of each file that has one, and notices; check that table and folder agree.

    `path` is the table's. A file with no patient in its cell (empty, nan, unknown) is left out.
    """
    cells = match_cells(path, rows, column, files)
    named = {
        (file, i): cell
        for file, row in cells.items()
        for i, cell in enumerate(row)
        if not headings.names_nobody(cell)
    }
    joined, variants = headings.join_spellings(named)
    patients: dict[str, str] = {}
    for (file, _), patient in joined.items():
        if patients.setdefault(file, patient) != patient:
            raise UserError(f"{path} gives {printable(file)} two patients in the column {column!r}")
    check_complete(path, files, cells)
    num_absent = len(cells.keys() - set(files))
    notices = _describe_match(path, column, files, patients, variants, num_absent)
    return {file: patients[file] for file in files if file in patients}, notices


def _describe_match(
    path: Path,
    column: str,
    files: Sequence[str],
    patients: Mapping[str, str],
    variants: Sequence[Sequence[str]],
    num_absent: int,
) -> list[str]:
    nobody = [file for file in files if file not in patients]
    notices = []
    if nobody:
        notices.append(
            f"{path} names no patient in {column!r} (empty, nan, unknown) for {name_some(nobody)}: "
            "each counts as a patient of its own."
        )
    if variants:
        example = " and ".join(repr(printable(name)) for name in variants[0][:2])
        notices.append(
            f"{len(variants)} patient(s) are spelled in several ways in {path}, such as {example}: "
            "each counts as one patient."
        )
    if num_absent:
        notices.append(f"{path} has {num_absent} row(s) for files that are not among the images.")
    return notices


def check_complete(path: Path, files: Sequence[str], cells: Mapping[str, object]) -> None:
    """Refuse files without a row in a table."""
    missing = [file for file in files if file not in cells]
    if missing:
        raise UserError(
            f"{path} has no row for {name_some(missing)}: add them, or remove the files"
        )


def match_cells(
    path: Path, rows: Sequence[Mapping[str, str]], column: str, files: Sequence[str]
) -> dict[str, list[str]]:
    """Return the cells of a column, stripped, for each file and for other names in the table.

    A row names a file by its path in the folder. If not all rows do, they may name it by the end of
    the path, with or without the file's ending. `path` is the table's. The disk is not read.
    """
    file_column = headings.find_heading(list(rows[0]) if rows else [], headings.FILES)
    cells_of_files = [row[file_column or FILE_COLUMN] for row in rows]
    places = _list_places(path.parent, cells_of_files)
    entries = [
        (_check_inside(path, cell, places), row)
        for cell, row in zip(cells_of_files, rows, strict=True)
    ]
    known = set(files)
    cells = defaultdict(list)
    is_exact = known <= {entry for entry, _ in entries}
    by_name = {} if is_exact else _index(files)
    for entry, row in entries:
        file = entry if entry in known else _find_file(path, entry, by_name)
        cells[file or entry].append(row[column].strip())
    return dict(cells)


def _index(files: Sequence[str]) -> dict[str, list[str]]:
    """Return the files by their names, with and without the ending."""
    by_name = defaultdict(list)
    for file in files:
        name = PurePosixPath(file)
        for key in {name.name, name.stem}:
            by_name[key].append(file)
    return by_name


def _find_file(path: Path, entry: str, by_name: Mapping[str, list[str]]) -> str | None:
    """Return the file that a row means; raise `UserError` if it may mean several."""
    near = by_name.get(PurePosixPath(entry).name, [])
    means = [file for file in near if _have_same_end(entry, file)]
    if len(means) > 1:
        raise UserError(
            f"{path} names {printable(entry)}, but {name_some(means)} have this name: give their "
            "paths in the folder"
        )
    return means[0] if means else None


def _have_same_end(entry: str, file: str) -> bool:
    """Whether one path is the end of the other; the entry may omit the file's ending."""
    stem = file.removesuffix(PurePosixPath(file).suffix)
    return any(
        f"/{long}".endswith(f"/{short}")
        for name in (file, stem)
        for long, short in ((entry, name), (name, entry))
    )


def _list_places(folder: Path, cells: Sequence[str]) -> list[str]:
    """Return the forms in which a folder's path may begin a cell; none without absolute paths."""
    if not any(cell.lstrip().startswith("/") for cell in cells):
        return []
    return [f"{(Path.cwd() / folder).as_posix()}/", f"{os.path.realpath(folder)}/"]


def _check_inside(path: Path, entry: str, places: Sequence[str]) -> str:
    """Return the path of a row in plain form; refuse any path out of the table's folder.

    A table that is not a manifest may come from another machine: only the ends of its paths count.
    Links are not checked, which would take a minute per million rows: only `files` of the scan are
    read.
    """
    plain = entry.strip().replace("\\", "/")
    for place in places:
        plain = plain.removeprefix(place)
    if not _is_manifest(path):
        return posixpath.normpath(f"/{plain}").lstrip("/") or "."
    if plain.startswith("/") or ".." in plain.split("/") or "\0" in plain:
        raise UserError(
            f"{path} names {entry!r}, which lies outside the folder: expected paths relative "
            "to it, without '..'"
        )
    return posixpath.normpath(plain)


def covers(table: Table, files: Sequence[str]) -> bool:
    """Whether a table has a row for each file; no error if the table is for other files."""
    try:
        cells = match_cells(table.path, table.rows, table.columns[0], files)
    except UserError:
        return False
    return cells.keys() >= set(files)
