"""Images from a generator: while it trains, and from the folder of a run."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan import figures, gan
from jaxgan.checkpoint import Checkpoints
from jaxgan.console import say
from jaxgan.data.images import write_png
from jaxgan.dcgan import create_keys, create_networks, create_state
from jaxgan.errors import UserError
from jaxgan.files import make_folder
from jaxgan.losses import OBJECTIVES
from jaxgan.pixels import scale_to_bytes, scale_to_unit
from jaxgan.quality import METRIC
from jaxgan.run_folder import check_same_fields, read_record
from jaxgan.seeds import NUM_SEEDS, check_latents
from jaxgan.selection import accept_by_probability
from jaxgan.settings import DcganSettings, check_probability, read_settings
from jaxgan.types import Array, Key

ALL_CLASSES = "all"  # the folder of a class-conditional model, beside those of its classes


@dataclass(frozen=True)
class Sampler:
    """Draw images of a generator, with D's scores, always in batches of one size.

    D is in training mode (see `gan.sample`): a score depends on the batch it is computed in, hence
    on its size, which is the training's. Of a class-conditional generator the images are of class
    `label`.
    """

    run: Callable[..., tuple[Array, Array]]
    key: Key
    latent_size: int
    batch_size: int
    label: int | None = None

    def draw(self, state: gan.GanState, first_seed: int, num: int) -> "Samples":
        """Return images of the latents `first_seed`, `first_seed` + 1, ...

        Raises `UserError` where there are not so many (`jaxgan.seeds`).
        """
        check_latents(first_seed, num)
        seeds = np.arange(first_seed, first_seed + num)
        # At least one batch, so that no images at all have their shape too.
        starts = range(first_seed, first_seed + max(num, 1), self.batch_size)
        parts = [self._draw_batch(state, start) for start in starts]
        images, scores = (np.concatenate(part)[:num] for part in zip(*parts, strict=True))
        return Samples(images, scores, seeds)

    def _draw_batch(self, state: gan.GanState, first_seed: int) -> tuple[np.ndarray, np.ndarray]:
        # What fills up the last batch may wrap around.
        seeds = jnp.asarray((np.arange(self.batch_size) + first_seed) % NUM_SEEDS, jnp.uint32)
        latents = gan.draw_latents(self.key, seeds, self.latent_size)
        labels = None if self.label is None else jnp.full(self.batch_size, self.label)
        images, scores = self.run(state.sampling_variables, state.discriminator, latents, labels)
        return np.asarray(scale_to_bytes(images)), np.asarray(scores)


@dataclass(frozen=True)
class Samples:
    """Images uint8 [num, h, w, c], D's score of each [num] and the seed of each [num]."""

    images: np.ndarray
    scores: np.ndarray
    seeds: np.ndarray

    def take(self, mask: np.ndarray) -> "Samples":
        """Return those where `mask` [num] is true, or those at these indices."""
        return Samples(self.images[mask], self.scores[mask], self.seeds[mask])

    def join(self, other: "Samples") -> "Samples":
        """Return these and then the others."""
        return Samples(
            np.concatenate([self.images, other.images]),
            np.concatenate([self.scores, other.scores]),
            np.concatenate([self.seeds, other.seeds]),
        )


def open_checkpoints(run: Path, record: Mapping[str, Any] | None = None) -> Checkpoints:
    """Open the checkpoints of the run in folder `run`: the newest, and the best where measured.

    A training gives the run's `record`, see `Checkpoints`.
    """
    return Checkpoints(run / "checkpoints", best_metric=METRIC, lowest_is_best=True, record=record)


def create_sampler(settings: DcganSettings, *, label: int | None = None) -> Sampler:
    """Return the run's sampler, of class `label` where the run is class-conditional."""
    generator, discriminator = create_networks(settings)
    run = jax.jit(
        functools.partial(
            gan.sample,
            generator=generator,
            discriminator_module=discriminator,
            objective=OBJECTIVES[settings.objective],
        )
    )
    key = create_keys(settings.seed).latents
    return Sampler(run, key, settings.latent_size, settings.batch_size, label)


def create_scorer(
    settings: DcganSettings, *, label: int | None = None
) -> Callable[[gan.NetworkState, np.ndarray], np.ndarray]:
    """Return (D, uint8 images [num, h, w, c]) -> D's logits [num], of each image alone.

    By D's running statistics: unlike the paper's scores these do not depend on the neighbours.
    """
    module = create_networks(settings)[1]
    size = settings.batch_size

    @jax.jit
    def compute(discriminator: gan.NetworkState, images: Array) -> Array:
        labels = None if label is None else jnp.full(len(images), label)
        logits: Any = module.apply(
            discriminator.variables, scale_to_unit(images), labels, train=False
        )
        return logits

    def score(discriminator: gan.NetworkState, images: np.ndarray) -> np.ndarray:
        parts = [np.zeros(0, np.float32)]
        for begin in range(0, len(images), size):
            part = images[begin : begin + size]
            padding = [(0, size - len(part)), (0, 0), (0, 0), (0, 0)]
            parts.append(np.asarray(compute(discriminator, np.pad(part, padding)))[: len(part)])
        return np.concatenate(parts)

    return score


def draw_accepted(
    sampler: Sampler,
    state: gan.GanState,
    *,
    num: int,
    threshold: float | None,
    first_seed: int,
    max_tries: int,
) -> tuple[Samples, int]:
    """Draw until `num` images have D(G(z)) >= `threshold` (None: all have), at most `max_tries`.

    Returns what was found, possibly fewer, and how many were tried.
    """
    found = sampler.draw(state, first_seed, 0)
    tries = 0
    while len(found.seeds) < num and tries < max_tries:
        samples = sampler.draw(state, first_seed + tries, sampler.batch_size)
        tries += sampler.batch_size
        if threshold is not None:
            samples = samples.take(accept_by_probability(samples.scores, threshold))
        found = found.join(samples)
    return found.take(np.arange(len(found.seeds)) < num), tries


def sample_run(
    run: Path,
    out: Path,
    *,
    num: int,
    checkpoint: str | None = None,
    threshold: float | None = None,
    seed: int = 0,
    max_tries: int = 20_000,
) -> None:
    """Write `num` images of the run in folder `run` to `out`, one PNG each, and a grid of them.

    `checkpoint` is "best" or "newest"; None: as the run's settings say. With `threshold`, only
    images with D(G(z)) of at least that are written.
    """
    if num < 1:
        raise UserError(f"--num is {num}, expected 1 or more.")
    settings, state, label = restore_run(run, checkpoint)
    if threshold is not None:
        check_probability("--accept=paper_text", settings.objective)
    samples, tries = draw_accepted(
        create_sampler(settings, label=label),
        state,
        num=num,
        threshold=threshold,
        first_seed=seed,
        max_tries=max_tries,
    )
    make_folder(out)
    for image, image_seed in zip(samples.images, samples.seeds, strict=True):
        write_png(image, out / f"seed_{image_seed:07d}.png", generated=True)
    if len(samples.seeds) < num:
        say(
            f"Could not reach {num} images with D(G(z)) >= {threshold:g} in {tries} tries: here "
            f"are {len(samples.seeds)}. A lower --threshold or --accept=none gives more."
        )
    if len(samples.seeds):
        figures.write_grid(samples.images, out / "grid.png")
        say(f"Wrote {len(samples.seeds)} images and grid.png to {out}.")


def draw_from_run(run: Path, *, num: int, checkpoint: str | None = None, seed: int = 0) -> Samples:
    """Return `num` images of the run in folder `run`, whatever D says of them."""
    settings, state, label = restore_run(run, checkpoint)
    return create_sampler(settings, label=label).draw(state, seed, num)


def read_run_settings(run: Path) -> DcganSettings:
    """Return the settings of the run in folder `run`, which say how its data were made too."""
    record = read_record(run)
    if record.get("kind") != "dcgan":
        raise UserError(f"{run} is a run of {record.get('kind')}: expected one of train_dcgan.")
    noted, fields = record["settings"], dataclasses.fields(DcganSettings)
    # A field that came later has a default, and may be absent.
    known = [f.name for f in fields if f.default is MISSING or f.name in noted]
    check_same_fields(run, noted, known)
    return read_settings(DcganSettings, noted)


class RestoredRun(NamedTuple):
    """The settings of a run, a state of it, and the class that a class-conditional one is to draw.

    `label` is None for the run of one class.
    """

    settings: DcganSettings
    state: gan.GanState
    label: int | None


def restore_run(run: Path, checkpoint: str | None = None) -> RestoredRun:
    """Return the run in folder `run` at its best or newest state.

    `checkpoint` is "best" or "newest"; None: as the settings say. Newest where nothing was
    measured.
    """
    settings = read_run_settings(run)
    label = read_record(run).get("label")
    if settings.num_classes and label is None:
        raise UserError(
            f"{run} is the run of a model of all classes: name one of them, as --class=NAME."
        )
    template = create_state(settings, create_keys(settings.seed).init)
    with open_checkpoints(find_model(run)) as checkpoints:
        step = checkpoints.newest_step
        if (checkpoint or settings.select_checkpoint) == "best":
            step = checkpoints.best_step or step
        if step is None:
            raise UserError(f"{run} has no checkpoint yet: let its training run a while first.")
        return RestoredRun(settings, checkpoints.restore(step, template), label)


def find_model(run: Path) -> Path:
    """Return the folder whose checkpoints draw the images of `run`.

    That of the model of all classes where `run` is one class's part of it.
    """
    return run.parent / ALL_CLASSES if read_record(run).get("label") is not None else run


def has_checkpoints(run: Path) -> bool:
    """Whether images can be drawn from the folder `run`, which need not be there."""
    return (run / "config.json").exists() and (find_model(run) / "checkpoints").is_dir()
