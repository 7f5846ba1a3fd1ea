"""What a run keeps and shows of one class: its images, looks, kept images and figures.

The run of one class has one of these, that of a class-conditional model one a class.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.core.console import say
from jaxgan.core.errors import list_some
from jaxgan.data.images import as_pixels, read_image
from jaxgan.data.sets import ImageSet
from jaxgan.evaluation.quality import QualityMeter
from jaxgan.gans import two_player
from jaxgan.gans.recipe import create_augment, create_keys, create_networks, create_plan
from jaxgan.ops.pixels import scale_to_bytes, scale_to_unit
from jaxgan.reports import figures
from jaxgan.sampling.kept import KeptImages
from jaxgan.sampling.listing import look_at_epoch_ends
from jaxgan.sampling.sampler import Sampler, Samples, create_sampler, create_scorer, draw_accepted
from jaxgan.sampling.selection import (
    RANKING_RULES,
    accept_by_probability,
    choose_by_rank,
    count_candidates,
    hold_out_for_calibration,
    match_targets,
)
from jaxgan.settings import DcganSettings
from jaxgan.training.loop import Moment
from jaxgan.training.run_folder import RunFolder

GRID_IMAGES = 64
_AUGMENTED_IMAGES = 8
_SCORED_IMAGES = 512  # in the histogram of scores
_SHOWN_IMAGES = 32  # of each kind, real and kept
_WARN_AFTER_EMPTY_LOOKS = (10, 100, 1000)
_LOSING_SCORE = 0.1  # mean D(G(z)) below which D is said to be winning


@dataclass(frozen=True)
class ClassRun:
    """What the hooks and the last acts of a run share, of the class `class_name`.

    `images` are those that the GAN learns from, `held_out` those that calibrate its D.
    """

    settings: DcganSettings
    class_name: str
    images: ImageSet
    held_out: ImageSet
    folder: RunFolder
    kept: KeptImages
    sampler: Sampler
    meter: QualityMeter
    augment_fn: two_player.AugmentFn

    @property
    def threshold(self) -> float | None:
        """What the paper's rules compare with, None for a rule without a threshold."""
        selection = self.settings.selection
        return selection.threshold if selection.rule in ("paper_text", "paper_code") else None


def open_class_run(
    settings: DcganSettings,
    class_name: str,
    images: ImageSet,
    folder: RunFolder,
    *,
    class_names: Sequence[str],
    label: int | None = None,
) -> ClassRun:
    """Return what a run needs of a class with these training images; `label` see `Sampler`.

    `class_names` are all classes of the data.
    """
    learned, held_out = hold_out_for_calibration(
        settings.selection.rule, images, settings.data.split_seed
    )
    if len(held_out):
        say(
            f"{len(held_out)} of the {len(images)} training images of class {class_name} are kept "
            "from the GAN, to calibrate its discriminator with."
        )
    selection = settings.selection
    table = match_targets(class_names, selection.targets)
    meter = QualityMeter(
        learned.images,
        create_networks(settings)[0],
        key=create_keys(settings.seed).latents,
        latent_size=settings.latent_size,
        batch=settings.batch_size,
        label=label,
    )
    return ClassRun(
        settings,
        class_name,
        learned,
        held_out,
        folder,
        kept=KeptImages(
            folder,
            rule=selection.rule,
            target=selection.num_accept or table.get(class_name, len(learned)),
        ),
        sampler=create_sampler(settings, label=label),
        meter=meter,
        augment_fn=jax.jit(create_augment(settings)),
    )


def describe_targets(settings: DcganSettings, class_names: Sequence[str]) -> str | None:
    """Return what has to be said of a table of how many images are kept of each class."""
    selection = settings.selection
    if selection.num_accept or not selection.targets:
        return None
    other = "--num_accept=N keeps N of each class."
    if table := match_targets(class_names, selection.targets):
        counts = list_some(f"{num} of {name}" for name, num in table.items())
        return f"Images are kept in the numbers of config.selection.targets: {counts}. {other}"
    return (
        f"The numbers of config.selection.targets are of the classes "
        f"{list_some(selection.targets)}, and those here are {list_some(class_names)}: as many "
        f"images are kept of a class as it has. {other}"
    )


# While it trains --------------------------------------------------------------------------------


def keep_by_code(run: ClassRun, moment: Moment) -> Mapping[str, float]:
    """Keep what the listing saves at the ends of the epochs since the last dispatch."""
    looks = look_at_epoch_ends(
        create_plan(run.settings, len(run.images)),
        moment.begin,
        moment.step,
        moment.rows,
        threshold=run.settings.selection.threshold,
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


def look(run: ClassRun, empty_looks: "EmptyLooks", moment: Moment) -> Mapping[str, float]:
    """Score one batch of fresh images; keep those that pass, as many as one look may."""
    batch_size = run.sampler.batch_size
    samples = run.sampler.draw(moment.state, moment.epoch * batch_size, batch_size)
    mean_score = float(samples.scores.mean())
    if run.settings.selection.rule in RANKING_RULES:
        return {"score_mean": mean_score, "num_kept": len(run.kept)}
    accepted = samples
    if run.threshold is not None:
        accepted = samples.take(accept_by_probability(samples.scores, run.threshold))
    first = accepted.take(np.arange(len(accepted.seeds)) < run.settings.selection.per_epoch)
    run.kept.add(first.images, seeds=first.seeds, scores=first.scores, epoch=moment.epoch)
    rate = len(accepted.seeds) / batch_size
    empty_looks.note(moment.epoch, rate, mean_score)
    return {"acceptance_rate": rate, "score_mean": mean_score, "num_kept": len(run.kept)}


class EmptyLooks:
    """Says so when look after look keeps nothing: with few images D wins for a long time."""

    def __init__(self, settings: DcganSettings):
        self._threshold = settings.selection.threshold
        self._count = 0

    def note(self, epoch: int, rate: float, mean_score: float) -> None:
        """Take in one look's acceptance rate."""
        self._count = 0 if rate else self._count + 1
        if self._count not in _WARN_AFTER_EMPTY_LOOKS:
            return
        reason = "a healthy discriminator seldom says so of a generated image"
        if mean_score < _LOSING_SCORE:
            reason = "the discriminator is winning, as it does for hundreds of epochs at this size"
        say(
            f"Epoch {epoch}: the last {self._count} looks at generated images found none with "
            f"D(G(z)) >= {self._threshold:g} (now {mean_score:.2f} on average): {reason}. It may "
            "pass; if not, try --config=configs/dcgan.py:small (augmentation keeps D from "
            "winning), a lower --threshold, or --accept=none."
        )


def draw_augmented(run: ClassRun, state: two_player.GanState, images: np.ndarray) -> None:
    """Show what D sees beside what there is: augmentation is on, and must not be in the images."""

    def see(images: np.ndarray) -> np.ndarray:
        keys = jax.random.split(jax.random.key(0), len(images))
        seen = run.augment_fn(scale_to_unit(jnp.asarray(images)), keys, state.augment_strength)
        return np.asarray(scale_to_bytes(seen))

    real, generated = run.images.images[:_AUGMENTED_IMAGES], images[:_AUGMENTED_IMAGES]
    changes = ", ".join(run.settings.augment_policy)
    rows = [
        ("real images", real),
        (f"real images as D sees them: {changes}", see(real)),
        ("generated images as D sees them", see(generated)),
        (
            "generated images: holes, dark edges or shifts here are augmentation that leaks",
            generated,
        ),
    ]
    path = run.folder.get_folder("figures") / "augmented.png"
    strength = float(state.augment_strength)
    title = f"Augmentation, class {run.class_name}, each change with a chance of {strength:.0%}"
    figures.plot_rows(rows, path, title=title)


# At the end -------------------------------------------------------------------------------------


def top_up(run: ClassRun, state: two_player.GanState, epoch: int) -> None:
    """Draw from the generator of `epoch` until the target is reached or the tries are used up.

    The listing keeps images only while it trains, so `paper_code` is not topped up.
    """
    settings, kept, tries = run.settings, run.kept, 0
    if settings.selection.rule != "paper_code":
        samples, tries = _draw_kept(run, state)
        kept.add(
            samples.images,
            seeds=samples.seeds,
            scores=samples.scores,
            epoch=epoch,
            final=True,
        )
    rule = settings.selection.rule
    if not kept.num_missing:
        say(f"Kept {len(kept)} images of class {run.class_name} by rule {rule}.")
        return
    where = f"{tries} tries with the generator of epoch {epoch}"
    more = "launch/sample.py draws any number of this generator's images, by no rule."
    if rule == "paper_code":
        where = f"{settings.num_epochs} epochs, the only moments at which the listing keeps one"
    limit = "" if run.threshold is None else f" at threshold {run.threshold:g}"
    remedy = "a lower --threshold" if limit else "a larger config.selection.max_tries"
    say(
        f"Could not reach {kept.target} images of class {run.class_name} with rule {rule}{limit} "
        f"in {where}: here are {len(kept)}. A run in another --workdir with {remedy} or "
        f"--accept=none keeps more; {more}"
    )


def _draw_kept(run: ClassRun, state: two_player.GanState) -> tuple[Samples, int]:
    """Draw the missing images by the run's rule; return them, and how many were drawn in all."""
    selection, num = run.settings.selection, run.kept.num_missing
    first_seed = (run.settings.num_epochs + 1) * run.sampler.batch_size  # behind all looks'
    if selection.rule not in RANKING_RULES:
        return draw_accepted(
            run.sampler,
            state,
            num=num,
            threshold=run.threshold,
            first_seed=first_seed,
            max_tries=selection.max_tries,
        )
    tries = count_candidates(num, selection.pool, selection.max_tries)
    samples = run.sampler.draw(state, first_seed, tries)
    score = create_scorer(run.settings, label=run.sampler.label)
    chosen = choose_by_rank(
        selection.rule,
        score(state.discriminator, samples.images),
        score(state.discriminator, run.held_out.images),
        num,
        seed=run.settings.seed,
    )
    return samples.take(chosen), tries


def draw_class_figures(run: ClassRun, state: two_player.GanState) -> None:
    """Draw the figures that are of one class: samples, scores, real beside kept, augmentation."""
    path, name = run.folder.get_folder("figures"), f"class {run.class_name}"
    samples = run.sampler.draw(state, 0, _SCORED_IMAGES)
    figures.write_grid(samples.images[:GRID_IMAGES], path / "samples.png")
    if run.settings.diffaugment:
        draw_augmented(run, state, samples.images)
    figures.plot_score_histogram(
        samples.scores,
        path / "scores.png",
        title=f"D's score of generated images, {name}",
        objective=run.settings.objective,
        threshold=run.threshold,
    )
    figures.plot_real_beside_generated(
        run.images.images[:_SHOWN_IMAGES],
        _read_kept(run),
        path / "real_beside_kept.png",
        title=f"Real beside kept generated images, {name}",
    )


def _read_kept(run: ClassRun) -> np.ndarray:
    files = run.kept.get_files()[:_SHOWN_IMAGES]
    images = [as_pixels(read_image(file, run.settings.channels)) for file in files]
    return np.stack(images) if images else run.images.images[:0]
