"""The folder of one run: its config, its lines of metrics, and whether it is finished.

Every file is complete or absent (written beside, then renamed) but for `metrics.jsonl` and
`accepted.csv`, which grow by whole lines and are cut back to the checkpoint a run resumes from.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxgan.errors import UserError
from jaxgan.event_log import SummaryWriter

GROWING = "num_epochs"  # the one field that the same run may be given anew: larger


def write_json(path: Path, value: Any) -> None:
    """Write strict JSON, complete or not at all."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a file beside `path`, then rename it."""
    beside = path.with_name(f".{path.name}.part")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)


class RunFolder:
    """One run's folder, opened for the run that `record` describes.

    `record` holds what defines the run: `settings`, data, class. A folder of another run is
    refused; the same run with more epochs is continued.
    """

    def __init__(self, path: Path, record: Mapping[str, Any]):
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"The work folder {path} can not be made: {error.strerror}.") from None
        _check_same_run(path, record)
        write_json(path / "config.json", record)
        self._events: SummaryWriter | None = None

    def get_folder(self, name: str) -> Path:
        """Return a folder of the run, made where it was not."""
        folder = self.path / name
        folder.mkdir(exist_ok=True)
        return folder

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
        with (self.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, allow_nan=True) + "\n")
        if self._events is not None:
            for name, value in {**line, **extra}.items():
                if name not in ("step", "epoch"):
                    self._events.add_scalar(name, value, line["step"])

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


def _check_same_run(path: Path, record: Mapping[str, Any]) -> None:
    if not (path / "config.json").exists():
        if any(path.iterdir()):
            raise UserError(
                f"The work folder {path} is not empty and holds no run (no config.json): "
                "choose another --workdir."
            )
        return
    old, new = flatten(read_record(path)), flatten(json.loads(json.dumps(record)))
    differing = [name for name in sorted({*old, *new}) if old.get(name) != new.get(name)]
    growing = [name for name in differing if name.endswith(f".{GROWING}")]
    if all(new[name] > old[name] for name in growing):
        differing = [name for name in differing if name not in growing]
    if differing:
        raise UserError(
            f"The work folder {path} holds another run: {_describe(differing, old, new)}. "
            "Choose another --workdir, or give the settings it was begun with."
        )


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
