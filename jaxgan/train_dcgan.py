"""Train one DCGAN on the images of one class, and keep the images that a rule accepts."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan import figures, gan
from jaxgan.console import Progress, say
from jaxgan.data.feed import create_feed
from jaxgan.data.images import as_pixels, read_image
from jaxgan.data.sets import Dataset, ImageSet
from jaxgan.data.split import hold_out
from jaxgan.dcgan import (
    create_augment,
    create_keys,
    create_networks,
    create_schedule,
    create_state,
    create_step,
)
from jaxgan.distributed import check_alike, leads, share
from jaxgan.errors import UserError
from jaxgan.files import write_json
from jaxgan.kept import KeptImages
from jaxgan.loop import Hook, Moment, run_loop
from jaxgan.parallel import Dispatcher, check_batch_size, choose_devices
from jaxgan.pixels import scale_to_bytes, scale_to_unit, stretch_to_bytes
from jaxgan.quality import QualityMeter, summarise
from jaxgan.run_folder import RunFolder, open_run_folder, read_metrics
from jaxgan.sampling import (
    Sampler,
    Samples,
    create_sampler,
    create_scorer,
    draw_accepted,
    open_checkpoints,
)
from jaxgan.selection import (
    MIN_HELD_OUT,
    RANKING_RULES,
    accept_by_batch_loss,
    accept_by_probability,
    check_calibrating,
    choose_by_rank,
    count_candidates,
)
from jaxgan.settings import DcganSettings, to_dict

_GRID_IMAGES = 64
_AUGMENTED_IMAGES = 8
_SCORED_IMAGES = 512  # in the histogram of scores
_SHOWN_IMAGES = 32  # of each kind, real and kept
_WARN_AFTER_EMPTY_LOOKS = (10, 100, 1000)
_CALIBRATING = 0.1  # of a class's training images, by patient
_LOSING_SCORE = 0.1  # mean D(G(z)) below which D is said to be winning


def describe_run(settings: DcganSettings, dataset: Dataset, class_name: str) -> dict[str, Any]:
    """Return what defines a run, as its `config.json` records it."""
    return {
        "kind": "dcgan",
        "class": class_name,
        "data": dataset.describe(),
        "settings": to_dict(settings),
    }


def check_class(dataset: Dataset, class_name: str) -> ImageSet:
    """Return the training images of a class."""
    if class_name not in dataset.class_names:
        raise UserError(
            f"There is no class {class_name!r} in {dataset.name}: "
            f"the classes are {', '.join(dataset.class_names)} (or all of them: --class=all)."
        )
    return dataset.train.of_class(dataset.class_names.index(class_name))


@dataclass(frozen=True)
class _Run:
    """What the hooks and the last acts of a run share."""

    settings: DcganSettings
    class_name: str
    images: ImageSet
    held_out: ImageSet
    folder: RunFolder
    kept: KeptImages
    sampler: Sampler
    meter: QualityMeter
    augment_fn: gan.AugmentFn

    @property
    def threshold(self) -> float | None:
        """What the paper's rules compare with, None for a rule without a threshold."""
        selection = self.settings.selection
        return selection.threshold if selection.rule in ("paper_text", "paper_code") else None


def train_dcgan(
    settings: DcganSettings,
    *,
    dataset: Dataset,
    class_name: str,
    workdir: Path,
    num_devices: int = 0,
) -> None:
    """Train the DCGAN of one class in `workdir`/`class_name`, from where an earlier call stopped.

    Leaves checkpoints, metrics, sample grids, kept images and figures; see the README's map.
    """
    images, held_out = _hold_out(settings, dataset, class_name)
    devices = choose_devices(num_devices)
    check_batch_size(settings.batch_size, len(devices))
    record = describe_run(settings, dataset, class_name)
    check_alike(record)
    with open_run_folder(workdir / class_name, record) as folder:
        _train(settings, images, held_out, class_name, folder, devices)


def _train(
    settings: DcganSettings,
    images: ImageSet,
    held_out: ImageSet,
    class_name: str,
    folder: RunFolder,
    devices: Sequence[jax.Device],
) -> None:
    if share(folder.is_finished(settings.num_epochs)):
        say(folder.describe_finished(settings.num_epochs))
        return
    selection = settings.selection
    target = selection.num_accept or selection.targets.get(class_name, len(images))
    kept = KeptImages(folder, rule=selection.rule, target=target)
    keys = create_keys(settings.seed)
    meter = QualityMeter(
        images.images,
        create_networks(settings)[0],
        key=keys.latents,
        latent_size=settings.latent_size,
        batch=settings.batch_size,
    )
    run = _Run(
        settings,
        class_name,
        images,
        held_out,
        folder,
        kept,
        sampler=create_sampler(settings),
        meter=meter,
        augment_fn=jax.jit(create_augment(settings)),
    )
    schedule = create_schedule(settings, len(images))
    resident_bytes = settings.data.resident_bytes
    dispatcher = Dispatcher(
        functools.partial(create_step, settings),
        create_feed(images, keys.data, schedule, devices, resident_bytes=resident_bytes),
        keys.steps,
        devices=devices,
        max_steps=schedule.max_steps,
    )
    say(
        f"Training a DCGAN on the {len(images)} training images of class {class_name}: "
        f"{settings.num_epochs} epochs, {schedule.num_steps} steps of {settings.batch_size} "
        f"on {len(devices)} {devices[0].platform} device(s), in {folder.path}."
    )
    with open_checkpoints(folder.path, folder.record) as checkpoints:
        step, state = share(checkpoints.resume(create_state(settings, keys.init)))
        start_epoch = schedule.compute_epoch(step)
        folder.rewind(step)
        kept.rewind(start_epoch)
        with Progress(
            class_name,
            num_epochs=settings.num_epochs,
            num_examples=len(images),
            start_epoch=start_epoch,
        ) as progress:
            state = run_loop(
                state,
                start_step=step,
                schedule=schedule,
                dispatcher=dispatcher,
                hooks=_create_hooks(run) if leads() else [],
                folder=folder,
                checkpoints=checkpoints,
                checkpoint_every_epochs=settings.checkpoint_every_epochs,
                checkpoint_every_seconds=settings.checkpoint_every_seconds,
                progress=progress,
            )
        if not leads():
            return
        checkpoints.wait()
        best = checkpoints.best_step if settings.select_checkpoint == "best" else None
        if best is not None:
            state = checkpoints.restore(best, state)
    epoch = schedule.compute_epoch(schedule.num_steps if best is None else best)
    _top_up(run, state, epoch)
    _draw_figures(run, state)
    _report_quality(run, epoch)
    folder.finish(settings.num_epochs)
    say(f"Done: look at {folder.path / 'figures' / 'samples.png'}.")


def _hold_out(
    settings: DcganSettings, dataset: Dataset, class_name: str
) -> tuple[ImageSet, ImageSet]:
    """Return what the class's GAN learns from, and real images to calibrate D with.

    Those come out of the training images: the validation images judge the classifier that the kept
    images go to, and have no part in choosing them.
    """
    images = check_class(dataset, class_name)
    if settings.selection.rule != "calibrated":
        return images, images.take(np.arange(0))
    share = max(_CALIBRATING, MIN_HELD_OUT / len(images))
    learned, held_out = hold_out(images, min(share, 0.5), settings.data.split_seed)
    check_calibrating(len(held_out))
    say(
        f"{len(held_out)} of the {len(images)} training images of class {class_name} are kept "
        "from the GAN, to calibrate its discriminator with."
    )
    return learned, held_out


def _create_hooks(run: _Run) -> list[Hook]:
    sample = Hook(run.settings.sample_every_epochs, functools.partial(_write_samples, run))
    every = run.settings.measure_every_epochs
    measure = Hook(every, functools.partial(_measure, run), saves=True)
    if run.settings.selection.rule == "paper_code":
        return [Hook(1, functools.partial(_keep_by_code, run)), sample, measure]
    look = functools.partial(_look, run, _EmptyLooks(run.settings))
    return [Hook(run.settings.look_every_epochs, look), sample, measure]


def _measure(run: _Run, moment: Moment) -> Mapping[str, float]:
    return run.meter.measure(moment.state.sampling_variables)


def _write_samples(run: _Run, moment: Moment) -> Mapping[str, float]:
    images = run.sampler.draw(moment.state, 0, _GRID_IMAGES).images
    figures.write_grid(images, run.folder.get_folder("samples") / f"epoch_{moment.epoch:05d}.png")
    if run.settings.diffaugment:
        _draw_augmented(run, moment.state, images)
    return {}


def _keep_by_code(run: _Run, moment: Moment) -> Mapping[str, float]:
    """Do what the listing does at the end of an epoch: test the batch, save its first image."""
    metrics = moment.metrics
    accepted = accept_by_batch_loss(
        fake_loss=float(metrics["loss_d_fake"]),
        real_loss=float(metrics["loss_d_real"]),
        threshold=run.settings.selection.threshold,
    )
    if accepted:
        run.kept.add(
            np.asarray(stretch_to_bytes(metrics["first_fake"]))[None],
            seeds=np.array([moment.step]),
            scores=np.array([metrics["d_fake"]]),
            epoch=moment.epoch,
        )
    return {"acceptance_rate": float(accepted), "num_kept": len(run.kept)}


def _look(run: _Run, empty_looks: "_EmptyLooks", moment: Moment) -> Mapping[str, float]:
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


class _EmptyLooks:
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


def _top_up(run: _Run, state: gan.GanState, epoch: int) -> None:
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
        say(f"Kept {len(kept)} images by rule {rule}.")
        return
    where = f"{tries} tries with the finished generator"
    if rule == "paper_code":
        where = f"{settings.num_epochs} epochs, the only moments at which the listing keeps one"
    limit = "" if run.threshold is None else f" at threshold {run.threshold:g}"
    say(
        f"Could not reach {kept.target} images with rule {rule}{limit} in "
        f"{where}: here are {len(kept)}. A lower --threshold or --accept=none gives more."
    )


def _draw_kept(run: _Run, state: gan.GanState) -> tuple[Samples, int]:
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
    samples, score = run.sampler.draw(state, first_seed, tries), create_scorer(run.settings)
    chosen = choose_by_rank(
        selection.rule,
        score(state.discriminator, samples.images),
        score(state.discriminator, run.held_out.images),
        num,
        seed=run.settings.seed,
    )
    return samples.take(chosen), tries


def _draw_figures(run: _Run, state: gan.GanState) -> None:
    """Draw the figures from what the run has written and from its last state."""
    path = run.folder.get_folder("figures")
    records = read_metrics(run.folder.path)
    selection, name = run.settings.selection, f"class {run.class_name}"
    samples = run.sampler.draw(state, 0, _SCORED_IMAGES)
    figures.write_grid(samples.images[:_GRID_IMAGES], path / "samples.png")
    if run.settings.diffaugment:
        _draw_augmented(run, state, samples.images)
    figures.plot_gan_losses(records, path / "losses.png", title=f"DCGAN, {name}")
    figures.plot_acceptance(
        records,
        path / "acceptance.png",
        title=f"Acceptance, {name}",
        rule=selection.rule,
        threshold=run.threshold,
    )
    figures.plot_score_histogram(
        samples.scores,
        path / "scores.png",
        title=f"D's score of generated images, {name}",
        threshold=run.threshold,
    )
    figures.plot_real_beside_generated(
        run.images.images[:_SHOWN_IMAGES],
        _read_kept(run),
        path / "real_beside_kept.png",
        title=f"Real beside kept generated images, {name}",
    )


def _draw_augmented(run: _Run, state: gan.GanState, images: np.ndarray) -> None:
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


def _report_quality(run: _Run, selected_epoch: int) -> None:
    """Write what the measurements say of the run; say where it has collapsed."""
    records = read_metrics(run.folder.path)
    report = summarise(records, floor=run.meter.compute_floor(), selected_epoch=selected_epoch)
    if report is None:
        return
    write_json(run.folder.path / "report.json", report)
    figures.plot_quality(
        records,
        run.folder.get_folder("figures") / "metric.png",
        title=f"Distance to the real images, class {run.class_name}",
        report=report,
    )
    say(
        f"Images are drawn from the generator of epoch {selected_epoch}; the nearest to the real "
        f"images was that of epoch {report['best']['epoch']}."
    )
    if report["collapse"]:
        say(report["collapse"])


def _read_kept(run: _Run) -> np.ndarray:
    files = run.kept.get_files()[:_SHOWN_IMAGES]
    images = [as_pixels(read_image(file, run.settings.channels)) for file in files]
    return np.stack(images) if images else run.images.images[:0]
