"""Train GANs and classifiers, and run studies, with one call each."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from jaxgan.api.errors import convert_errors
from jaxgan.api.images import Images
from jaxgan.api.settings import choose_workdir, resolve
from jaxgan.core.errors import UserError
from jaxgan.experiments import train_classifier as classifiers
from jaxgan.experiments import train_gan as gans
from jaxgan.experiments.train_classifier import TrainClassifierSettings, TrainedClassifier
from jaxgan.experiments.train_gan import TrainedGan
from jaxgan.sampling.runs import ALL_CLASSES
from jaxgan.sampling.settings import TrainGanSettings
from jaxgan.study import run as studies
from jaxgan.study.run import Study
from jaxgan.study.settings import StudySettings
from jaxgan.study.sources import read_sources

Settings = TypeVar("Settings")


def train_gan(
    config: str | TrainGanSettings,
    data: Images,
    class_name: str,
    *,
    workdir: Path | str | None = None,
    num_devices: int = 0,
    **changes: Any,
) -> TrainedGan:
    """Train the GAN of one class; continue where an earlier call with this folder stopped.

    `config` is the name of a config ("dcgan:quick") or its settings. `changes` are new values of
    fields; `**{"gan.generator_width": 8}` changes a field of a group. The run is in
    `workdir`/`class_name`. Without `workdir` it is in runs/CONFIG. Raises `UserError`.

    >>> films = jaxgan.load_phantom(images_per_class=12)
    >>> gan = jaxgan.train_gan("mlp:quick", films, "covid", num_epochs=1)
    >>> gan
    <TrainedGan in runs/mlp-quick/covid: 1 epochs>
    """
    with convert_errors():
        settings = _resolve(TrainGanSettings, config, data, changes)
        return gans.train_gan(
            settings,
            dataset=data.load(settings.gan.image_size, settings.gan.channels),
            class_name=class_name,
            workdir=choose_workdir(config, workdir),
            num_devices=num_devices,
            notes=data.notes,
        )


def train_conditional_gan(
    config: str | TrainGanSettings,
    data: Images,
    *,
    workdir: Path | str | None = None,
    num_devices: int = 0,
    **changes: Any,
) -> TrainedGan:
    """Train one class-conditional GAN of all classes, otherwise as `train_gan`.

    The model is in `workdir`/all; `load_generator` takes the folder of a class, `workdir`/CLASS.
    """
    with convert_errors():
        settings = _resolve(TrainGanSettings, config, data, changes)
        dataset = data.load(settings.gan.image_size, settings.gan.channels)
        return gans.train_conditional(
            gans.make_conditional(settings, dataset, ALL_CLASSES),
            dataset=dataset,
            workdir=choose_workdir(config, workdir),
            num_devices=num_devices,
            notes=data.notes,
        )


def train_classifier(
    config: str | TrainClassifierSettings,
    data: Images,
    *,
    synthetic_dir: Path | str | None = None,
    augment_classes: Sequence[str] = (),
    workdir: Path | str | None = None,
    num_devices: int = 0,
    **changes: Any,
) -> TrainedClassifier:
    """Train a classifier; continue where an earlier call with this folder stopped.

    `config`, `workdir` and `changes` are those of `train_gan`; the run is in `workdir`/real.
    `synthetic_dir` is the `workdir` of GANs of all classes (or of `augment_classes`). Their kept
    images are then added to the training images, and the run is in `workdir`/augmented. Raises
    `UserError`.

    >>> films = jaxgan.load_phantom(images_per_class=12)
    >>> small = {"classifier.width": 8, "classifier.image_size": 32}
    >>> jaxgan.train_classifier("gmd:quick", films, num_epochs=1, **small)
    <TrainedClassifier in runs/gmd-quick/real: 1 epochs, validation accuracy ...>
    """
    with convert_errors():
        settings = _resolve(TrainClassifierSettings, config, data, changes)
        learner = settings.classifier
        return classifiers.train_classifier(
            settings,
            dataset=data.load(learner.image_size, learner.channels),
            workdir=choose_workdir(config, workdir),
            synthetic_dir=Path(synthetic_dir) if synthetic_dir else None,
            augment_classes=augment_classes,
            num_devices=num_devices,
            notes=data.notes,
        )


def run_study(
    config: str | StudySettings,
    data: Images,
    *,
    source_column: str | None = None,
    workdir: Path | str | None = None,
    num_devices: int = 0,
    **changes: Any,
) -> Study:
    """Study whether generated images help the classifier: train all arms, and give a verdict.

    `config` ("study:quick"), `workdir` and `changes` are those of `train_gan`. Finished jobs in
    `workdir` are not done again. `source_column` is the column of manifest.csv that names the
    hospital of each image. Raises `UserError`.
    """
    with convert_errors():
        settings = _resolve(StudySettings, config, data, changes)
        learner, gan = settings.classifier, settings.gan
        dataset = data.load(learner.image_size, learner.channels)
        needs = settings.needs_generators
        return studies.run_study(
            settings,
            dataset=dataset,
            gan_dataset=data.load(gan.image_size, gan.channels) if needs else dataset,
            workdir=choose_workdir(config, workdir),
            num_devices=num_devices,
            sources=read_sources(data.root, dataset, source_column),
            notes=data.notes,
        )


def _resolve(
    cls: type[Settings], config: str | Settings, data: Images, changes: Mapping[str, Any]
) -> Settings:
    """Return the settings, with the choices of `data` in their group `data`."""
    _check_data(data)
    owned = [name for name in changes if name.removeprefix("data.") in data.choices]
    if owned:
        raise UserError(
            f"{owned[0]} is set when images are loaded, and these are loaded already: give it to "
            "load_folder, load_arrays or load_phantom."
        )
    return resolve(cls, config, {**changes, **{f"data.{n}": v for n, v in data.choices.items()}})


def _check_data(data: Images) -> None:
    if not isinstance(data, Images):
        raise UserError(
            f"Found data of type {type(data).__name__}: expected the result of "
            "load_folder(FOLDER), load_arrays(images, labels) or load_phantom()."
        )
