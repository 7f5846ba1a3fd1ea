"""Read settings by name from the files in `configs/`, and change their fields."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from jaxgan.core.configs import find_shipped, load_beside
from jaxgan.core.errors import UserError
from jaxgan.core.settings import read_settings, to_dict
from jaxgan.experiments.train_classifier import TrainClassifierSettings
from jaxgan.sampling.settings import TrainGanSettings
from jaxgan.study.settings import StudySettings

Settings = TypeVar("Settings")
_NOTHING: Mapping[str, Any] = {}


def load_gan_settings(name: str, changes: Mapping[str, Any] = _NOTHING) -> TrainGanSettings:
    """Return the settings of a GAN's training: `name` is "dcgan:quick", "mlp:paper", ...

    `changes` maps fields to values. Raises `UserError` for an unknown name or field.

    >>> settings = load_gan_settings("dcgan:quick", {"num_epochs": 20, "gan.generator_width": 8})
    >>> settings.num_epochs, settings.gan.generator_width
    (20, 8)
    """
    return resolve(TrainGanSettings, name, changes)


def load_classifier_settings(
    name: str, changes: Mapping[str, Any] = _NOTHING
) -> TrainClassifierSettings:
    """Return the settings of a classifier's training, as `load_gan_settings`.

    >>> load_classifier_settings("classifier:resnet18_small").classifier.family
    'resnet'
    """
    return resolve(TrainClassifierSettings, name, changes)


def load_study_settings(name: str, changes: Mapping[str, Any] = _NOTHING) -> StudySettings:
    """Return the settings of a study, as `load_gan_settings`.

    >>> load_study_settings("study:quick").num_folds
    3
    """
    return resolve(StudySettings, name, changes)


def resolve(
    cls: type[Settings], config: "str | Settings", changes: Mapping[str, Any] = _NOTHING
) -> Settings:
    """Return the settings `config` (a name or settings) with `changes`. Raises `UserError`."""
    if not isinstance(config, str | cls):
        raise UserError(
            f"Found a config of type {type(config).__name__}: expected a name, such as "
            f"'dcgan:quick', or {cls.__name__}."
        )
    values = _load(config) if isinstance(config, str) else to_dict(config)
    return read_settings(cls, _change(values, changes))


def choose_workdir(config: object, workdir: Path | str | None) -> Path:
    """Return `workdir`; without one, a folder in `runs` with the name of the config."""
    if workdir is not None:
        return Path(workdir).expanduser()
    if not isinstance(config, str):
        raise UserError("Found settings without a folder for the run: give workdir=FOLDER.")
    return Path("runs") / config.replace(":", "-")


def _load(name: str) -> dict[str, Any]:
    file, _, variant = name.partition(":")
    folder = find_shipped("configs")
    names = sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")
    if file not in names:
        raise UserError(f"There is no config {file!r}: expected one of {', '.join(names)}.")
    get_config = load_beside(str(folder / "any"), file).get_config
    try:
        config = get_config(variant) if variant else get_config()
    except ValueError as error:
        raise UserError(str(error)) from None
    values: dict[str, Any] = config.to_dict()
    return values


def _change(values: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested values with `changes`, which have dotted names."""
    for name, value in changes.items():
        head, _, rest = name.partition(".")
        inner = _change(_get_group(values, head), {rest: value}) if rest else value
        values = {**values, head: inner}
    return values


def _get_group(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return a group of fields; empty if `name` is no group: `read_settings` then reports it."""
    found = values.get(name)
    return dict(found) if isinstance(found, Mapping) else {}
