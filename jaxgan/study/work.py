"""The jobs of a study, one after the other: generators and their images, classifiers, audits."""

from collections.abc import Iterator, Sequence
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
    )
    runner = JobRunner(folder, plan.count_jobs())
    if settings.needs_generators:
        _train_generators(results, plan, runner, devices)
    _train_classifiers(results, plan, runner, lab)
    if settings.audit:
        _train_audits(results, runner, lab)
    results.failures.extend(runner.failures)


def _train_generators(
    results: StudyResults, plan: StudyPlan, runner: JobRunner, devices: Sequence[jax.Device]
) -> None:
    settings = results.settings
    lab = GeneratorLab(settings, capacity=plan.compute_gan_capacity(), devices=devices)
    for gan_seed in range(settings.num_gan_seeds):
        for fold in range(settings.num_folds):
            train = results.gan_folds.get_train(fold)
            seed = gan_seed * SEED_STRIDE + fold
            for label, num in enumerate(plan.count_drawn(fold)):
                whose = f"of {results.class_names[label]}, fold {fold + 1}, seed {gan_seed}"
                made = _train_generator(lab, runner, train.of_class(label), whose, seed, num)
                if made is not None:
                    results.generators[fold, gan_seed, label] = made


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


def _train_classifiers(
    results: StudyResults, plan: StudyPlan, runner: JobRunner, lab: ClassifierLab
) -> None:
    for seed in range(results.settings.num_seeds):
        for fold in range(results.settings.num_folds):
            for arm in results.arms:
                _train_classifier(results, plan, runner, lab, (arm, fold, seed))


def _train_classifier(
    results: StudyResults,
    plan: StudyPlan,
    runner: JobRunner,
    lab: ClassifierLab,
    place: tuple[Arm, int, int],
) -> None:
    arm, fold, seed = place
    name = name_training(arm, fold, seed)
    made = _get_made(results, place)
    if len(made) < len(results.class_names):
        missing = [n for label, n in enumerate(results.class_names) if label not in made]
        runner.skip("classifier", name, f"no generator of {list_some(missing)}")
        return
    train = results.folds.get_train(fold)
    try:
        more = [arm.source.take(w) for w in _list_wanted(results, plan, place, made)]
        images = arm.join(train, more, results.class_names)
    except UserError as error:
        runner.skip("classifier", name, str(error), by_rule=True)
        return
    described = _describe_arm(plan, arm, fold, made)
    job = lab.create_job(
        name=name,
        train=images,
        test=results.folds.get_test(fold),
        record={**_describe_data(results, fold), "arm": described},
        is_classic=arm.is_classic,
        seed=seed * SEED_STRIDE + fold,
    )
    done = runner.run(job)
    if done is not None:
        results.classifiers.setdefault(arm.name, {})[seed, fold] = done
        counts = results.added.setdefault(arm.name, {})
        counts[seed, fold] = [len(images) for images in more]


def _get_made(results: StudyResults, place: tuple[Arm, int, int]) -> dict[int, Result]:
    """Return what the GAN of each class has left for an arm; of one without, what is empty."""
    arm, fold, seed = place
    labels = range(len(results.class_names))
    if not arm.needs_generator:
        return {label: {} for label in labels}
    gan_seed = seed % results.settings.num_gan_seeds
    places = {label: (fold, gan_seed, label) for label in labels}
    return {n: results.generators[p] for n, p in places.items() if p in results.generators}


def _list_wanted(
    results: StudyResults,
    plan: StudyPlan,
    place: tuple[Arm, int, int],
    made: dict[int, Result],
) -> Iterator[Wanted]:
    """Yield what an arm wants of each class: `amount` images for every real one, or fewer."""
    (arm, fold, seed), settings = place, results.settings
    train = results.folds.get_train(fold)
    added, candidates = plan.count_added(arm, fold), plan.count_candidates(arm, fold)
    for label, class_name in enumerate(results.class_names):
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


def _describe_data(results: StudyResults, fold: int) -> dict[str, Any]:
    return {
        "data": results.dataset.fingerprint,
        "train": results.folds.hash_train(fold),
        "num_test": len(results.folds.get_test(fold)),
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


def _train_audits(results: StudyResults, runner: JobRunner, lab: ClassifierLab) -> None:
    """Train the classifier on what each view of the audit shows."""
    for view in audits.CLASSIFIER_VIEWS:
        for fold in range(results.settings.num_folds):
            job = lab.create_job(
                name=f"audit: {view}, fold {fold + 1}",
                train=audits.mask_set(results.folds.get_train(fold), view),
                test=audits.mask_set(results.folds.get_test(fold), view),
                record={**_describe_data(results, fold), "view": view},
                is_classic=False,
                seed=fold,
                kind="audit",
            )
            done = runner.run(job)
            if done is not None:
                results.audit_classifiers.setdefault(view, {})[fold] = done
