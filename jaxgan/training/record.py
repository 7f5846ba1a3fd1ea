"""The record that defines a run, and whether another run may continue from it.

`config.json` holds the record, and every checkpoint holds a copy. It names what is trained
(`kind`), its `settings`, its `data` and the class. It has a format number. `upgrade_record` turns a
record of any earlier format into the current one, and fills in the fields that came later.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeGuard

from jaxgan.core.errors import UserError, list_some

FORMAT = 5  # of records; records without a number have format 1
GROWING = "num_epochs"  # the only field of the result that may change when a run continues: larger
# Fields that may change when a run continues: no result depends on them. Every other field decides
# what is learned, measured, selected as the best, kept or written, and cannot change. There are two
# exceptions: `num_epochs` may grow, and `look_every_epochs` is free if no check keeps an image.
FREE_FIELDS = (
    "checkpoint_every_epochs",  # when it is saved: the best is one of the measured checkpoints
    "checkpoint_every_seconds",
    "sample_every_epochs",  # sheets of samples to view
    "data.resident_bytes",  # whether the images stay on the device
)
LOOKING_RULES = ("paper_text", "none")  # each check keeps up to `selection.per_epoch` images
CONTENT = "data.fingerprint"  # decides whether a run's data are still the same
# Describe the data and the weights, but do not distinguish two runs: their contents do.
NOTES = ("data.name", "data.skipped", "settings.transfer.weights", "weights.file")

_TABLE = "settings.selection.targets."
_GROUPS = ("gan", "classifier")  # the groups of settings that have families
_LISTED = 5

Settings = Mapping[str, Any]

# For format 1: the fields of a DCGAN and of GMD that now have their own group, and the fields that
# came later, with the values that earlier runs used.
_DCGAN = (
    *("dtype", "image_size", "channels", "latent_size", "generator_width", "discriminator_width"),
    *("discriminator_norm", "objective", "label_smoothing", "num_critic_steps", "clip_weights"),
    *("gradient_penalty_weight", "r1_weight", "learning_rate", "beta1", "beta2", "diffaugment"),
    *("augment_policy", "augment_target", "augment_ramp_images", "ema_decay", "num_classes"),
)
_GMD = ("dtype", "image_size", "channels", "num_outputs", "width", "padding")
_OPTIMIZER = {"optimizer": "name", "learning_rate": "learning_rate", "momentum": "momentum"}
_LATER_IN_DATA = {"fit": "crop", "value_range": "auto", "window": ""}
# The fields that came with format 3, with the values that earlier runs used.
_CONSTANT: Settings = {
    **{"name": "constant", "decay": 0.0, "final_share": 0.01, "factor": 0.5},
    **{"every_epochs": 10, "patience_epochs": 5, "warmup_epochs": 0},
}
_LATER_OF_CLASSIFIERS: Settings = {
    **{"classic_augmentation": False, "class_weights": "none", "balanced_batches": False},
    **{"stopping_share": 0.0, "stopping_patience": 10},
    "transfer": {"weights": "", "frozen": "none", "backbone_rate": 1.0},
}
# The fields that came with format 4, of GANs with the losses of `gans/recipe.py`.
LATER_OF_GANS: Settings = {"r2_weight": 0.0, "lecam_weight": 0.0}
# The field that came with format 5, of the group `selection` of every GAN.
LATER_OF_SELECTION: Settings = {"truncation": 1.0}
_LENGTHWISE = ("time", "exponential", "cosine")  # schedules that depend on the length of a run


def number_record(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record of this version with its format number, as it is saved."""
    return {"format": FORMAT, **record}


def upgrade_record(record: Mapping[str, Any], shown: str) -> dict[str, Any]:
    """Return a record of any format as this version writes it, without format and notes.

    `shown` is the name of the record in messages. All code that reads a record, or its copy in a
    checkpoint, calls this function. So a new format needs one more rule here and nowhere else.
    """
    number = record.get("format", 1)
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise UserError(f"{shown} has the format {number!r}, expected a number from 1 to {FORMAT}.")
    if number > FORMAT:
        raise UserError(
            f"{shown} was written by a newer version of jaxgan (format {number}; this one reads "
            f"up to {FORMAT}): use that version for it, or choose another --workdir."
        )
    upgraded = {name: value for name, value in record.items() if name not in ("format", "notes")}
    if number == 1:
        upgraded = _upgrade_format_1(upgraded)
    if number <= 2:
        upgraded = _upgrade_format_2(upgraded)
    if number <= 3:
        upgraded = _upgrade_format_3(upgraded)
    return upgraded if number == FORMAT else _upgrade_format_4(upgraded)


def _upgrade_format_1(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record with groups in its settings; a study's settings have none and stay."""
    kind, settings = record.get("kind"), record.get("settings")
    kinds: Mapping[Any, tuple[str, Callable[[Settings], Settings]]] = {
        "dcgan": ("gan", _group_dcgan),
        "gmd": ("classifier", _group_gmd),
    }
    if kind not in kinds:
        return dict(record)
    name, group = kinds[kind]
    if not isinstance(settings, Mapping):
        return {**record, "kind": name}
    return {**record, "kind": name, "settings": _fill_later(group(settings))}


def _group_dcgan(settings: Settings) -> Settings:
    taken = {"num_classes": 0, **{name: settings[name] for name in _DCGAN if name in settings}}
    rest = {name: value for name, value in settings.items() if name not in _DCGAN}
    return {**rest, "gan": {"family": "dcgan", **taken}}


def _group_gmd(settings: Settings) -> Settings:
    taken = {name: settings[name] for name in _GMD if name in settings}
    optimizer = {new: settings[old] for old, new in _OPTIMIZER.items() if old in settings}
    moved = (*_GMD, *_OPTIMIZER)
    rest = {name: value for name, value in settings.items() if name not in moved}
    return {**rest, "classifier": {"family": "gmd", **taken}, "optimizer": optimizer}


def _fill_later(settings: Settings) -> Settings:
    filled = {"checkpoint_every_seconds": 60.0, **settings}
    if isinstance(settings.get("data"), Mapping):
        filled["data"] = {**_LATER_IN_DATA, **settings["data"]}
    return filled


def _upgrade_format_2(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record with the settings that came later: rates, classes and transfer."""
    settings, kind = record.get("settings"), record.get("kind")
    group = {"gan": "gan", "classifier": "optimizer"}.get(str(kind), "")
    if not isinstance(settings, Mapping) or not isinstance(settings.get(group), Mapping):
        return dict(record)
    has_rate = "learning_rate" in settings[group]  # not every family of GANs has a recipe
    filled = {**({"schedule": _CONSTANT} if has_rate else {}), **settings[group]}
    later = _LATER_OF_CLASSIFIERS if kind == "classifier" else {}
    return {**record, "settings": {**later, **settings, group: filled}}


def _upgrade_format_3(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record with the settings of a GAN's losses that came later."""
    settings = record.get("settings")
    if record.get("kind") != "gan" or not isinstance(settings, Mapping):
        return dict(record)
    gan = settings.get("gan")
    if not isinstance(gan, Mapping) or "r1_weight" not in gan:  # another family has other losses
        return dict(record)
    return {**record, "settings": {**settings, "gan": {**LATER_OF_GANS, **gan}}}


def _upgrade_format_4(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record with the settings of a GAN's selection that came later."""
    settings = record.get("settings")
    if record.get("kind") != "gan" or not isinstance(settings, Mapping):
        return dict(record)
    selection = settings.get("selection")
    if not isinstance(selection, Mapping):
        return dict(record)
    return {**record, "settings": {**settings, "selection": {**LATER_OF_SELECTION, **selection}}}


def check_same_fields(path: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Raise if the run in `path` has settings of another version of jaxgan."""
    before, after = _list_fields(old), _list_fields(new)
    families = [[values.get(f"{group}.family") for group in _GROUPS] for values in (before, after)]
    names = sorted({*before} ^ {*after})
    if names and families[0] == families[1]:  # other families have other fields
        raise UserError(
            f"The run in {path} was begun with another version of jaxgan, which had different "
            f"settings ({list_some(names)}): use that version "
            "for it, or train again in another --workdir."
        )


def _list_fields(record: Mapping[str, Any]) -> dict[str, Any]:
    flat = flatten({"settings": record.get("settings", {})})
    kept = {name: value for name, value in flat.items() if not name.startswith(_TABLE)}
    return {name.removeprefix("settings."): value for name, value in kept.items()}


def is_same_but_for_data(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether two records have the same data name and settings, but different images."""
    if old.get("data", {}).get("name") != new.get("data", {}).get("name"):
        return False
    return not describe_differences({**old, "data": None}, {**new, "data": None})


def describe_differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Return in words how two records differ, an empty text if `new` may continue from `old`.

    Both are of this version (`upgrade_record`); see `FREE_FIELDS` for the fields that may differ.
    """
    old, new = (flatten(json.loads(json.dumps(r))) for r in (old, new))
    differing = [name for name in sorted({*old, *new}) if old.get(name) != new.get(name)]
    differing = [name for name in differing if not _may_change(name, old, new)]
    # Another family has other fields: its name is enough.
    groups = tuple(name.removesuffix("family") for name in differing if name.endswith(".family"))
    differing = [n for n in differing if n.endswith(".family") or not n.startswith(groups)]
    # Earlier runs saved the paper's numbers, whatever their variant.
    differing = [name for name in differing if not name.startswith(_TABLE) or name in new]
    if CONTENT not in differing:
        differing = [name for name in differing if name not in NOTES]
    return _describe(differing, old, new) if differing else ""


def _may_change(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether a field, by its dotted name, may differ when a run continues."""
    group, _, field = name.rpartition(".")
    if field == GROWING:
        before, after = old.get(name), new.get(name)
        if has_fixed_length(new):
            return False
        return is_number(before) and is_number(after) and before < after
    if field == "look_every_epochs":
        keeps = old.get(f"{group}.selection.rule") in LOOKING_RULES
        return not (keeps and old.get(f"{group}.selection.per_epoch"))
    return any(name.endswith(f".{free}") for free in FREE_FIELDS)


def has_fixed_length(record: Mapping[str, Any]) -> bool:
    """Whether the rate of a run depends on its length: such a run cannot get more epochs."""
    flat = flatten(record)
    groups = [name.removesuffix(".name") for name in flat if name.endswith(".schedule.name")]
    return any(
        flat[f"{group}.name"] == "cosine"
        or (flat[f"{group}.name"] in _LENGTHWISE and not flat.get(f"{group}.decay"))
        for group in groups
    )


def drop_notes(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a record that identifies its run, as one level with dotted names."""
    return {name: value for name, value in flatten(record).items() if name not in NOTES}


def _describe(names: Sequence[str], old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    shown = [f"{name} was {old.get(name)!r} and is {new.get(name)!r}" for name in names[:_LISTED]]
    more = [f"{len(names) - _LISTED} more fields differ"] if len(names) > _LISTED else []
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


def is_number(value: Any) -> TypeGuard[float]:
    """Whether a JSON value is a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value)
