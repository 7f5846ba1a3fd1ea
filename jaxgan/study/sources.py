"""What a study reads from the user's folder besides the images: the source of each image."""

from pathlib import Path

from jaxgan.core.errors import UserError, list_some
from jaxgan.data.headings import SOURCES, find_heading, simplify
from jaxgan.data.manifests import MANIFEST, find_manifest, match_cells, read_manifest
from jaxgan.data.sets import Dataset


def read_sources(root: Path | None, dataset: Dataset, column: str | None) -> tuple[str, ...]:
    """Return the source of each image, in the order of the joined splits; empty if not known.

    Without `column`, the first column of the folder's manifest.csv that is in `SOURCES` is read.
    """
    path = find_manifest(root) if root else None
    if path is None:
        if column:
            raise UserError(f"--source_column={column} needs a {MANIFEST} in the data folder.")
        return ()
    rows, columns = read_manifest(path)
    known = SOURCES if column is None else (simplify(column),)
    chosen = column if column in columns else find_heading(columns, known)
    if chosen is None and column:
        raise UserError(f"{path} has no column {column!r}: it has {list_some(columns)}.")
    if chosen is None:
        return ()
    files = [file for images in dataset.splits.values() for file in images.files]
    cells = match_cells(path, rows, chosen, files)
    source_of = {file: found[0] or "unknown" for file, found in cells.items()}
    return tuple(source_of.get(file, "unknown") for file in files)
