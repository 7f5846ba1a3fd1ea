"""The images a run has kept: `accepted/*.png` and `accepted.csv`, with one row per image."""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import numpy as np

from jaxgan.core.console import say
from jaxgan.core.errors import UserError, list_some
from jaxgan.core.files import write_text
from jaxgan.core.untrusted import csv_cell, printable
from jaxgan.data.images import read_image, write_generated
from jaxgan.data.limits import ImageError
from jaxgan.training.run_folder import RunFolder

FOLDER, TABLE = "accepted", "accepted.csv"
ONLY_WHILE_TRAINING = "paper_code"  # the rule that draws no image from a finished generator
_FINAL = "final"
_OWN_FILE = re.compile(rf"(epoch_\d{{5,}}|{_FINAL})_\d{{7,}}\.png")


@dataclass(frozen=True)
class KeptImage:
    """One row of `accepted.csv`.

    `seed` is the seed of the latent (see `two_player.draw_latents`). The images of the finished
    generator (`is_final`) are drawn with the truncation of the run's settings, the others without.
    For `paper_code`, which keeps an image of the training batch, `seed` is the step. `score` is
    D(G(z)), or D's raw output if that is no probability. For `paper_code` it is the mean over the
    batch, the only score of that rule.
    """

    file: str
    epoch: int
    seed: int
    score: float
    rule: str

    @property
    def is_final(self) -> bool:
        """Whether it was drawn from a trained generator, at the end or by `experiments.keep`."""
        return self.file.startswith(_FINAL)


class KeptImages:
    """The kept images of one run, up to a target count."""

    def __init__(self, folder: RunFolder, *, rule: str, target: int):
        self._run, self._rule, self.target = folder, rule, target
        self._rows = read_table(folder.path)
        folder.get_folder(FOLDER)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def num_missing(self) -> int:
        """How many images are still needed to reach the target."""
        return max(self.target - len(self), 0)

    def rewind(self, epoch: int) -> None:
        """Remove images kept after `epoch`, and those drawn after the end of training.

        Rows without their image, and images without their table, are removed too, with a message:
        others take their place. Only files made by a run are removed. Raises `UserError` if the
        table is gone and its rule cannot draw others.
        """
        if not (self._run.path / TABLE).exists():
            self._check_orphans()
        rows = [row for row in self._rows if row.epoch <= epoch and not row.is_final]
        readable = [is_readable(self._run.path / FOLDER / row.file) for row in rows]
        self._rows = [row for row, good in zip(rows, readable, strict=True) if good]
        lost = [row.file for row, good in zip(rows, readable, strict=True) if not good]
        self._say_what_is_lost(lost)
        self._write_table()
        files = {row.file for row in self._rows}
        for path in self._list_own_files():
            if path.name not in files:
                path.unlink()

    def add(
        self,
        images: np.ndarray,
        *,
        seeds: np.ndarray,
        scores: np.ndarray,
        epoch: int,
        final: bool = False,
    ) -> int:
        """Write images uint8 [num, h, w, c] up to the target; return how many were written."""
        num = min(len(images), self.num_missing)
        prefix = _FINAL if final else f"epoch_{epoch:05d}"
        rows = [
            KeptImage(f"{prefix}_{int(seed):07d}.png", epoch, int(seed), float(score), self._rule)
            for seed, score in zip(seeds[:num], scores[:num], strict=True)
        ]
        write_generated(images[:num], [self._run.path / FOLDER / row.file for row in rows])
        self._rows += rows
        if num:
            self._write_table()
        return num

    def get_files(self) -> list[Path]:
        """Return the files of the kept images, in the order they were kept."""
        return [self._run.path / FOLDER / row.file for row in self._rows]

    def _write_table(self) -> None:
        write_text(self._run.path / TABLE, format_table(self._rows))

    def _list_own_files(self) -> list[Path]:
        """Return the files in the folder that a run has made."""
        files = self._run.get_folder(FOLDER).iterdir()
        return [path for path in files if _OWN_FILE.fullmatch(path.name) and path.is_file()]

    def _check_orphans(self) -> None:
        """Say that images without a table are replaced; raise if the rule cannot draw others."""
        num, shown = len(self._list_own_files()), printable(str(self._run.path / TABLE))
        if num and self._rule == ONLY_WHILE_TRAINING:
            raise UserError(
                f"{shown}, the table of the {num} image(s) in {FOLDER}, is gone. Rule {self._rule} "
                "keeps images only during training, so no others can take their place. "
                "Restore the table, or move these images to another folder."
            )
        if num:
            say(f"{shown} is gone: others take the place of the {num} image(s) in {FOLDER}.")

    def _say_what_is_lost(self, names: Sequence[str]) -> None:
        if not names:
            return
        instead = "others take their place"
        if self._rule == ONLY_WHILE_TRAINING:
            instead = (
                f"they are left out, because rule {self._rule} keeps images only during training"
            )
        say(
            f"Of the kept images of {printable(str(self._run.path))} {list_some(names)} "
            f"{'is' if len(names) == 1 else 'are'} gone or damaged: {instead}."
        )


def format_table(rows: Iterable[KeptImage]) -> str:
    """Return the text of `accepted.csv`; a spreadsheet finds no formula in it."""
    text = io.StringIO()
    # All text is quoted: by default the writer does not quote a single "\r", which ends a row.
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow(field.name for field in fields(KeptImage))
    writer.writerows([csv_cell(value) for value in astuple(row)] for row in rows)
    return text.getvalue()


def read_table(run: Path) -> list[KeptImage]:
    """Return the rows of a run's `accepted.csv`, none if the file is absent.

    Raises `UserError` if the file was edited and is no longer valid.
    """
    path = run / TABLE
    if not path.exists():
        return []
    try:
        # "utf-8-sig": a spreadsheet writes a byte order mark first.
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            cells, columns = list(reader), reader.fieldnames or ()
    except (csv.Error, UnicodeDecodeError) as error:
        raise _describe_edited(path, printable(str(error))) from None
    if missing := [field.name for field in fields(KeptImage) if field.name not in columns]:
        raise _describe_edited(path, f"it has no column {missing[0]!r}")
    rows = [_read_row(path, number, row) for number, row in enumerate(cells, start=2)]
    counts = Counter(row.file for row in rows)
    if twice := sorted(name for name, num in counts.items() if num > 1):
        raise _describe_edited(path, f"{list_some(twice)} is there more than once")
    return rows


def _read_row(path: Path, number: int, row: Mapping[str, str]) -> KeptImage:
    try:
        return KeptImage(
            file=Path(row["file"]).name,
            epoch=int(row["epoch"]),
            seed=int(row["seed"]),
            score=float(row["score"]),
            rule=row["rule"],
        )
    except (TypeError, ValueError):
        raise _describe_edited(
            path, f"line {number} has a cell with a value of the wrong type"
        ) from None


def _describe_edited(path: Path, found: str) -> UserError:
    columns = ", ".join(field.name for field in fields(KeptImage))
    return UserError(
        f"{printable(str(path))} is not a table of kept images: {found}; expected the columns "
        f"{columns}, one image per line, in UTF-8 with commas. Restore the original file, or "
        "remove it: the training's own command then draws kept images again (except by rule "
        f"{ONLY_WHILE_TRAINING}, which keeps images only during training)."
    )


def is_readable(file: Path) -> bool:
    """Whether a file exists and is an image."""
    try:
        read_image(file, 1)
    except (ImageError, OSError):
        return False
    return True


def find_lost(run: Path) -> list[str]:
    """Return the missing files of a run's kept images: the table, or images that it names."""
    if not (run / TABLE).exists():
        return [TABLE]
    return [row.file for row in read_table(run) if not (run / FOLDER / row.file).is_file()]


def is_whole(run: Path) -> bool:
    """Whether the table and all kept images of a run exist; prints the missing files."""
    lost = find_lost(run)
    if lost:
        say(
            f"Of the kept images of {printable(str(run))} {list_some(lost)} "
            f"{'is' if len(lost) == 1 else 'are'} gone: the end of the run is done again."
        )
    return not lost
