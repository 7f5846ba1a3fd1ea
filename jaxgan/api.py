"""Use the commands from Python.

Functions return their results:

    from pathlib import Path
    from jaxgan import api

    settings = api.load_gan_settings("dcgan:quick", {"num_epochs": 20})
    images = api.load_images(settings.data, settings.gan)
    trained = api.train_gan(
        settings, dataset=images, class_name="pneumonia", workdir=Path("runs/dcgan")
    )
    print(trained.report, trained.figures)

Settings come from the files in `configs/`, by name and variant, with your changes.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from jaxgan.core.configs import find_shipped, load_beside
from jaxgan.core.errors import UserError
from jaxgan.core.settings import read_settings
from jaxgan.data.sets import Dataset
from jaxgan.data.settings import DataSettings, Sized
from jaxgan.data.source import DataSpec, load_dataset
from jaxgan.evaluation.evaluate import evaluate
from jaxgan.evaluation.subjects import load_folders, load_run
from jaxgan.experiments.sample import sample_run
from jaxgan.experiments.train_classifier import TrainClassifierSettings, train_classifier
from jaxgan.experiments.train_gan import train_conditional, train_gan
from jaxgan.sampling.settings import TrainGanSettings
from jaxgan.study.run import run_study
from jaxgan.study.settings import StudySettings

__all__ = [
    "evaluate",
    "load_classifier_settings",
    "load_folders",
    "load_gan_settings",
    "load_images",
    "load_run",
    "load_study_settings",
    "run_study",
    "sample_run",
    "train_classifier",
    "train_conditional",
    "train_gan",
]

Settings = TypeVar("Settings")
_NOTHING: Mapping[str, Any] = {}


def load_gan_settings(name: str, changes: Mapping[str, Any] = _NOTHING) -> TrainGanSettings:
    """Return the settings of a GAN's training: `name` is "dcgan:quick", "mlp:paper", ...

    `changes` maps fields to values: {"num_epochs": 20, "gan.generator_width": 16}. Raises
    `UserError` for an unknown name or field.
    """
    return _load(TrainGanSettings, name, changes)


def load_classifier_settings(
    name: str, changes: Mapping[str, Any] = _NOTHING
) -> TrainClassifierSettings:
    """Return the settings of a classifier's training, as `load_gan_settings`: "gmd:quick"."""
    return _load(TrainClassifierSettings, name, changes)


def load_study_settings(name: str, changes: Mapping[str, Any] = _NOTHING) -> StudySettings:
    """Return the settings of a study, as `load_gan_settings`: "study:quick"."""
    return _load(StudySettings, name, changes)


def load_images(
    settings: DataSettings, learner: Sized, *, cache_dir: Path | None = None, **where: Any
) -> Dataset:
    """Return the images by split, uint8 [num, size, size, channels], as `learner` sees them.

    `where` names them by fields of `jaxgan.data.source.DataSpec`: data_dir=Path("DIR"),
    patient_column="case", ... Without `where` they come from the phantom. Prepared images are kept
    in `cache_dir`, by default the cache of the commands. Raises `UserError`.
    """
    return load_dataset(
        DataSpec.of(settings, **where),
        image_size=learner.image_size,
        channels=learner.channels,
        cache_dir=cache_dir or Path.home() / ".cache" / "jaxgan",
    )


def _load(cls: type[Settings], name: str, changes: Mapping[str, Any]) -> Settings:
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
    return read_settings(cls, _change(config.to_dict(), changes))


def _change(values: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested values, with those of `changes` at their dotted names."""
    for name, value in changes.items():
        head, _, rest = name.partition(".")
        inner = _change(dict(values.get(head, {})), {rest: value}) if rest else value
        values = {**values, head: inner}
    return values
