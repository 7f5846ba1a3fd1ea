"""What an experiment may be told, typed: a ConfigDict ends here.

`configs/` holds the values with a comment each; `read_settings` refuses a field that is missing,
unknown, of another type or out of range, with the field's name in the sentence.
"""

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from jaxgan.core.errors import UserError
from jaxgan.core.seeds import NUM_SEEDS, check_seed
from jaxgan.data.fit import FITS
from jaxgan.data.values import AUTO, parse_view
from jaxgan.gans.dcgan import DISCRIMINATOR_NORMS, IMAGE_SIZES
from jaxgan.gans.objectives import CROSS_ENTROPY_OBJECTIVES, OBJECTIVES
from jaxgan.networks.layers import DTYPES
from jaxgan.ops.augment import PARTS

RULES = ("paper_text", "paper_code", "none", "calibrated", "top_k")
PROBABILITY_RULES = ("paper_text", "paper_code")  # the paper's, which compare with a threshold
OPTIMIZERS = ("adam", "sgd")
CHECKPOINTS = ("best", "newest")
# Of these D's logit is above 0 where it takes an image for a real one.
SIGNED_OBJECTIVES = (*CROSS_ENTROPY_OBJECTIVES, "hinge")

# What may be given anew when a run goes on: no result depends on it. Every other field decides
# what is learned, measured, called the best, kept or written, and is the run's for good;
# `num_epochs` may grow, and `look_every_epochs` is free where no look keeps an image.
FREE_FIELDS = (
    "checkpoint_every_epochs",  # when it is saved: the best is one of those that were measured
    "checkpoint_every_seconds",
    "sample_every_epochs",  # sheets to look at
    "data.resident_bytes",  # where the images lie
)
LOOKING_RULES = ("paper_text", "none")  # of these a look keeps `selection.per_epoch` images

Settings = TypeVar("Settings")


@dataclass(frozen=True)
class DataSettings:
    """How a source is split, and how the phantom is drawn."""

    val_fraction: float
    split_seed: int
    phantom_seed: int
    phantom_subtlety: float
    resident_bytes: int
    fit: str = "crop"  # runs of before have noted none of these three
    value_range: str = AUTO
    window: str = ""

    def __post_init__(self) -> None:
        _check_choice("data.fit", self.fit, FITS)
        parse_view(self.value_range, self.window)
        _check("data.val_fraction", self.val_fraction, 0.0 < self.val_fraction < 1.0, "0 to 1")
        _check(
            "data.phantom_subtlety",
            self.phantom_subtlety,
            0.0 <= self.phantom_subtlety <= 1.0,
            "0 (obvious) to 1 (nearly invisible)",
        )
        _check("data.phantom_seed", self.phantom_seed, self.phantom_seed >= 0, "0 or more")


@dataclass(frozen=True)
class SelectionSettings:
    """Which generated images are kept (see `jaxgan.sampling.selection`)."""

    rule: str
    threshold: float
    num_accept: int
    targets: Mapping[str, int]
    per_epoch: int
    max_tries: int
    pool: float

    def __post_init__(self) -> None:
        _check_choice("selection.rule", self.rule, RULES)
        for name in ("num_accept", "per_epoch", "max_tries"):
            _check(f"selection.{name}", getattr(self, name), getattr(self, name) >= 0, "0 or more")
        for name, num in self.targets.items():
            good = isinstance(num, int) and not isinstance(num, bool) and num >= 0
            _check(f"selection.targets.{name}", num, good, "a whole number, 0 or more")
        _check("selection.pool", self.pool, self.pool >= 1.0, "1 or more")


@dataclass(frozen=True)
class DcganSettings:
    """One DCGAN experiment."""

    seed: int
    dtype: str
    image_size: int
    channels: int
    latent_size: int
    generator_width: int
    discriminator_width: int
    discriminator_norm: str
    objective: str
    label_smoothing: float
    num_critic_steps: int
    clip_weights: float
    gradient_penalty_weight: float
    r1_weight: float
    learning_rate: float
    beta1: float
    beta2: float
    batch_size: int
    num_epochs: int
    diffaugment: bool
    augment_policy: tuple[str, ...]
    augment_target: float
    augment_ramp_images: int
    ema_decay: float
    look_every_epochs: int
    sample_every_epochs: int
    checkpoint_every_epochs: int
    measure_every_epochs: int
    select_checkpoint: str
    epochs_per_dispatch: int
    max_steps_per_dispatch: int
    selection: SelectionSettings
    data: DataSettings
    checkpoint_every_seconds: float = 60.0  # runs of before have not noted it
    num_classes: int = 0  # of a class-conditional model; 0: of one class alone

    def __post_init__(self) -> None:
        check_seed("config.seed", self.seed)
        _check_choice("dtype", self.dtype, tuple(DTYPES))
        _check_choice("image_size", self.image_size, IMAGE_SIZES)
        _check_choice("channels", self.channels, (1, 3))
        _check_choice("discriminator_norm", self.discriminator_norm, DISCRIMINATOR_NORMS)
        _check_objective(self)
        _check_augmentation(self)
        _check("ema_decay", self.ema_decay, 0.0 <= self.ema_decay < 1.0, "0 (off) to below 1")
        _check("batch_size", self.batch_size, self.batch_size >= 2, "2 or more, for batch norm")
        _check_optimizer(self.learning_rate, self.beta1, self.beta2)
        _check_choice("select_checkpoint", self.select_checkpoint, CHECKPOINTS)
        for name in ("latent_size", "generator_width", "discriminator_width"):
            _check(name, getattr(self, name), getattr(self, name) >= 1, "1 or more")
        _check_cadence(self)
        for name in ("measure_every_epochs", "look_every_epochs", "sample_every_epochs"):
            _check(name, getattr(self, name), getattr(self, name) >= 0, "0 (never) or more")
        # Every look has latents of its own, and so have the images that are drawn at the end.
        most = NUM_SEEDS // 2 // self.batch_size - 1
        expected = f"at most {most} with config.batch_size {self.batch_size}"
        _check("num_epochs", self.num_epochs, self.num_epochs <= most, expected)


@dataclass(frozen=True)
class GmdSettings:
    """One classifier experiment."""

    seed: int
    dtype: str
    image_size: int
    channels: int
    num_outputs: int
    width: int
    padding: str
    optimizer: str
    learning_rate: float
    momentum: float
    batch_size: int
    num_epochs: int
    eval_batch_size: int
    evaluate_every_epochs: int
    checkpoint_every_epochs: int
    epochs_per_dispatch: int
    max_steps_per_dispatch: int
    data: DataSettings
    checkpoint_every_seconds: float = 60.0  # runs of before have not noted it

    def __post_init__(self) -> None:
        check_seed("config.seed", self.seed)
        _check_choice("dtype", self.dtype, tuple(DTYPES))
        # Two poolings and five 'VALID' convolutions have to leave something to flatten.
        _check("image_size", self.image_size, 24 <= self.image_size <= 512, "24 to 512")
        _check_choice("channels", self.channels, (1, 3))
        _check_choice("padding", self.padding, ("VALID", "SAME"))
        _check_choice("optimizer", self.optimizer, OPTIMIZERS)
        _check_optimizer(self.learning_rate, self.momentum, 0.0)
        _check("width", self.width, self.width >= 8 and self.width % 8 == 0, "a multiple of 8")
        _check("num_outputs", self.num_outputs, self.num_outputs >= 0, "0 (one a class) or more")
        for name in ("batch_size", "eval_batch_size", "evaluate_every_epochs"):
            _check(name, getattr(self, name), getattr(self, name) >= 1, "1 or more")
        _check_cadence(self)


def read_settings(cls: type[Settings], values: Mapping[str, Any]) -> Settings:
    """Return `cls` filled from a config's nested dict."""
    return _read(cls, values, "config")


def _read(cls: Any, values: Any, path: str) -> Any:
    if not isinstance(values, Mapping):
        raise UserError(f"{path} is {values!r}, expected a group of fields.")
    hints = typing.get_type_hints(cls)
    needed = {f.name for f in dataclasses.fields(cls) if f.default is dataclasses.MISSING}
    unknown, missing = sorted(set(values) - set(hints)), sorted(needed - set(values))
    if unknown or missing:
        found = [f"{path}.{name} is not known" for name in unknown]
        found += [f"{path}.{name} is missing" for name in missing]
        raise UserError(f"{'; '.join(found)}. The fields are: {', '.join(sorted(hints))}.")
    given = [name for name in hints if name in values]
    fields = {name: _convert(hints[name], values[name], f"{path}.{name}") for name in given}
    try:
        return cls(**fields)
    except UserError as error:
        raise UserError(str(error).replace("config.", f"{_find_config(hints, path)}.")) from None


def _find_config(hints: Mapping[str, Any], path: str) -> str:
    """Return what the settings at `path` call `config`: themselves; of `selection`, their owner.

    So a study's `gmd.width` is not called `config.width`, of which there is none.
    """
    has_groups = any(dataclasses.is_dataclass(hint) for hint in hints.values())
    return path if has_groups else path.rpartition(".")[0] or path


def _convert(hint: Any, value: Any, path: str) -> Any:
    if dataclasses.is_dataclass(hint):
        return _read(hint, value, path)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{path} is {value!r}, expected a finite number.")
    expected = hint if isinstance(hint, type) else typing.get_origin(hint)
    if expected is tuple and isinstance(value, list):  # as JSON has it
        return tuple(value)
    is_bool = isinstance(value, bool)
    if not isinstance(value, expected) or (is_bool and expected is not bool):
        raise UserError(f"{path} is {value!r}, expected {_name(expected)}.")
    return types.MappingProxyType(dict(value)) if isinstance(value, Mapping) else value


def _name(expected: Any) -> str:
    names = {int: "a whole number", float: "a number", bool: "True or False", str: "a word"}
    return names.get(expected, "a group of fields")


def fill_defaults(cls: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a record with those fields that came after it, at their defaults."""
    hints, filled = typing.get_type_hints(cls), dict(values)
    for field in dataclasses.fields(cls):
        if dataclasses.is_dataclass(hints[field.name]):
            if isinstance(values.get(field.name), Mapping):
                filled[field.name] = fill_defaults(hints[field.name], values[field.name])
        elif field.default is not dataclasses.MISSING:
            filled.setdefault(field.name, _to_plain(field.default))
    return filled


def to_dict(settings: Any) -> dict[str, Any]:
    """Return settings as plain, JSON-able dicts."""
    return {
        field.name: _to_plain(getattr(settings, field.name))
        for field in dataclasses.fields(settings)
    }


def _to_plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return to_dict(value)
    if isinstance(value, tuple):
        return list(value)  # as JSON reads it back
    return dict(value) if isinstance(value, Mapping) else value


def _check(name: str, value: Any, good: bool, expected: str) -> None:
    if not good:
        raise UserError(f"config.{name} is {value!r}, expected {expected}.")


def _check_choice(name: str, value: Any, choices: tuple[Any, ...]) -> None:
    _check(name, value, value in choices, f"one of {', '.join(map(str, choices))}")


def _check_optimizer(learning_rate: float, *moments: float) -> None:
    _check("learning_rate", learning_rate, learning_rate > 0.0, "above 0")
    for moment in moments:
        _check("beta1, beta2 or momentum", moment, 0.0 <= moment < 1.0, "0 to below 1")


def _check_objective(settings: DcganSettings) -> None:
    _check_choice("objective", settings.objective, tuple(OBJECTIVES))
    smoothing = settings.label_smoothing
    is_cross_entropy = settings.objective in CROSS_ENTROPY_OBJECTIVES
    good = 0.0 <= smoothing < 0.5 and (smoothing == 0.0 or is_cross_entropy)
    of = " or ".join(CROSS_ENTROPY_OBJECTIVES)
    _check("label_smoothing", smoothing, good, f"0 (off), or below 0.5 with objective {of}")
    for name in ("clip_weights", "gradient_penalty_weight", "r1_weight"):
        _check(name, getattr(settings, name), getattr(settings, name) >= 0.0, "0 (off) or more")
    _check("num_critic_steps", settings.num_critic_steps, settings.num_critic_steps >= 1, "1 up")
    for name in ("gradient_penalty_weight", "r1_weight"):
        if getattr(settings, name) and settings.discriminator_norm == "batch":
            raise UserError(
                f"config.{name} is {getattr(settings, name)!r}: it needs the gradient of each "
                "image alone, and batch norm mixes the images of a batch. Set "
                "config.discriminator_norm to 'none' or 'spectral'."
            )
    rule = settings.selection.rule
    if rule in PROBABILITY_RULES:
        check_probability(f"config.selection.rule {rule!r}", settings.objective)


def check_probability(
    rule: str,
    objective: str,
    remedy: str = "set --accept=none",
    field: str = "config.objective",
) -> None:
    """Raise where a `rule` compares D's sigmoid with a threshold and it is no probability."""
    if objective not in CROSS_ENTROPY_OBJECTIVES:
        raise UserError(
            f"{rule} reads D's score as a probability, which it is with {field} "
            f"{' or '.join(CROSS_ENTROPY_OBJECTIVES)} only, not with {objective!r}: {remedy}."
        )


def _check_augmentation(settings: DcganSettings) -> None:
    unknown = [part for part in settings.augment_policy if part not in PARTS]
    expected = f"some of {', '.join(PARTS)}"
    _check("augment_policy", settings.augment_policy, not unknown, expected)
    target, ramp = settings.augment_target, settings.augment_ramp_images
    good = 0.0 <= target < 1.0 and (target == 0.0 or settings.diffaugment)
    _check("augment_target", target, good, "0 (off), or below 1 with config.diffaugment")
    _check("augment_ramp_images", ramp, ramp >= 1, "1 or more")
    if target and settings.objective not in SIGNED_OBJECTIVES:
        raise UserError(
            f"config.augment_target is {target!r}: adaptive strength reads D's overfitting from "
            f"the sign of its logits, which means something with config.objective "
            f"{', '.join(SIGNED_OBJECTIVES)} only, not with {settings.objective!r}. Set "
            "config.augment_target to 0 or choose one of them."
        )


def _check_cadence(settings: DcganSettings | GmdSettings) -> None:
    for name in ("num_epochs", "checkpoint_every_epochs", "epochs_per_dispatch"):
        _check(name, getattr(settings, name), getattr(settings, name) >= 1, "1 or more")
    seconds = settings.checkpoint_every_seconds
    _check("checkpoint_every_seconds", seconds, seconds >= 0.0, "0 (by epochs alone) or more")
    # Two virtual CPU devices can deadlock where many steps go unsynchronised: 50 held in every
    # trial.
    steps = settings.max_steps_per_dispatch
    _check("max_steps_per_dispatch", steps, 1 <= steps <= 50, "1 to 50")
