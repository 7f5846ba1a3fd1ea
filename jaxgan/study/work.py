"""The jobs of a study: generators and their images, classifiers, audits, measurements."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax

from jaxgan.core.errors import UserError, list_some
from jaxgan.data.sets import ImageSet
from jaxgan.devices.parallel import check_batch_size, choose_devices
from jaxgan.evaluation.fidelity import list_rulers
from jaxgan.study import audit as audits
from jaxgan.study import fidelity, heat
from jaxgan.study.added import Request
from jaxgan.study.arms import Arm
from jaxgan.study.classifiers import ClassifierLab
from jaxgan.study.generators import GeneratorLab, describe_drawing, join_results
from jaxgan.study.kept import FOLDER, Kept
from jaxgan.study.plan import StudyPlan
from jaxgan.study.results import StudyResults, name_training
from jaxgan.study.settings import SEED_STRIDE
from jaxgan.training.jobs import Job, JobRunner, Result


def do_jobs(results: StudyResults, folder: Path, num_devices: int) -> None:
    """Do all jobs without a file in `folder`, and add the results of all jobs to `results`.

    Every arm is trained with the first seed before any arm is trained with the second.
    """
    settings, devices = results.settings, choose_devices(num_devices)
    check_batch_size(settings.batch_size, len(devices))
    plan = StudyPlan(settings, results.arms, results.class_names, results.folds)
    if settings.needs_generators:
        check_batch_size(settings.gan_batch_size, len(devices))
    lab = ClassifierLab(  # before the generators, because it may refuse the settings
        settings,
        num_classes=len(results.class_names),
        capacity=plan.compute_classifier_capacity(),
        devices=devices,
        epoch_images=plan.count_real(),
    )
    results.weights = lab.describe_weights()
    runner = JobRunner(folder, plan.count_jobs())
    keep_in = folder.with_name(FOLDER) if settings.keep_classifiers else None
    work = _Work(results, plan, runner, lab, keep_in)
    if settings.needs_generators:
        work.train_generators(devices)
    for seed, fold in itertools.product(range(settings.num_seeds), range(settings.num_folds)):
        for arm in results.arms:
            work.train_classifier(arm, fold, seed)
    if settings.audit:
        work.train_audits()
    if settings.needs_generators:
        work.measure_generators()
    results.failures.extend(runner.failures)


def _train_generator(
    lab: GeneratorLab, runner: JobRunner, images: ImageSet, suffix: str, seed: int, num: int
) -> Result | None:
    """Train a GAN on the images of a class and draw `num` images; None if that failed."""
    trained = runner.run(lab.create_job(images, name=f"generator {suffix}", seed=seed))
    if trained is None:
        runner.skip("images", f"images {suffix}", "its generator failed")
        return None
    drawn = runner.run(lab.create_drawing(trained, name=f"images {suffix}", seed=seed, num=num))
    return None if drawn is None else join_results(trained, drawn)


@dataclass(frozen=True)
class _Work:
    """The plan, the objects that carry it out, and the `results` of the jobs."""

    results: StudyResults
    plan: StudyPlan
    runner: JobRunner
    lab: ClassifierLab
    keep_in: Path | None

    def train_generators(self, devices: Sequence[jax.Device]) -> None:
        """Train a GAN on the training images of each class in each fold, for each GAN seed."""
        results, settings = self.results, self.results.settings
        lab = GeneratorLab(settings, capacity=self.plan.compute_gan_capacity(), devices=devices)
        pairs = itertools.product(range(settings.num_gan_seeds), range(settings.num_folds))
        for gan_seed, fold in pairs:
            train = results.gan_folds.get_train(fold)
            seed = gan_seed * SEED_STRIDE + fold
            for label, num in enumerate(self.plan.count_drawn(fold)):
                suffix = f"of {results.class_names[label]}, fold {fold + 1}, seed {gan_seed}"
                images = train.of_class(label)
                result = _train_generator(lab, self.runner, images, suffix, seed, num)
                if result is not None:
                    results.generators[fold, gan_seed, label] = result

    def train_classifier(self, arm: Arm, fold: int, seed: int) -> None:
        """Train one arm's classifier, if its GANs and its rule leave images to train on."""
        results, name = self.results, name_training(arm, fold, seed)
        generated = self._get_generated(arm, fold, seed)
        if len(generated) < len(results.class_names):
            missing = [n for label, n in enumerate(results.class_names) if label not in generated]
            self.runner.skip("classifier", name, f"no generator of {list_some(missing)}")
            return
        try:
            more = [arm.source.take(r) for r in self._list_requests(arm, fold, seed, generated)]
            images = arm.join(results.folds.get_train(fold), more, results.class_names)
        except UserError as error:
            self.runner.skip("classifier", name, str(error), by_rule=True)
            return
        job = self.lab.create_job(
            name=name,
            train=images,
            test=results.folds.get_test(fold),
            record={
                **self._describe_data(fold),
                "arm": _describe_arm(self.plan, arm, fold, generated),
            },
            is_classic=arm.is_classic,
            seed=seed * SEED_STRIDE + fold,
            explains=results.settings.audit and arm.name == heat.ARM,
            keep_in=self.keep_in,
        )
        done = self.runner.run(job)
        if done is not None:
            self._note_kept(job, arm, fold, seed)
            results.classifiers.setdefault(arm.name, {})[seed, fold] = done
            counts = results.added.setdefault(arm.name, {})
            counts[seed, fold] = [len(images) for images in more]

    def _note_kept(self, job: Job, arm: Arm, fold: int, seed: int) -> None:
        file = f"{job.key}.npz"
        if self.keep_in is not None and (self.keep_in / file).exists():
            self.results.kept.append(Kept(arm.name, fold, seed, file, job.record))

    def train_audits(self) -> None:
        """Train one classifier for each view of the audit and each fold."""
        folds, num_folds = self.results.folds, self.results.settings.num_folds
        for view, fold in itertools.product(audits.CLASSIFIER_VIEWS, range(num_folds)):
            job = self.lab.create_job(
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
                self.results.audit_classifiers.setdefault(view, {})[fold] = done

    def measure_generators(self) -> None:
        """Measure each generator with each ruler that is installed: no other job needs it."""
        results = self.results
        num_failed = self.plan.count_jobs()["generator"] - len(results.generators)
        for ruler in list_rulers():
            self.runner.drop(ruler, num_failed)
            results.fidelity[ruler] = {}
        for ruler, place in itertools.product(list_rulers(), results.generators):
            (fold, seed, label), made = place, results.generators[place]
            train = results.gan_folds.get_train(fold)
            suffix = f"of {results.class_names[label]}, fold {fold + 1}, seed {seed}"
            name = f"quality ({ruler}) {suffix}"
            drawing = describe_drawing(results.settings)
            job = fidelity.create_job(ruler, made, train, label, name=name, drawing=drawing)
            done = self.runner.run(job)
            if done is not None:
                results.fidelity[ruler][place] = fidelity.read_measured(done)

    def _get_generated(self, arm: Arm, fold: int, seed: int) -> dict[int, Result]:
        """Return the GAN's result for each class; empty results if the arm needs no GAN."""
        labels = range(len(self.results.class_names))
        if not arm.needs_generator:
            return {label: {} for label in labels}
        found, gan_seed = self.results.generators, seed % self.results.settings.num_gan_seeds
        keys = {label: (fold, gan_seed, label) for label in labels}
        return {label: found[key] for label, key in keys.items() if key in found}

    def _list_requests(
        self, arm: Arm, fold: int, seed: int, generated: dict[int, Result]
    ) -> Iterator[Request]:
        """Yield an arm's request for images of each class."""
        settings, train = self.results.settings, self.results.folds.get_train(fold)
        added = self.plan.count_added(arm, fold)
        candidates = self.plan.count_candidates(arm, fold)
        for label, class_name in enumerate(self.results.class_names):
            yield Request(
                class_name=class_name,
                label=label,
                real=train.of_class(label),
                num=added[label],
                num_candidates=candidates[label],
                image_size=settings.classifier.image_size,
                threshold=settings.threshold,
                seed=seed,
                gan_seed=seed % settings.num_gan_seeds,
                generated=generated[label],
            )

    def _describe_data(self, fold: int) -> dict[str, Any]:
        return {
            "data": self.results.dataset.fingerprint,
            "train": self.results.folds.hash_train(fold),
            "num_test": len(self.results.folds.get_test(fold)),
        }


def _describe_arm(
    plan: StudyPlan, arm: Arm, fold: int, generated: dict[int, Result]
) -> dict[str, Any]:
    """Return what defines the images that an arm adds."""
    described: dict[str, Any] = {"source": arm.source.name, "amount": arm.amount}
    described["real"] = arm.uses_real
    if arm.needs_generator:
        described["generators"] = [str(result["record"]) for result in generated.values()]
        described["threshold"] = plan.settings.threshold
        described |= describe_drawing(plan.settings)
    if arm.chooses:
        described["candidates"] = plan.count_candidates(arm, fold)
    if arm.has_own_counts:
        described["counts"] = plan.count_added(arm, fold)
    return described
