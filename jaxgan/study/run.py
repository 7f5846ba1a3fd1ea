"""Run a study: settings and data -> jobs -> results -> verdict -> page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxgan.core.console import say
from jaxgan.core.errors import UserError
from jaxgan.core.files import hold_folder, holds_nothing, make_folder, remove_leftovers
from jaxgan.core.settings import to_dict
from jaxgan.data.sets import Dataset, ImageSet, check_classes
from jaxgan.study.arms import describe_missing_targets
from jaxgan.study.folds import Folds, create_folds, describe_leaks, join_splits
from jaxgan.study.kept import describe_not_kept, measure_files, write_index
from jaxgan.study.notebook import show_study
from jaxgan.study.page import WORDS, write_study
from jaxgan.study.results import StudyResults
from jaxgan.study.settings import StudySettings
from jaxgan.study.work import do_jobs
from jaxgan.training.record import CONTENT, flatten
from jaxgan.training.run_folder import find_record, write_record


@dataclass(frozen=True)
class Study:
    """The results of a study: its report, as in `report.json`, and the files in its folder."""

    folder: Path
    report: dict[str, Any]
    results: StudyResults
    page: Path
    figures: tuple[Path, ...]

    def __repr__(self) -> str:
        return f"<Study in {self.folder}: {WORDS[self.report['verdict']]}>"

    def _repr_html_(self) -> str:
        return show_study(self.report, self.page)


def describe_study(settings: StudySettings, dataset: Dataset) -> dict[str, Any]:
    """Return the study as `--dry_run` prints it. Raises `UserError` if it has only one class."""
    check_classes(dataset, "a study measures how well a classifier distinguishes classes")
    arms = [arm.name for arm in settings.create_arms()]
    described = {
        "kind": "study",
        "data": dataset.describe(),
        "arms": arms,
        "settings": to_dict(settings),
    }
    if settings.keep_classifiers:
        num = len(arms) * settings.num_folds * settings.num_seeds
        described["kept"] = measure_files(settings, len(dataset.class_names), num)
    return described


def run_study(
    settings: StudySettings,
    *,
    dataset: Dataset,
    gan_dataset: Dataset,
    workdir: Path,
    num_devices: int = 0,
    sources: Sequence[str] = (),
    notes: Mapping[str, str] | None = None,
    command: str = "",
) -> Study:
    """Do the missing jobs of the study, and write report, page, figures and model cards.

    See `run_jobs`. The page shows `command` as the command of the study.
    """
    results = run_jobs(
        settings,
        dataset=dataset,
        gan_dataset=gan_dataset,
        workdir=workdir,
        num_devices=num_devices,
        sources=sources,
        notes=notes,
    )
    report = write_study(results, workdir, command=command)
    figures = tuple(sorted((workdir / "figures").glob("*.png")))
    return Study(workdir, report, results, workdir / "report.html", figures)


def run_jobs(
    settings: StudySettings,
    *,
    dataset: Dataset,
    gan_dataset: Dataset,
    workdir: Path,
    num_devices: int = 0,
    sources: Sequence[str] = (),
    notes: Mapping[str, str] | None = None,
) -> StudyResults:
    """Do the jobs of the study that are not yet in `workdir`/jobs, and return all results.

    `gan_dataset` is the same data in the generators' image size. `sources` names each image's
    hospital, in the order of the joined splits, or is empty. `notes` (the command, the place of the
    data) are written to `config.json` and have no effect.
    """
    record = describe_study(settings, dataset)
    make_folder(workdir)
    _check_holds_study(workdir)
    with hold_folder(workdir):
        remove_leftovers(workdir)
        _note_study(workdir, record, notes)
        results = open_results(settings, dataset, gan_dataset, sources)
        say(
            f"A study of {len(results.arms)} arms x {settings.num_folds} folds x "
            f"{settings.num_seeds} seeds on {len(results.folds.images)} images of "
            f"{len(set(results.folds.images.patients))} patients ({dataset.name}), in {workdir}."
        )
        do_jobs(results, workdir / "jobs", num_devices)
        if settings.keep_classifiers:
            _note_kept(workdir, record, results)
        return results


def _note_kept(workdir: Path, record: Mapping[str, Any], results: StudyResults) -> None:
    """Write the index of the kept classifiers; print a message if some are not kept."""
    write_index(workdir, record, results.class_names, results.kept)
    missing = sum(map(len, results.classifiers.values())) - len(results.kept)
    if missing:
        say(describe_not_kept(missing))


def open_results(
    settings: StudySettings, dataset: Dataset, gan_dataset: Dataset, sources: Sequence[str]
) -> StudyResults:
    """Return the folds and no results yet; print what the user should know before hours of work."""
    folds = create_folds(dataset, settings.num_folds, settings.fold_seed)
    gan_images = create_images_like(folds, gan_dataset)
    gan_folds = Folds(gan_images, folds.fold_of, folds.groups, folds.copies)
    arms = settings.create_arms()
    missing = describe_missing_targets(arms, dataset.class_names, settings.targets)
    for sentence in (*missing, *describe_leaks(dataset, folds)):
        say(sentence)  # the page has it too
    return StudyResults(
        settings,
        dataset,
        folds,
        gan_folds,
        arms,
        notices=[*dataset.notices, *missing],
        sources=tuple(sources),
    )


def create_images_like(folds: Folds, dataset: Dataset) -> ImageSet:
    """Return the same images in another size; check that they have the same order."""
    images = join_splits(dataset.splits)
    if images.files != folds.images.files:
        raise ValueError("the two sizes of the data do not hold the same files in the same order")
    return images


def _check_holds_study(workdir: Path) -> None:
    """Raise `UserError` if a folder holds something other than a study."""
    old = find_record(workdir)
    if old is None and not holds_nothing(workdir) and not _holds_jobs(workdir):
        raise UserError(
            f"The work folder {workdir} is not empty, but holds no study (no config.json of a "
            "study): choose another --workdir."
        )
    if old is not None and old["kind"] != "study":
        raise UserError(
            f"{workdir} holds a {old['kind']} run, not a study: choose another --workdir."
        )


def _holds_jobs(workdir: Path) -> bool:
    """Whether a folder holds jobs that only studies have: an ablation has other kinds."""
    kinds = ("generator", "classifier")
    return any(found for kind in kinds for found in workdir.glob(f"jobs/{kind}-*.npz"))


def _note_study(
    workdir: Path, record: Mapping[str, Any], notes: Mapping[str, str] | None = None
) -> None:
    """Write down the last request; say so if the images have changed since the one before."""
    old = find_record(workdir) or record
    if _holds_jobs(workdir) and old is record:
        say(f"{workdir / 'config.json'} is damaged or gone. It is written again. No job is lost.")
    if flatten(old).get(CONTENT) != flatten(record)[CONTENT]:
        say(
            f"The images have changed since the last run of this study in {workdir}. What was "
            "trained on the old images does not count and is trained again."
        )
    write_record(workdir, record, notes)
