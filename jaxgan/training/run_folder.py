"""The folder of one run: its config, its lines of metrics, and whether it is finished.

Every file is complete or absent (see `core.files`), with two exceptions. `metrics.jsonl` grows by
complete lines, and is cut back to the checkpoint that a run resumes from. The other exception is
TensorBoard's events.

The record (`training.record`) defines a run: `config.json`, copied to every checkpoint.
"""

import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxgan.core.console import say
from jaxgan.core.errors import UserError, list_some
from jaxgan.core.files import (
    hold_folder,
    holds_nothing,
    make_folder,
    read_object,
    remove_leftovers,
    sync,
    telling_disk_errors,
    write_json,
    write_text,
)
from jaxgan.core.untrusted import printable
from jaxgan.training.event_log import SummaryWriter
from jaxgan.training.record import (
    check_same_fields,
    describe_differences,
    has_fixed_length,
    is_number,
    is_same_but_for_data,
    number_record,
    upgrade_record,
)

_CONFIG, _FINISHED, _METRICS = "config.json", "finished.json", "metrics.jsonl"
_NO_RECORD = "it is damaged or was edited"


class RunFolder:
    """One run's folder, opened for the run that `record` describes.

    `record` holds what defines the run: `settings`, data, class. A folder of another run is
    refused. The same run with more epochs continues. `notes` (the command, the path of the data)
    are saved with it and have no effect.
    """

    def __init__(
        self, path: Path, record: Mapping[str, Any], notes: Mapping[str, Any] | None = None
    ):
        self.path = path
        self.record = record
        _check_same_run(path, record)
        write_record(path, record, notes)
        self._events: SummaryWriter | None = None

    def get_folder(self, name: str) -> Path:
        """Return a folder of the run; create it if it does not exist."""
        return make_folder(self.path / name)

    def is_finished(self, num_epochs: int) -> bool:
        """Whether the run is finished for `num_epochs` epochs and all its files still exist.

        Prints the files that are gone.
        """
        marker = read_object(self.path / _FINISHED)
        if marker is None or marker.get("num_epochs") != num_epochs:
            return False
        noted = marker.get("files", ())
        names = noted if isinstance(noted, list) else ()
        lost = [str(name) for name in names if not (self.path / str(name)).exists()]
        if lost:
            say(
                f"{printable(str(self.path))} is finished, but {list_some(lost)} "
                f"{'is' if len(lost) == 1 else 'are'} gone: the end of the run is done again."
            )
        return not lost

    def describe_finished(self, num_epochs: int) -> str:
        """Return the sentence for a user who starts a finished run again."""
        more = "a larger --config.num_epochs goes on from there."
        if has_fixed_length(self.record):
            more = "a longer run has other learning rates, and needs another --workdir."
        return f"{self.path} is finished: {num_epochs} epochs. Nothing to do; {more}"

    def finish(self, num_epochs: int, parts: Iterable["RunFolder"] = ()) -> None:
        """Note that the run is finished, and which figures and reports it has made.

        `parts` are the other folders that the run writes to.
        """
        self.close()
        made = [
            os.path.relpath(path, self.path)
            for folder in (self, *parts)
            for name in ("figures/*.png", "report.json")
            for path in folder.path.glob(name)
        ]
        files = sorted(name.replace(os.sep, "/") for name in made)
        write_json(self.path / _FINISHED, {"num_epochs": num_epochs, "files": files})

    def rewind(self, step: int) -> list[dict[str, Any]]:
        """Remove what was written after `step`; return the lines of metrics up to `step`.

        Raises `UserError` if a finished run would start again because its checkpoints are gone.
        """
        marker, lines = self.path / _FINISHED, read_metrics(self.path)
        if marker.exists() and not step:
            raise UserError(
                f"{printable(str(self.path))} is finished and holds no checkpoint to go on from: "
                f"restore its folder checkpoints, remove {_FINISHED} to train it again from the "
                "first step, or choose another --workdir."
            )
        marker.unlink(missing_ok=True)
        _say_what_is_missing(self.path, lines, step)
        lines = [line for line in lines if line["step"] <= step]
        write_text(self.path / _METRICS, "".join(json.dumps(line) + "\n" for line in lines))
        self.close()
        events = self.path / "events"
        self._events = SummaryWriter(str(events), purge_step=step + 1 if step else None)
        return lines

    def append(self, line: Mapping[str, Any], extra: Mapping[str, float]) -> None:
        """Add a line of metrics; `extra` (speed) is no result and goes only to TensorBoard."""
        path = self.path / _METRICS
        with telling_disk_errors(path), path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, allow_nan=False) + "\n")
        if self._events is not None:
            for name, value in {**line, **extra}.items():
                if name not in ("step", "epoch"):
                    self._events.add_scalar(name, value, line["step"])

    def sync(self) -> None:
        """Write the lines of metrics to the disk, before a checkpoint that needs them."""
        path = self.path / _METRICS
        with telling_disk_errors(path):
            sync(path)

    def close(self) -> None:
        """Flush the TensorBoard events."""
        if self._events is not None:
            self._events.close()
            self._events = None


# What is written --------------------------------------------------------------------------------


def write_record(
    path: Path, record: Mapping[str, Any], notes: Mapping[str, Any] | None = None
) -> None:
    """Write the record of the run in `path`; without `notes` the existing notes stay."""
    file = path / _CONFIG
    kept = (read_object(file) or {}).get("notes") if notes is None else dict(notes)
    write_json(file, number_record(record) | ({"notes": kept} if kept else {}))


# What is read -----------------------------------------------------------------------------------


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Return the complete lines of a run's `metrics.jsonl`; a kill may have cut the last one.

    Lines that no run has written are left out, with a message.
    """
    file = path / _METRICS
    if not file.exists():
        return []
    texts = [text for text in file.read_bytes().split(b"\n")[:-1] if text.strip()]
    lines = [_read_line(text) for text in texts]
    bad = [str(number) for number, line in enumerate(lines, start=1) if line is None]
    if bad:
        say(
            f"{printable(str(file))}: {len(bad)} of {len(lines)} lines ({list_some(bad)}) are "
            "damaged or were edited, and are left out of every figure and report."
        )
    return [line for line in lines if line is not None]


def _read_line(text: bytes) -> dict[str, Any] | None:
    """Return a line of metrics, None if it is not one: numbers by name, integer step and epoch."""
    try:
        line = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(line, dict) or not all(is_number(value) for value in line.values()):
        return None
    has_integers = all(isinstance(line.get(name), int) for name in ("step", "epoch"))
    return line if has_integers else None


def _say_what_is_missing(path: Path, lines: Sequence[Mapping[str, Any]], step: int) -> None:
    """Say if lines or checkpoints that a run had written are gone."""
    shown = printable(str(path))
    if lines and not step:
        say(
            f"{shown} holds no checkpoint (none was saved yet, or they were removed): the training "
            "begins again at the first step."
        )
    elif step and not any(line["step"] == step for line in lines):
        say(
            f"{_METRICS} in {shown} has lost lines before the checkpoint of step {step}: figures "
            "and reports do not contain them. The training itself needs none of them."
        )


def read_record(path: Path) -> dict[str, Any]:
    """Return the record of the run in `path`, upgraded to the format of this version.

    If `config.json` is damaged, the copy in the newest checkpoint is used, with a message. Raises
    `UserError` if there is no copy, or if a newer version wrote the record.
    """
    file = path / _CONFIG
    record, found = read_object(file), file.exists()
    if record is not None and _is_record(record):
        return upgrade_record(record, printable(str(file)))
    kept = _read_kept_record(path)
    if kept is not None:
        lost = _NO_RECORD if found else "it is missing"
        say(f"{printable(str(file))}: {lost}. The copy in the newest checkpoint takes its place.")
        return upgrade_record(kept, f"A checkpoint in {printable(str(path))}")
    if not found:
        raise UserError(f"{path} is not the folder of a run: it has no {_CONFIG}.")
    raise UserError(
        f"{file} is not valid JSON of jaxgan: {_NO_RECORD}, and there is no checkpoint with a copy "
        "of it. Restore the original file. For one class of a conditional model, remove the "
        "class's folder: the training's own command makes it again."
    )


def find_record(path: Path) -> dict[str, Any] | None:
    """Return the record of the run in `path`, None if no file there holds it any more.

    Raises `UserError` if a newer version wrote it.
    """
    record = read_object(path / _CONFIG)
    known = record is not None and _is_record(record)
    return read_record(path) if known or _read_kept_record(path) is not None else None


def read_data(path: Path) -> dict[str, str]:
    """Return `name` and `fingerprint` of the data that the run in `path` was trained on."""
    data = read_record(path).get("data")
    if not isinstance(data, dict) or not {"name", "fingerprint"} <= data.keys():
        raise UserError(
            f"{path / _CONFIG} does not say which data its run was trained on: {_NO_RECORD}. "
            "Restore the original file."
        )
    return {name: str(data[name]) for name in ("name", "fingerprint")}


def read_notes(path: Path) -> dict[str, Any]:
    """Return the notes of the run in `path`: command, folder, data; empty where it has none."""
    notes = (read_object(path / _CONFIG) or {}).get("notes")
    return notes if isinstance(notes, dict) else {}


def read_report(path: Path) -> dict[str, Any] | None:
    """Return the `report.json` of the run in `path`, None if it is absent or damaged."""
    return read_object(path / "report.json")


def _is_record(record: Mapping[str, Any]) -> bool:
    """Whether the parts that every record has are of the right type."""
    parts = {"kind": str, "settings": dict, "data": dict, "label": int}
    fits = [isinstance(record[name], kind) for name, kind in parts.items() if name in record]
    return "kind" in record and all(fits)


def _read_kept_record(path: Path) -> dict[str, Any] | None:
    """Return the copy of the record in a run's newest checkpoint, None if there is none."""
    steps = [p for p in path.glob("checkpoints/*") if p.name.isdecimal()]
    for step in sorted(steps, key=lambda p: int(p.name), reverse=True):
        kept = (read_object(step / "_CHECKPOINT_METADATA") or {}).get("custom_metadata")
        record = kept.get("run") if isinstance(kept, dict) else None
        if isinstance(record, dict) and _is_record(record):
            return record
    return None


# Whose folder it is -----------------------------------------------------------------------------


@contextlib.contextmanager
def open_run_folder(
    path: Path, record: Mapping[str, Any], notes: Mapping[str, Any] | None = None
) -> Iterator[RunFolder]:
    """Open the folder of a run for the block: no other process may write to it meanwhile."""
    make_folder(path)
    check_holds_run(path)
    with hold_folder(path):
        remove_leftovers(path)
        folder = RunFolder(path, record, notes)
        try:
            yield folder
        finally:
            folder.close()


def check_holds_run(path: Path) -> None:
    """Raise if a folder holds something that is not a run."""
    if (path / _CONFIG).exists() or holds_nothing(path) or _read_kept_record(path) is not None:
        return
    raise UserError(
        f"The work folder {path} is not empty and holds no run (no {_CONFIG}): "
        "choose another --workdir."
    )


def _check_same_run(path: Path, record: Mapping[str, Any]) -> None:
    if not (path / _CONFIG).exists() and _read_kept_record(path) is None:
        return
    old = read_record(path)
    differences = describe_differences(old, record)
    if not differences:
        return
    check_same_fields(path, old, record)
    if is_same_but_for_data(old, record):
        raise UserError(
            f"The images have changed since the run in {path} began ({differences}): restore "
            "the original images, or choose another --workdir to train on these."
        )
    raise UserError(
        f"The work folder {path} holds another run: {differences}. "
        "Choose another --workdir, or give the settings it began with."
    )
