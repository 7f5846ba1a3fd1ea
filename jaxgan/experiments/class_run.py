"""What a run keeps and shows of one class: its images, checks, kept images and figures.

A run of one class has one `ClassRun`. A run of a class-conditional model has one per class.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.stages import Wrapped

from jaxgan.core.commands import name_command
from jaxgan.core.console import say
from jaxgan.core.errors import list_some
from jaxgan.core.types import Array
from jaxgan.data.images import as_pixels, read_image
from jaxgan.data.sets import ImageSet
from jaxgan.evaluation.quality import QualityMeter
from jaxgan.gans.protocol import Augmentation, Gan, Networks
from jaxgan.ops.pixels import scale_to_bytes, scale_to_unit
from jaxgan.reports import drawing, gan_figures
from jaxgan.sampling.diverse import choose_diverse
from jaxgan.sampling.kept import KeptImages
from jaxgan.sampling.listing import look_at_epoch_ends
from jaxgan.sampling.sampler import Sampler, Samples, draw_accepted
from jaxgan.sampling.selection import (
    accept_by_probability,
    choose_by_rank,
    count_candidates,
    hold_out_for_calibration,
    match_targets,
)
from jaxgan.sampling.settings import SelectionSettings, TrainGanSettings
from jaxgan.training.epochs import EpochPlan
from jaxgan.training.loop import StepInfo
from jaxgan.training.run_folder import RunFolder

GRID_IMAGES = 64
_AUGMENTED_IMAGES = 8
_SCORED_IMAGES = 512  # in the histogram of scores
_SHOWN_IMAGES = 32  # of each kind, real and kept
_WARN_AFTER_EMPTY_LOOKS = (10, 100, 1000)
_LOSING_SCORE = 0.1  # mean D(G(z)) below which D is said to be winning


@dataclass(frozen=True)
class ClassRun:
    """What the hooks and the final steps of a run share for the class `class_name`.

    The GAN learns from `images`; `held_out` calibrate its discriminator.
    """

    settings: TrainGanSettings
    gan: Gan[Any]
    class_name: str
    images: ImageSet
    held_out: ImageSet
    folder: RunFolder
    kept: KeptImages
    sampler: Sampler
    meter: QualityMeter

    @property
    def selection(self) -> SelectionSettings:
        """Which images are kept."""
        return self.settings.selection

    @property
    def final_sampler(self) -> Sampler:
        """The sampler for images of the finished generator, with the run's truncation."""
        return self.sampler.vary(truncation=self.selection.truncation)

    @functools.cached_property
    def augment(self) -> Wrapped:
        """The function from a state and uint8 images to the images that D sees, as bytes."""
        augmentation = self.gan.augmentation
        assert augmentation is not None

        def augment(state: Any, images: Array) -> Array:
            keys = jax.random.split(jax.random.key(0), len(images))
            return scale_to_bytes(augmentation.apply(state, scale_to_unit(images), keys))

        return jax.jit(augment)

    @property
    def meaning(self) -> str | None:
        """How to read a score of D, None if it is a probability."""
        return None if self.gan.to_probability else self.gan.meaning


def open_class_run(
    settings: TrainGanSettings,
    sampler: Sampler,
    class_name: str,
    images: ImageSet,
    folder: RunFolder,
    *,
    class_names: Sequence[str],
) -> ClassRun:
    """Return what a run needs for a class with these training images; `sampler` draws the class.

    `class_names` are all classes of the data.
    """
    selection = settings.selection
    learned, held_out = hold_out_for_calibration(selection.rule, images, settings.data.split_seed)
    if len(held_out):
        say(
            f"The GAN of class {class_name} does not learn from {len(held_out)} of its "
            f"{len(images)} training images: they calibrate its discriminator."
        )
    table = match_targets(class_names, selection.targets)
    target = selection.num_accept or table.get(class_name, len(learned))
    return ClassRun(
        settings,
        sampler.gan,
        class_name,
        learned,
        held_out,
        folder,
        kept=KeptImages(folder, rule=selection.rule, target=target),
        sampler=sampler,
        meter=QualityMeter(learned.images),
    )


def compile_ahead(run: ClassRun, state: Any) -> None:
    """Compile the functions that draw from a state with these shapes and dtypes."""
    run.sampler.compile_ahead(run.gan.get_networks(state))
    if run.gan.augmentation is not None:
        run.augment.lower(state, run.images.images[:_AUGMENTED_IMAGES]).compile()
    drawing.load()


def describe_targets(selection: SelectionSettings, class_names: Sequence[str]) -> str | None:
    """Return a sentence about the table with the number of kept images per class, if it is used."""
    if selection.num_accept or not selection.targets:
        return None
    other = "--num_accept=N keeps N of each class."
    if table := match_targets(class_names, selection.targets):
        counts = list_some(f"{num} of {name}" for name, num in table.items())
        return f"Images are kept in the numbers of config.selection.targets: {counts}. {other}"
    return (
        f"The numbers of config.selection.targets are for the classes "
        f"{list_some(selection.targets)}. The classes here are {list_some(class_names)}: each "
        f"class keeps as many images as it has training images. {other}"
    )


# While it trains --------------------------------------------------------------------------------


def keep_by_code(run: ClassRun, plan: EpochPlan, info: StepInfo) -> Mapping[str, float]:
    """Keep what the listing saves at the ends of the epochs since the last dispatch."""
    looks = look_at_epoch_ends(
        plan, info.begin, info.step, info.rows, threshold=run.selection.threshold
    )
    for look in looks:
        if look.image is not None:
            run.kept.add(
                look.image[None],
                seeds=np.array([look.step]),
                scores=np.array([look.score]),
                epoch=look.epoch,
            )
    rate = float(np.mean([look.image is not None for look in looks]))
    return {"acceptance_rate": rate, "num_kept": len(run.kept)}


def look(run: ClassRun, empty_looks: "EmptyLooks", info: StepInfo) -> Mapping[str, float]:
    """Score one batch of new images; keep those that pass, up to `selection.per_epoch`."""
    batch_size, networks = run.sampler.batch_size, run.gan.get_networks(info.state)
    samples = run.sampler.draw_scored(networks, info.epoch * batch_size, batch_size)
    mean_score = float(samples.scores.mean())
    if run.selection.how.chooses:
        return {"score_mean": mean_score, "num_kept": len(run.kept)}
    accepted, threshold = samples, run.selection.shown_threshold
    if threshold is not None:
        accepted = samples.take(accept_by_probability(samples.scores, threshold))
    first = accepted.take(np.arange(len(accepted.seeds)) < run.selection.per_epoch)
    run.kept.add(first.images, seeds=first.seeds, scores=first.scores, epoch=info.epoch)
    rate = len(accepted.seeds) / batch_size
    empty_looks.note(info.epoch, rate, mean_score)
    return {"acceptance_rate": rate, "score_mean": mean_score, "num_kept": len(run.kept)}


class EmptyLooks:
    """Warns if many checks in a row keep nothing: with few images D wins for a long time."""

    def __init__(self, threshold: float):
        self._threshold = threshold
        self._count = 0

    def note(self, epoch: int, rate: float, mean_score: float) -> None:
        """Record the acceptance rate of one check."""
        self._count = 0 if rate else self._count + 1
        if self._count not in _WARN_AFTER_EMPTY_LOOKS:
            return
        reason = "a healthy discriminator rarely gives a generated image this score"
        if mean_score < _LOSING_SCORE:
            reason = "the discriminator is winning, as it does for hundreds of epochs at this size"
        say(
            f"Epoch {epoch}: the last {self._count} checks of generated images found none with "
            f"D(G(z)) >= {self._threshold:g} (now {mean_score:.2f} on average): {reason}. This may "
            "change later; if not, try --config=configs/dcgan.py:small (augmentation stops D from "
            "winning), a lower --threshold, or --accept=none."
        )


def draw_augmented(
    run: ClassRun, augmentation: Augmentation[Any], state: Any, images: np.ndarray
) -> None:
    """Draw images with and without augmentation: generated images must not show augmentation."""
    real, generated = run.images.images[:_AUGMENTED_IMAGES], images[:_AUGMENTED_IMAGES]
    rows = [
        ("real images", real),
        (
            f"real images as D sees them: {', '.join(augmentation.changes)}",
            np.asarray(run.augment(state, real)),
        ),
        ("generated images as D sees them", np.asarray(run.augment(state, generated))),
        (
            "generated images: holes, dark edges or shifts here mean that augmentation leaks",
            generated,
        ),
    ]
    path = run.folder.get_folder("figures") / "augmented.png"
    strength = augmentation.get_strength(state)
    title = f"Augmentation, class {run.class_name}, each change with a chance of {strength:.0%}"
    drawing.plot_rows(rows, path, title=title)


# At the end -------------------------------------------------------------------------------------


def draw_missing(run: ClassRun, networks: Networks, epoch: int) -> None:
    """Draw from the generator of `epoch` until the target is reached or no tries are left.

    The listing keeps images only during training, so `paper_code` draws none here.
    """
    selection, kept, tries = run.selection, run.kept, 0
    if not selection.how.keeps_batches:
        samples, tries = _draw_kept(run, networks)
        kept.add(
            samples.images,
            seeds=samples.seeds,
            scores=samples.scores,
            epoch=epoch,
            final=True,
        )
    rule = selection.rule
    if not kept.num_missing:
        say(f"Kept {len(kept)} images of class {run.class_name} by rule {rule}.")
        return
    where = f"{tries} tries with the generator of epoch {epoch}"
    more = f"{name_command('sample')} draws any number of this generator's images, without a rule."
    if selection.how.keeps_batches:
        where = f"{run.settings.num_epochs} epochs (the listing keeps at most one image per epoch)"
    threshold = selection.shown_threshold
    limit = "" if threshold is None else f" at threshold {threshold:g}"
    remedy = "a lower --threshold" if limit else "a larger config.selection.max_tries"
    say(
        f"Could not reach {kept.target} images of class {run.class_name} with rule {rule}{limit} "
        f"in {where}: {len(kept)} are kept. A run in another --workdir with {remedy} or "
        f"--accept=none keeps more; {more}"
    )


def _draw_kept(run: ClassRun, networks: Networks) -> tuple[Samples, int]:
    """Draw the missing images by the run's rule; return them and the total number drawn."""
    selection, num = run.selection, run.kept.num_missing
    sampler = run.final_sampler
    first_seed = (run.settings.num_epochs + 1) * sampler.batch_size  # after those of all checks
    if not selection.how.chooses:
        return draw_accepted(
            sampler,
            networks,
            num=num,
            threshold=selection.shown_threshold,
            first_seed=first_seed,
            max_tries=selection.max_tries,
        )
    tries = count_candidates(num, selection.pool, selection.max_tries)
    samples = sampler.draw_scored(networks, first_seed, tries)
    return samples.take(_choose(run, networks, samples.images, num)), tries


def _choose(run: ClassRun, networks: Networks, images: np.ndarray, num: int) -> np.ndarray:
    """Return the indices of at most `num` candidates uint8 [n, h, w, c] that the rule keeps."""
    rule, seed = run.selection.rule, run.settings.seed
    if run.selection.how.spreads:
        return choose_diverse(rule, run.meter.features(images), num, seed=seed)
    return choose_by_rank(
        rule,
        run.sampler.score(networks, images),
        run.sampler.score(networks, run.held_out.images),
        num,
        seed=seed,
    )


def draw_class_figures(run: ClassRun, state: Any) -> None:
    """Draw the figures of one class: samples, scores, real next to kept, augmentation."""
    path, name = run.folder.get_folder("figures"), f"class {run.class_name}"
    samples = run.final_sampler.draw_scored(run.gan.get_networks(state), 0, _SCORED_IMAGES)
    drawing.write_grid(samples.images[:GRID_IMAGES], path / "samples.png")
    if run.gan.augmentation is not None:
        draw_augmented(run, run.gan.augmentation, state, samples.images)
    gan_figures.plot_score_histogram(
        samples.scores,
        path / "scores.png",
        title=f"D's score of generated images, {name}",
        meaning=run.meaning,
        threshold=run.selection.shown_threshold,
    )
    gan_figures.plot_real_beside_generated(
        run.images.images[:_SHOWN_IMAGES],
        _read_kept(run),
        path / "real_beside_kept.png",
        title=f"Real and kept generated images, {name}",
    )


def _read_kept(run: ClassRun) -> np.ndarray:
    files = run.kept.get_files()[:_SHOWN_IMAGES]
    images = [as_pixels(read_image(file, run.images.images.shape[-1])) for file in files]
    return np.stack(images) if images else run.images.images[:0]
