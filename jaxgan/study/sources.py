"""What a study asks of the user's folder beside its images: where each one comes from."""

from pathlib import Path, PurePosixPath

from jaxgan.data.folder import FILE_COLUMN, MANIFEST, read_manifest
from jaxgan.data.sets import Dataset
from jaxgan.errors import UserError

SOURCE_COLUMNS = ("source", "hospital", "site", "collection", "institution")


def read_sources(root: Path | None, dataset: Dataset, column: str | None) -> tuple[str, ...]:
    """Return the source of each image, in the order of the splits joined; empty where not known.

    Without `column` the first of `SOURCE_COLUMNS` that the folder's manifest.csv has is read.
    """
    path = root / MANIFEST if root else None
    if path is None or not path.exists():
        if column:
            raise UserError(f"--source_column={column} needs a {MANIFEST} in the data folder.")
        return ()
    rows, columns = read_manifest(path.parent)
    chosen = column or next((c for c in SOURCE_COLUMNS if c in columns), None)
    if column and column not in columns:
        raise UserError(f"{path} has no column {column!r}: it has {', '.join(columns)}.")
    if chosen is None:
        return ()
    source_of = {
        PurePosixPath(row[FILE_COLUMN]).as_posix(): row[chosen].strip() or "unknown" for row in rows
    }
    return tuple(
        source_of.get(file, "unknown") for s in dataset.splits.values() for file in s.files
    )
