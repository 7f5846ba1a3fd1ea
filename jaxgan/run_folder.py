"""The folder of one run: its config, its lines of metrics, and whether it is finished.

Every file is complete or absent (see `jaxgan.files`) but for `metrics.jsonl`, which grows by whole
lines and is cut back to the checkpoint that a run resumes from, and TensorBoard's events.
"""

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxgan.errors import UserError
from jaxgan.event_log import SummaryWriter
from jaxgan.files import (
    hold_folder,
    holds_nothing,
    make_folder,
    remove_leftovers,
    sync,
    telling_disk_errors,
    write_json,
    write_text,
)

GROWING = "num_epochs"  # the one field of the result that a run may be given anew: larger
FREE = "checkpoint_every_seconds"  # changes no result
_TABLE = "settings.selection.targets."
CONTENT = "data.fingerprint"  # decides whether a run's data are those it was begun with
NOTES = ("data.name", "data.skipped")  # told of the data; of two runs they tell nothing apart


class RunFolder:
    """One run's folder, opened for the run that `record` describes.

    `record` holds what defines the run: `settings`, data, class. A folder of another run is
    refused; the same run with more epochs is continued.
    """

    def __init__(self, path: Path, record: Mapping[str, Any]):
        self.path = path
        self.record = record
        _check_same_run(path, record)
        write_json(path / "config.json", record)
        self._events: SummaryWriter | None = None

    def get_folder(self, name: str) -> Path:
        """Return a folder of the run, made where it was not."""
        return make_folder(self.path / name)

    def is_finished(self, num_epochs: int) -> bool:
        """Whether the run has done all it had to for `num_epochs` epochs."""
        marker = self.path / "finished.json"
        if not marker.exists():
            return False
        return int(json.loads(marker.read_text(encoding="utf-8"))["num_epochs"]) >= num_epochs

    def describe_finished(self, num_epochs: int) -> str:
        """Return the sentence for a user who starts a finished run again."""
        return (
            f"{self.path} is finished: {num_epochs} epochs. Nothing to do; "
            "a larger --config.num_epochs goes on from there."
        )

    def finish(self, num_epochs: int) -> None:
        """Note that everything is done."""
        self.close()
        write_json(self.path / "finished.json", {"num_epochs": num_epochs})

    def rewind(self, step: int) -> list[dict[str, Any]]:
        """Drop what was written after `step`; return the lines of metrics up to there."""
        (self.path / "finished.json").unlink(missing_ok=True)
        lines = [line for line in read_metrics(self.path) if line["step"] <= step]
        write_text(self.path / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
        self.close()
        events = self.path / "events"
        self._events = SummaryWriter(str(events), purge_step=step + 1 if step else None)
        return lines

    def append(self, line: Mapping[str, Any], extra: Mapping[str, float]) -> None:
        """Add a line of metrics; `extra` (speed) goes to TensorBoard alone, being no result."""
        path = self.path / "metrics.jsonl"
        with telling_disk_errors(path), path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, allow_nan=False) + "\n")
        if self._events is not None:
            for name, value in {**line, **extra}.items():
                if name not in ("step", "epoch"):
                    self._events.add_scalar(name, value, line["step"])

    def sync(self) -> None:
        """Have the lines of metrics reach the disk, before a checkpoint that counts on them."""
        path = self.path / "metrics.jsonl"
        with telling_disk_errors(path):
            sync(path)

    def close(self) -> None:
        """Flush the TensorBoard events."""
        if self._events is not None:
            self._events.close()
            self._events = None


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Return the complete lines of a run's `metrics.jsonl`; a kill may have cut the last one."""
    file = path / "metrics.jsonl"
    if not file.exists():
        return []
    texts = file.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(text) for text in texts if text.endswith("\n")]


def read_record(path: Path) -> dict[str, Any]:
    """Return what defines the run in `path`."""
    file = path / "config.json"
    if not file.exists():
        raise UserError(f"{path} is not the folder of a run: it has no config.json.")
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except ValueError:
        raise UserError(
            f"{file} is not valid JSON: the folder was not written by jaxgan."
        ) from None


@contextlib.contextmanager
def open_run_folder(path: Path, record: Mapping[str, Any]) -> Iterator[RunFolder]:
    """Open the folder of a run for the block, alone: no other process may write to it."""
    make_folder(path)
    check_holds_run(path)
    with hold_folder(path):
        remove_leftovers(path)
        folder = RunFolder(path, record)
        try:
            yield folder
        finally:
            folder.close()


def check_holds_run(path: Path) -> None:
    """Raise where a folder holds something that is no run."""
    if not (path / "config.json").exists() and not holds_nothing(path):
        raise UserError(
            f"The work folder {path} is not empty and holds no run (no config.json): "
            "choose another --workdir."
        )


def _check_same_run(path: Path, record: Mapping[str, Any]) -> None:
    if not (path / "config.json").exists():
        return
    old = read_record(path)
    differences = describe_differences(old, record)
    if not differences:
        return
    check_same_fields(path, old.get("settings", {}), record.get("settings", {}))
    if is_same_but_for_data(old, record):
        raise UserError(
            f"The images have changed since the run in {path} began ({differences}): put back "
            "those it was begun with, or choose another --workdir to train on these."
        )
    raise UserError(
        f"The work folder {path} holds another run: {differences}. "
        "Choose another --workdir, or give the settings it was begun with."
    )


def check_same_fields(path: Path, old: Iterable[str], known: Iterable[str]) -> None:
    """Raise where the run in `path` has other settings than this version of jaxgan knows."""
    names = sorted((set(old) ^ set(known)) - {FREE})
    if names:
        raise UserError(
            f"The run in {path} was begun with another version of jaxgan, whose settings were "
            f"others ({', '.join(names[:5])}{', ...' if len(names) > 5 else ''}): use that version "
            "for it, or train anew in another --workdir."
        )


def is_same_but_for_data(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether two records name the same data by the same settings and their images differ."""
    if old.get("data", {}).get("name") != new.get("data", {}).get("name"):
        return False
    return not describe_differences({**old, "data": None}, {**new, "data": None})


def describe_differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Return in words where two runs' records differ, nothing where `new` may go on from `old`."""
    old, new = flatten(old), flatten(json.loads(json.dumps(new)))
    differing = [name for name in sorted({*old, *new}) if old.get(name) != new.get(name)]
    differing = [name for name in differing if not name.endswith(f".{FREE}")]
    # Runs of before have noted the paper's numbers, whatever variant they are of.
    differing = [name for name in differing if not name.startswith(_TABLE) or name in new]
    if CONTENT not in differing:
        differing = [name for name in differing if name not in NOTES]
    growing = [name for name in differing if name.endswith(f".{GROWING}")]
    if all(new[name] > old[name] for name in growing):
        differing = [name for name in differing if name not in growing]
    return _describe(differing, old, new) if differing else ""


def drop_notes(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a record decides which run it is of, as one level with dotted names."""
    return {name: value for name, value in flatten(record).items() if name not in NOTES}


def _describe(names: Sequence[str], old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    shown = [f"{name} was {old.get(name)!r} and is {new.get(name)!r}" for name in names[:5]]
    more = [f"{len(names) - 5} more fields differ"] if len(names) > 5 else []
    return "; ".join(shown + more)


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a nested dict as one level with dotted names."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat
