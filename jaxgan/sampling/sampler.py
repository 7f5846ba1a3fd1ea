"""Images from a generator: while it trains, and from the folder of a run."""

import dataclasses
import functools
import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.core.console import say
from jaxgan.core.errors import UserError, list_some
from jaxgan.core.files import make_folder, write_json
from jaxgan.core.seeds import NUM_SEEDS, check_latents
from jaxgan.core.types import Array, Key
from jaxgan.core.untrusted import printable
from jaxgan.data.folder import ENDINGS
from jaxgan.data.images import write_png
from jaxgan.gans import two_player
from jaxgan.gans.objectives import OBJECTIVES
from jaxgan.gans.recipe import create_keys, create_networks, create_state
from jaxgan.metrics.kernel_distance import METRIC
from jaxgan.networks.state import NetworkState
from jaxgan.ops.pixels import scale_to_bytes, scale_to_unit
from jaxgan.reports import figures
from jaxgan.sampling.selection import accept_by_probability
from jaxgan.settings import DcganSettings, check_probability, read_settings
from jaxgan.training.checkpoint import Checkpoints
from jaxgan.training.run_folder import check_same_fields, read_metrics, read_record

ALL_CLASSES = "all"  # the folder of a class-conditional model, beside those of its classes
SHEET_IMAGES = 256
_NOTE = "samples.json"  # which generator the images of a folder are of
_PART = 1024  # images drawn before they are written


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

    def draw(self, state: two_player.GanState, first_seed: int, num: int) -> "Samples":
        """Return images of the latents `first_seed`, `first_seed` + 1, ...

        Raises `UserError` where there are not so many (`jaxgan.core.seeds`).
        """
        check_latents(first_seed, num)
        seeds = np.arange(first_seed, first_seed + num)
        # At least one batch, so that no images at all have their shape too.
        starts = range(first_seed, first_seed + max(num, 1), self.batch_size)
        parts = [self._draw_batch(state, start) for start in starts]
        images, scores = (np.concatenate(part)[:num] for part in zip(*parts, strict=True))
        return Samples(images, scores, seeds)

    def _draw_batch(
        self, state: two_player.GanState, first_seed: int
    ) -> tuple[np.ndarray, np.ndarray]:
        # What fills up the last batch may wrap around.
        seeds = jnp.asarray((np.arange(self.batch_size) + first_seed) % NUM_SEEDS, jnp.uint32)
        latents = two_player.draw_latents(self.key, seeds, self.latent_size)
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


def join_samples(parts: Sequence[Samples]) -> Samples:
    """Return several draws, one at least, as one."""
    images, scores, seeds = zip(*((s.images, s.scores, s.seeds) for s in parts), strict=True)
    return Samples(np.concatenate(images), np.concatenate(scores), np.concatenate(seeds))


def open_checkpoints(run: Path, record: Mapping[str, Any]) -> Checkpoints:
    """Open the checkpoints of a training in folder `run`: the newest, and the best if measured."""
    return Checkpoints(run / "checkpoints", best_metric=METRIC, lowest_is_best=True, record=record)


def read_checkpoints(run: Path) -> Checkpoints:
    """Open the same ones to read from: nothing is written, and `run` may have none."""
    return Checkpoints(
        run / "checkpoints",
        best_metric=METRIC,
        lowest_is_best=True,
        record=read_record(run),
        read_only=True,
    )


def create_sampler(settings: DcganSettings, *, label: int | None = None) -> Sampler:
    """Return the run's sampler, of class `label` where the run is class-conditional."""
    generator, discriminator = create_networks(settings)
    run = jax.jit(
        functools.partial(
            two_player.sample,
            generator=generator,
            discriminator_module=discriminator,
            objective=OBJECTIVES[settings.objective],
        )
    )
    key = create_keys(settings.seed).latents
    return Sampler(run, key, settings.latent_size, settings.batch_size, label)


def create_scorer(
    settings: DcganSettings, *, label: int | None = None
) -> Callable[[NetworkState, np.ndarray], np.ndarray]:
    """Return (D, uint8 images [num, h, w, c]) -> D's logits [num], of each image alone.

    By D's running statistics: unlike the paper's scores these do not depend on the neighbours.
    """
    module = create_networks(settings)[1]
    size = settings.batch_size

    @jax.jit
    def compute(discriminator: NetworkState, images: Array) -> Array:
        labels = None if label is None else jnp.full(len(images), label)
        logits: Any = module.apply(
            discriminator.variables, scale_to_unit(images), labels, train=False
        )
        return logits

    def score(discriminator: NetworkState, images: np.ndarray) -> np.ndarray:
        parts = [np.zeros(0, np.float32)]
        for begin in range(0, len(images), size):
            part = images[begin : begin + size]
            padding = [(0, size - len(part)), (0, 0), (0, 0), (0, 0)]
            parts.append(np.asarray(compute(discriminator, np.pad(part, padding)))[: len(part)])
        return np.concatenate(parts)

    return score


def draw_accepted(
    sampler: Sampler,
    state: two_player.GanState,
    *,
    num: int,
    threshold: float | None,
    first_seed: int,
    max_tries: int,
) -> tuple[Samples, int]:
    """Draw until `num` images have D(G(z)) >= `threshold`, at most `max_tries`.

    `threshold` None: all have, and the tries have no limit. Returns what was found, possibly fewer,
    and how many were tried.
    """
    if threshold is None:
        return sampler.draw(state, first_seed, num), num
    parts, num_found, tries = [sampler.draw(state, first_seed, 0)], 0, 0
    while num_found < num and tries < max_tries:
        samples = sampler.draw(state, first_seed + tries, sampler.batch_size)
        tries += sampler.batch_size
        parts.append(samples.take(accept_by_probability(samples.scores, threshold)))
        num_found += len(parts[-1].seeds)
    found = join_samples(parts)
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
    images with D(G(z)) of at least that are written, of at most `max_tries` drawn. Raises
    `UserError` where `out` holds other images, so that those of two generators are never mixed.
    """
    if num < 1:
        raise UserError(f"--num is {num}, expected 1 or more.")
    if threshold is not None and not math.isfinite(threshold):
        raise UserError(f"--threshold is {threshold}, expected a finite number.")
    check_latents(seed, num)
    restored = restore_run(run, checkpoint)
    if threshold is not None:
        check_probability("--accept=paper_text", restored.settings.objective)
    _open_out(out, _describe_origin(run, restored, threshold))
    sampler = create_sampler(restored.settings, label=restored.label)
    if threshold is None:
        parts, tries = _draw_in_parts(sampler, restored.state, seed, num), num
    else:
        found, tries = draw_accepted(
            sampler,
            restored.state,
            num=num,
            threshold=threshold,
            first_seed=seed,
            max_tries=max_tries,
        )
        parts = iter([found])
    num_written, shown = _write_samples(parts, out)
    if num_written < num:
        say(
            f"Could not reach {num} images with D(G(z)) >= {threshold:g} in {tries} tries: here "
            f"are {num_written}. A lower --threshold or --accept=none gives more."
        )
    if num_written:
        figures.write_grid(shown, out / "grid.png")
        of = f" (of the first {len(shown)})" if len(shown) < num_written else ""
        say(f"Wrote {num_written} images and grid.png{of} to {out}.")


def _draw_in_parts(
    sampler: Sampler, state: two_player.GanState, first_seed: int, num: int
) -> Iterator[Samples]:
    """Draw whole batches, some at a time: any number of images takes little memory."""
    size = -(-_PART // sampler.batch_size) * sampler.batch_size
    for begin in range(0, num, size):
        yield sampler.draw(state, first_seed + begin, min(size, num - begin))


def _write_samples(parts: Iterator[Samples], out: Path) -> tuple[int, np.ndarray]:
    """Write a PNG an image; return how many there were, and the first of them for the sheet."""
    num_written, shown = 0, []
    for samples in parts:
        for image, seed in zip(samples.images, samples.seeds, strict=True):
            write_png(image, out / f"seed_{seed:07d}.png", generated=True)
        shown.append(samples.images[: max(SHEET_IMAGES - num_written, 0)])
        num_written += len(samples.seeds)
    return num_written, np.concatenate(shown)


def _describe_origin(run: Path, restored: "RestoredRun", threshold: float | None) -> dict[str, Any]:
    """Return what tells the images of one generator, chosen alike, from all others."""
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(restored.state.sampling_variables):
        digest.update(np.ascontiguousarray(leaf).tobytes())
    return {
        "run": str(run.resolve()),
        "step": restored.step,
        "label": restored.label,
        "threshold": threshold,
        "generator": digest.hexdigest(),
    }


def _open_out(out: Path, origin: Mapping[str, Any]) -> None:
    """Make the folder for images of one origin; refuse one that holds images of another."""
    names = sorted(path.name for path in out.iterdir()) if out.is_dir() else []
    images = [name for name in names if name.lower().endswith(ENDINGS)]
    found = _read_note(out / _NOTE)
    same = found is not None and all(
        found.get(name) == origin[name] for name in ("label", "threshold", "generator")
    )
    if images and not same:
        of = "and nothing says what of"
        if found is not None:
            of = f"of step {found.get('step')} of {found.get('run')}"
            limit = found.get("threshold")
            of += "" if limit is None else f", those with D(G(z)) >= {limit}"
        raise UserError(
            f"{out} holds images already ({list_some(images)}), {printable(of)}: choose another "
            "--out. One folder holds the images of one generator."
        )
    make_folder(out)
    write_json(out / _NOTE, dict(origin))


def _read_note(file: Path) -> dict[str, Any] | None:
    try:
        note = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return None
    return note if isinstance(note, dict) else None


def draw_from_run(run: Path, *, num: int, checkpoint: str | None = None, seed: int = 0) -> Samples:
    """Return `num` images of the run in folder `run`, whatever D says of them."""
    check_latents(seed, num)
    restored = restore_run(run, checkpoint)
    sampler = create_sampler(restored.settings, label=restored.label)
    return sampler.draw(restored.state, seed, num)


def read_run_settings(run: Path) -> DcganSettings:
    """Return the settings of the run in folder `run`, which say how its data were made too."""
    record = read_record(run)
    if record["kind"] != "dcgan":
        raise UserError(f"{run} is a run of {record['kind']}: expected one of train_dcgan.")
    noted, fields = record.get("settings", {}), dataclasses.fields(DcganSettings)
    # A field that came later has a default, and may be absent.
    known = [f.name for f in fields if f.default is MISSING or f.name in noted]
    check_same_fields(run, noted, known)
    try:
        return read_settings(DcganSettings, noted)
    except UserError as error:
        raise UserError(
            f"{printable(str(run / 'config.json'))} was edited, or belongs to another version of "
            f"jaxgan: {error} Put back what was written."
        ) from None


class RestoredRun(NamedTuple):
    """The settings of a run, a state of it, and the class that a class-conditional one is to draw.

    `label` is None for the run of one class; `step` is that of the state.
    """

    settings: DcganSettings
    state: two_player.GanState
    label: int | None
    step: int


def restore_run(run: Path, checkpoint: str | None = None) -> RestoredRun:
    """Return the run in folder `run` at its best or newest state; nothing in it is changed.

    `checkpoint` is "best" or "newest"; None: as the settings say. Newest where nothing was
    measured.
    """
    settings = read_run_settings(run)
    label = read_record(run).get("label")
    if settings.num_classes and label is None:
        raise UserError(
            f"{run} is the run of a model of all classes: name one of them, as --class=NAME."
        )
    # Of the shapes alone: a state that is drawn takes longer than to read the one that is wanted.
    shapes = jax.eval_shape(functools.partial(create_state, settings), jax.random.key(0))
    template = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    model = find_model(run)
    with read_checkpoints(model) as checkpoints:
        step = checkpoints.newest_step
        if step is None:
            raise UserError(f"{run} has no checkpoint yet: let its training run a while first.")
        if (checkpoint or settings.select_checkpoint) == "best":
            newest, step = step, checkpoints.best_step or step
            _say_where_best_is_gone(model, step, newest)
        return RestoredRun(settings, checkpoints.restore(step, template), label, step)


def _say_where_best_is_gone(run: Path, step: int, newest: int) -> None:
    """Say where the checkpoint that was measured as the best is there no longer."""
    lines = [line for line in read_metrics(run) if METRIC in line and line["step"] <= newest]
    best = min(lines, key=lambda line: line[METRIC], default=None)
    if best is not None and best["step"] != step:
        say(
            f"The best checkpoint in {printable(str(run))}, of step {best['step']} (epoch "
            f"{best['epoch']}), is gone: that of step {step} takes its place."
        )


def find_model(run: Path) -> Path:
    """Return the folder whose checkpoints draw the images of `run`.

    That of the model of all classes where `run` is one class's part of it.
    """
    return run.parent / ALL_CLASSES if read_record(run).get("label") is not None else run


def has_checkpoints(run: Path) -> bool:
    """Whether images can be drawn from the folder `run`, which need not be there."""
    return (run / "config.json").exists() and (find_model(run) / "checkpoints").is_dir()
