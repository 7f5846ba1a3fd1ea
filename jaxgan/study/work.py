"""The jobs of a study, one after the other: generators and their images, classifiers, audits."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax

from jaxgan.core.errors import UserError, list_some
from jaxgan.data.sets import ImageSet
from jaxgan.devices.parallel import check_batch_size, choose_devices
from jaxgan.study import audit as audits
from jaxgan.study.added import Wanted
from jaxgan.study.arms import Arm
from jaxgan.study.classifiers import ClassifierLab
from jaxgan.study.generators import GeneratorLab, join_made
from jaxgan.study.plan import StudyPlan
from jaxgan.study.results import StudyResults, name_training
from jaxgan.study.settings import SEED_STRIDE
from jaxgan.training.jobs import JobRunner, Result


def do_jobs(results: StudyResults, folder: Path, num_devices: int) -> None:
    """Do all jobs that have left nothing in `folder` yet, and join what all have to `results`.

    The first seed of every arm comes before the second of any.
    """
    settings, devices = results.settings, choose_devices(num_devices)
    check_batch_size(settings.batch_size, len(devices))
    plan = StudyPlan(settings, results.arms, results.class_names, results.folds)
    if settings.needs_generators:
        check_batch_size(settings.gan_batch_size, len(devices))
    lab = ClassifierLab(  # before the generators are trained: it may refuse the settings
        settings,
        num_classes=len(results.class_names),
        capacity=plan.compute_classifier_capacity(),
        devices=devices,
        epoch_images=plan.count_real(),
    )
    runner = JobRunner(folder, plan.count_jobs())
    work = _Work(results, plan, runner, lab)
    if settings.needs_generators:
        work.train_generators(devices)
    for seed, fold in itertools.product(range(settings.num_seeds), range(settings.num_folds)):
        for arm in results.arms:
            work.train_classifier(arm, fold, seed)
    if settings.audit:
        work.train_audits()
    results.failures.extend(runner.failures)


def _train_generator(
    lab: GeneratorLab, runner: JobRunner, images: ImageSet, whose: str, seed: int, num: int
) -> Result | None:
    """Train a GAN on the images of a class and draw `num` of its own; None where that failed."""
    trained = runner.run(lab.create_job(images, name=f"generator {whose}", seed=seed))
    if trained is None:
        runner.skip("images", f"images {whose}", "its generator failed")
        return None
    drawn = runner.run(lab.create_drawing(trained, name=f"images {whose}", seed=seed, num=num))
    return None if drawn is None else join_made(trained, drawn)


@dataclass(frozen=True)
class _Work:
    """What is done, by which plan, and what does it; `results` take in what the jobs leave."""

    results: StudyResults
    plan: StudyPlan
    runner: JobRunner
    lab: ClassifierLab

    def train_generators(self, devices: Sequence[jax.Device]) -> None:
        """Train a GAN on every fold's images of every class."""
        results, settings = self.results, self.results.settings
        lab = GeneratorLab(settings, capacity=self.plan.compute_gan_capacity(), devices=devices)
        places = itertools.product(range(settings.num_gan_seeds), range(settings.num_folds))
        for gan_seed, fold in places:
            train = results.gan_folds.get_train(fold)
            seed = gan_seed * SEED_STRIDE + fold
            for label, num in enumerate(self.plan.count_drawn(fold)):
                whose = f"of {results.class_names[label]}, fold {fold + 1}, seed {gan_seed}"
                made = _train_generator(lab, self.runner, train.of_class(label), whose, seed, num)
                if made is not None:
                    results.generators[fold, gan_seed, label] = made

    def train_classifier(self, arm: Arm, fold: int, seed: int) -> None:
        """Train one arm's classifier, where its GANs and its rule leave something to train on."""
        results, name = self.results, name_training(arm, fold, seed)
        made = self._get_made(arm, fold, seed)
        if len(made) < len(results.class_names):
            missing = [n for label, n in enumerate(results.class_names) if label not in made]
            self.runner.skip("classifier", name, f"no generator of {list_some(missing)}")
            return
        try:
            more = [arm.source.take(wanted) for wanted in self._list_wanted(arm, fold, seed, made)]
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
                "arm": _describe_arm(self.plan, arm, fold, made),
            },
            is_classic=arm.is_classic,
            seed=seed * SEED_STRIDE + fold,
        )
        done = self.runner.run(job)
        if done is not None:
            results.classifiers.setdefault(arm.name, {})[seed, fold] = done
            counts = results.added.setdefault(arm.name, {})
            counts[seed, fold] = [len(images) for images in more]

    def train_audits(self) -> None:
        """Train the classifier on what each view of the audit shows."""
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

    def _get_made(self, arm: Arm, fold: int, seed: int) -> dict[int, Result]:
        """Return what the GAN of each class has left for an arm; of one without, what is empty."""
        labels = range(len(self.results.class_names))
        if not arm.needs_generator:
            return {label: {} for label in labels}
        found, gan_seed = self.results.generators, seed % self.results.settings.num_gan_seeds
        places = {label: (fold, gan_seed, label) for label in labels}
        return {label: found[place] for label, place in places.items() if place in found}

    def _list_wanted(
        self, arm: Arm, fold: int, seed: int, made: dict[int, Result]
    ) -> Iterator[Wanted]:
        """Yield what an arm wants of each class: `amount` images for every real one, or fewer."""
        settings, train = self.results.settings, self.results.folds.get_train(fold)
        added = self.plan.count_added(arm, fold)
        candidates = self.plan.count_candidates(arm, fold)
        for label, class_name in enumerate(self.results.class_names):
            yield Wanted(
                class_name=class_name,
                label=label,
                real=train.of_class(label),
                num=added[label],
                num_candidates=candidates[label],
                image_size=settings.classifier.image_size,
                threshold=settings.threshold,
                seed=seed,
                gan_seed=seed % settings.num_gan_seeds,
                made=made[label],
            )

    def _describe_data(self, fold: int) -> dict[str, Any]:
        return {
            "data": self.results.dataset.fingerprint,
            "train": self.results.folds.hash_train(fold),
            "num_test": len(self.results.folds.get_test(fold)),
        }


def _describe_arm(plan: StudyPlan, arm: Arm, fold: int, made: dict[int, Result]) -> dict[str, Any]:
    """Return what defines the images that an arm adds."""
    described: dict[str, Any] = {"source": arm.source.name, "amount": arm.amount}
    described["real"] = arm.uses_real
    if arm.needs_generator:
        described["generators"] = [str(result["record"]) for result in made.values()]
        described["threshold"] = plan.settings.threshold
    if arm.chooses:
        described["candidates"] = plan.count_candidates(arm, fold)
    if arm.has_own_counts:
        described["counts"] = plan.count_added(arm, fold)
    return described
