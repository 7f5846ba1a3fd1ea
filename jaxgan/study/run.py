"""Run a study: settings and data -> jobs -> results -> verdict -> page."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from jaxgan.core.console import say
from jaxgan.core.errors import UserError, list_some
from jaxgan.core.files import hold_folder, holds_nothing, make_folder, remove_leftovers
from jaxgan.data.sets import Dataset, ImageSet, check_classes
from jaxgan.devices.parallel import check_batch_size, choose_devices
from jaxgan.metrics.classification import compute_balanced_accuracy
from jaxgan.study import audit as audits
from jaxgan.study.arms import Arm, describe_lacking_targets
from jaxgan.study.classifiers import (
    ClassifierLab,
    as_training_images,
    create_training_set,
    duplicate,
)
from jaxgan.study.folds import Folds, create_folds, describe_leaks, pool
from jaxgan.study.generators import GeneratorLab, join_made, select
from jaxgan.study.settings import StudySettings
from jaxgan.training.jobs import Failure, JobRunner, Result, to_record
from jaxgan.training.record import CONTENT, flatten
from jaxgan.training.run_folder import find_record, write_record

_SEED_STRIDE = 1000  # folds a seed may have


@dataclass
class StudyResults:
    """What the jobs have left: by arm [seed][fold], by (fold, gan seed) and class, by view."""

    settings: StudySettings
    dataset: Dataset
    folds: Folds
    gan_folds: Folds
    arms: list[Arm]
    classifiers: dict[str, dict[tuple[int, int], Result]] = field(default_factory=dict)
    generators: dict[tuple[int, int, int], Result] = field(default_factory=dict)
    audit_classifiers: dict[str, dict[int, Result]] = field(default_factory=dict)
    added: dict[str, dict[tuple[int, int], list[int]]] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    sources: tuple[str, ...] = ()

    def find_failures(self, arm: Arm) -> list[Failure]:
        """Return why trainings of an arm are missing."""
        seeds, folds = range(self.settings.num_seeds), range(self.settings.num_folds)
        names = {name_training(arm, fold, seed) for seed in seeds for fold in folds}
        return [f for f in self.failures if f.kind == "classifier" and f.name in names]

    def get_probabilities(self, arm: str) -> np.ndarray | None:
        """Return [num_seeds, num_images, outputs] of an arm; None where a training is missing."""
        done = self.classifiers.get(arm, {})
        seeds, folds = range(self.settings.num_seeds), range(self.settings.num_folds)
        if any((seed, fold) not in done for seed in seeds for fold in folds):
            return None
        num_outputs = done[0, 0]["probabilities"].shape[1]
        joined = np.zeros((len(seeds), len(self.folds.images), num_outputs), np.float32)
        for (seed, fold), result in done.items():
            joined[seed, self.folds.fold_of == fold] = result["probabilities"]
        return joined


class _Study:
    """One call of `run_jobs`: the labs with their compiled programs, the runner, the results."""

    def __init__(self, results: StudyResults, workdir: Path, num_devices: int):
        self._results, self._settings = results, results.settings
        settings = results.settings
        devices = choose_devices(num_devices)
        check_batch_size(settings.gmd.batch_size, len(devices))
        self._names = results.dataset.class_names
        self._classifiers = ClassifierLab(
            settings,
            num_classes=len(self._names),
            capacity=self._compute_classifier_capacity(),
            devices=devices,
        )
        if settings.needs_generators:
            check_batch_size(settings.dcgan.batch_size, len(devices))
            self._generators = GeneratorLab(
                settings.dcgan, capacity=self._compute_gan_capacity(), devices=devices
            )
        self.runner = JobRunner(workdir / "jobs", self._plan())

    def _count_added(self, arm: Arm, fold: int) -> list[int]:
        """Return how many images an arm adds to each class, where there are as many."""
        targets = self._settings.dcgan.selection.targets
        return arm.count_added(self._names, self._count_real(fold), targets)

    def _count_real(self, fold: int) -> list[int]:
        labels = self._results.folds.get_train(fold).labels
        return np.bincount(labels, minlength=len(self._names)).tolist()

    def _count_candidates(self, arm: Arm, fold: int) -> list[int]:
        """Return how many generated images of each class an arm takes its own from.

        That is its own affair: other arms and amounts must not change what it chooses.
        """
        added, share = self._count_added(arm, fold), self._settings.pool if arm.chooses else 1.0
        return [math.ceil(share * num) for num in added]

    def _count_drawn(self, fold: int) -> list[int]:
        """Return how many images of each class are drawn: what the most asking arm needs."""
        arms = [arm for arm in self._results.arms if arm.needs_generator]
        asked = [self._count_candidates(arm, fold) for arm in arms]
        return [max(1, *counts) for counts in zip(*asked, strict=True)]

    def _compute_classifier_capacity(self) -> int:
        """Return the images of the largest training set."""
        return max(
            len(self._results.folds.get_train(fold)) + sum(self._count_added(arm, fold))
            for fold in range(self._settings.num_folds)
            for arm in self._results.arms
        )

    def _compute_gan_capacity(self) -> int:
        counts = [
            np.bincount(self._results.gan_folds.get_train(fold).labels).max()
            for fold in range(self._settings.num_folds)
        ]
        return int(max(counts))

    def _plan(self) -> dict[str, int]:
        settings, num_folds = self._settings, self._settings.num_folds
        gans = num_folds * settings.num_gan_seeds * len(self._names)
        return {
            "generator": gans if settings.needs_generators else 0,
            "images": gans if settings.needs_generators else 0,
            "classifier": len(self._results.arms) * num_folds * settings.num_seeds,
            "audit": len(audits.CLASSIFIER_VIEWS) * num_folds if settings.audit else 0,
        }

    def run(self) -> None:
        """Do all jobs, the first seed of every arm before the second of any."""
        if self._settings.needs_generators:
            for gan_seed in range(self._settings.num_gan_seeds):
                for fold in range(self._settings.num_folds):
                    self._train_generators(fold, gan_seed)
        for seed in range(self._settings.num_seeds):
            for fold in range(self._settings.num_folds):
                for arm in self._results.arms:
                    self._train_classifier(arm, fold, seed)
        if self._settings.audit:
            for view in audits.CLASSIFIER_VIEWS:
                for fold in range(self._settings.num_folds):
                    self._train_audit(view, fold)
        self._results.failures.extend(self.runner.failures)

    def _train_generators(self, fold: int, gan_seed: int) -> None:
        train = self._results.gan_folds.get_train(fold)
        seed = gan_seed * _SEED_STRIDE + fold
        for label, (name, num) in enumerate(zip(self._names, self._count_drawn(fold), strict=True)):
            whose = f"of {name}, fold {fold + 1}, seed {gan_seed}"
            job = self._generators.create_job(
                train.of_class(label),
                name=f"generator {whose}",
                seed=seed,
                holdout=self._settings.holdout,
            )
            trained = self.runner.run(job)
            if trained is None:
                self.runner.skip("images", f"images {whose}", "its generator failed")
                continue
            drawn = self.runner.run(
                self._generators.create_drawing(trained, name=f"images {whose}", seed=seed, num=num)
            )
            if drawn is not None:
                self._results.generators[fold, gan_seed, label] = join_made(trained, drawn)

    def _train_classifier(self, arm: Arm, fold: int, seed: int) -> None:
        name = name_training(arm, fold, seed)
        gan_seed = seed % self._settings.num_gan_seeds
        missing = [
            class_name
            for label, class_name in enumerate(self._names)
            if arm.needs_generator and (fold, gan_seed, label) not in self._results.generators
        ]
        if missing:
            self.runner.skip("classifier", name, f"no generator of {list_some(missing)}")
            return
        folds = self._results.folds
        train, test = folds.get_train(fold), folds.get_test(fold)
        try:
            added = [self._make_images(arm, train, fold, seed, n) for n in self._label_range()]
            images = create_training_set(arm, train, added, class_names=self._names)
        except UserError as error:
            self.runner.skip("classifier", name, str(error), by_rule=True)
            return
        job = self._classifiers.create_job(
            name=name,
            train=images,
            test=test,
            record={**self._describe_data(fold), "arm": self._describe_arm(arm, gan_seed, fold)},
            is_classic=arm.is_classic,
            seed=seed * _SEED_STRIDE + fold,
        )
        done = self.runner.run(job)
        if done is not None:
            self._results.classifiers.setdefault(arm.name, {})[seed, fold] = done
            counts = self._results.added.setdefault(arm.name, {})
            counts[seed, fold] = [len(images) for images in added]

    def _label_range(self) -> range:
        return range(len(self._names))

    def _make_images(self, arm: Arm, train: ImageSet, fold: int, seed: int, label: int) -> ImageSet:
        """Return what an arm adds to a class: `amount` images for every real one, or fewer.

        Raises `UserError` where its rule can not choose among the class's images.
        """
        real = train.of_class(label)
        num = self._count_added(arm, fold)[label]
        if not arm.source:
            return real.take(np.zeros(0, np.int64))
        if arm.source == "duplicates":
            return duplicate(real, num, seed)
        gan_seed = seed % self._settings.num_gan_seeds
        made = self._results.generators[fold, gan_seed, label]
        threshold = self._settings.dcgan.selection.threshold
        try:
            kept = select(
                made,
                arm.source,
                num,
                num_candidates=self._count_candidates(arm, fold)[label],
                threshold=threshold,
                seed=gan_seed,
            )
        except UserError as error:
            raise UserError(f"class {self._names[label]}: {error}") from None
        size = self._settings.gmd.image_size
        return as_training_images(kept, label, image_size=size, name=self._names[label])

    def _describe_data(self, fold: int) -> dict[str, Any]:
        folds = self._results.folds
        return {
            "data": self._results.dataset.fingerprint,
            "train": folds.hash_train(fold),
            "num_test": len(folds.get_test(fold)),
        }

    def _describe_arm(self, arm: Arm, gan_seed: int, fold: int) -> dict[str, Any]:
        """Return what defines the images that an arm adds."""
        described: dict[str, Any] = {"source": arm.source, "amount": arm.amount}
        described["real"] = arm.uses_real
        if arm.needs_generator:
            made = [
                self._results.generators[fold, gan_seed, label] for label in self._label_range()
            ]
            described["generators"] = [str(m["record"]) for m in made]
            described["threshold"] = self._settings.dcgan.selection.threshold
        if arm.chooses:
            described["candidates"] = self._count_candidates(arm, fold)
        if arm.has_own_counts:
            described["counts"] = self._count_added(arm, fold)
        return described

    def _train_audit(self, view: str, fold: int) -> None:
        folds = self._results.folds
        job = self._classifiers.create_job(
            name=f"audit: {view}, fold {fold + 1}",
            train=audits.mask_set(folds.get_train(fold), view),
            test=audits.mask_set(folds.get_test(fold), view),
            record={**self._describe_data(fold), "view": view},
            is_classic=False,
            seed=fold,
            kind="audit",
        )
        done = self.runner.run(job)
        if done is not None:
            self._results.audit_classifiers.setdefault(view, {})[fold] = done


def name_training(arm: Arm, fold: int, seed: int) -> str:
    """Return what the job of one classifier is called."""
    return f"{arm.name}, fold {fold + 1}, seed {seed}"


def describe_study(settings: StudySettings, dataset: Dataset) -> dict[str, Any]:
    """Return what a study is, as `--dry_run` prints it. Raises `UserError` where it can not be."""
    _check_last_step(settings)
    check_classes(dataset, "a study asks how well a classifier tells classes apart")
    return {
        "kind": "study",
        "data": dataset.describe(),
        "arms": [arm.name for arm in settings.create_arms()],
        "settings": to_record(settings),
    }


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
    """Do what of the study is not yet done in `workdir`/jobs and return all results.

    `gan_dataset` is the same data in the generators' image size. `sources` names each image's
    hospital, in the order of the splits joined, or is empty. `notes` (the command, where the data
    lie) are kept in `config.json` and decide nothing.
    """
    record = describe_study(settings, dataset)
    make_folder(workdir)
    _check_holds_study(workdir)
    with hold_folder(workdir):
        remove_leftovers(workdir)
        _note_study(workdir, record, notes)
        return _run_jobs(settings, dataset, gan_dataset, workdir, num_devices, sources)


def _run_jobs(
    settings: StudySettings,
    dataset: Dataset,
    gan_dataset: Dataset,
    workdir: Path,
    num_devices: int,
    sources: Sequence[str],
) -> StudyResults:
    folds = create_folds(dataset, settings.num_folds, settings.fold_seed)
    gan_images = create_images_like(folds, gan_dataset)
    gan_folds = Folds(gan_images, folds.fold_of, folds.groups, folds.copies)
    results = StudyResults(
        settings, dataset, folds, gan_folds, settings.create_arms(), sources=tuple(sources)
    )
    results.notices.extend(dataset.notices)
    targets = settings.dcgan.selection.targets
    for notice in describe_lacking_targets(results.arms, dataset.class_names, targets):
        results.notices.append(notice)
        say(notice)
    for leak in describe_leaks(dataset, folds):
        say(leak)  # before hours of work; the page has it too
    study = _Study(results, workdir, num_devices)
    say(
        f"A study of {len(results.arms)} arms x {settings.num_folds} folds x "
        f"{settings.num_seeds} seeds on {len(folds.images)} images of "
        f"{len(set(folds.images.patients))} patients ({dataset.name}), in {workdir}."
    )
    study.run()
    return results


def _check_last_step(settings: StudySettings) -> None:
    """Refuse to promise the best moment of a GAN: a study measures none."""
    if settings.needs_generators and settings.dcgan.select_checkpoint != "newest":
        raise UserError(
            f"config.dcgan.select_checkpoint is {settings.dcgan.select_checkpoint!r}, expected "
            "'newest': a study draws its images from the last step of every GAN."
        )


def create_images_like(folds: Folds, dataset: Dataset) -> ImageSet:
    """Return the same images in another size, checked to come in the same order."""
    images = pool(dataset.splits)
    if images.files != folds.images.files:
        raise ValueError("the two sizes of the data do not hold the same files in the same order")
    return images


def _check_holds_study(workdir: Path) -> None:
    """Raise where a folder holds something that is no study."""
    old = find_record(workdir)
    if old is None and not holds_nothing(workdir) and not _holds_jobs(workdir):
        raise UserError(
            f"The work folder {workdir} is not empty and holds no study (no config.json that says "
            "so): choose another --workdir."
        )
    if old is not None and old["kind"] != "study":
        raise UserError(f"{workdir} holds a {old['kind']} run, no study: choose another --workdir.")


def _holds_jobs(workdir: Path) -> bool:
    """Whether a folder holds jobs that studies alone have: an ablation's are of other kinds."""
    kinds = ("generator", "classifier")
    return any(found for kind in kinds for found in workdir.glob(f"jobs/{kind}-*.npz"))


def _note_study(
    workdir: Path, record: Mapping[str, Any], notes: Mapping[str, str] | None = None
) -> None:
    """Note what was asked of the study last; say so where the images have changed since then."""
    old = find_record(workdir) or record
    if _holds_jobs(workdir) and old is record:
        say(
            f"{workdir / 'config.json'} is damaged or gone: it is written anew, and no job is lost."
        )
    if flatten(old).get(CONTENT) != flatten(record)[CONTENT]:
        say(
            f"The images have changed since this study was last run in {workdir}: what was "
            "trained on those of before does not count, and is trained again."
        )
    write_record(workdir, record, notes)


def run_audit(results: StudyResults) -> audits.Audit:
    """Run the linear probes on the study's folds; the classifier's views come from its jobs."""
    folds = results.folds
    by_view: dict[str, float] = {}
    done: Mapping[str, Mapping[int, Result]] = {
        "whole": {f: r for (s, f), r in results.classifiers.get("real", {}).items() if s == 0},
        **results.audit_classifiers,
    }
    for view, by_fold in done.items():
        if len(by_fold) == folds.num:
            by_view[view] = _compute_balanced_accuracy(by_fold, folds)
    is_padded = results.settings.data.fit == "pad"
    return audits.run_probes(
        folds.images, folds.fold_of, by_view, results.sources, is_padded=is_padded
    )


def _compute_balanced_accuracy(by_fold: Mapping[int, Result], folds: Folds) -> float:
    predicted = np.zeros_like(folds.images.labels)
    for fold, result in by_fold.items():
        predicted[folds.fold_of == fold] = result["probabilities"].argmax(axis=1)
    return compute_balanced_accuracy(folds.images.labels, predicted)
