"""Draw images from the run of a GAN, one PNG each."""

import hashlib
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxgan.core.console import say
from jaxgan.core.errors import UserError, list_some
from jaxgan.core.files import make_folder, read_object, write_json
from jaxgan.core.seeds import check_latents
from jaxgan.core.untrusted import printable
from jaxgan.data.folder import ENDINGS
from jaxgan.data.images import write_generated
from jaxgan.reports import drawing
from jaxgan.sampling.runs import RestoredRun, restore_run
from jaxgan.sampling.sampler import draw_accepted
from jaxgan.sampling.settings import check_probability

SHEET_IMAGES = 256
_NOTE = "samples.json"  # names the generator of the images in a folder
_PART = 1024  # images drawn before they are written

Drawn = tuple[np.ndarray, np.ndarray]  # seeds [num] and images uint8 [num, h, w, c]


def sample_run(
    run: Path,
    out: Path,
    *,
    num: int,
    checkpoint: str | None = None,
    threshold: float | None = None,
    seed: int = 0,
    max_tries: int = 20_000,
    truncation: float | None = None,
) -> None:
    """Write `num` images of the run in folder `run` to `out`, one PNG each, and a grid of them.

    `checkpoint` is "best" or "newest"; None: as in the run's settings. With `threshold`, at most
    `max_tries` images are drawn, and only those with D(G(z)) >= `threshold` are written.
    `truncation` cuts the latents (see `two_player.draw_truncated`; 1: off); None: as in the run's
    settings. Raises `UserError` if `out` holds other images, so that images of two generators are
    never mixed.
    """
    if num < 1:
        raise UserError(f"--num is {num}, expected 1 or more.")
    if threshold is not None and not math.isfinite(threshold):
        raise UserError(f"--threshold is {threshold}, expected a finite number.")
    check_latents(seed, num)
    restored = restore_run(run, checkpoint).truncate(truncation, name="--truncation")
    if threshold is not None:
        check_probability("--accept=paper_text", restored.gan, remedy="set --accept=none")
    _open_out(out, _describe_origin(run, restored, threshold))
    if threshold is None:
        parts, tries = _draw_in_parts(restored, seed, num), num
    else:
        found, tries = draw_accepted(
            restored.sampler,
            restored.networks,
            num=num,
            threshold=threshold,
            first_seed=seed,
            max_tries=max_tries,
        )
        parts = iter([(found.seeds, found.images)])
    num_written, shown = _write_samples(parts, out)
    if num_written < num:
        say(
            f"Could not reach {num} images with D(G(z)) >= {threshold:g} in {tries} tries: "
            f"{num_written} were found. A lower --threshold or --accept=none gives more."
        )
    if num_written:
        drawing.write_grid(shown, out / "grid.png")
        of = f" (of the first {len(shown)})" if len(shown) < num_written else ""
        say(f"Wrote {num_written} images and grid.png{of} to {out}.")


def _draw_in_parts(run: RestoredRun, first_seed: int, num: int) -> Iterator[Drawn]:
    """Draw full batches, a few at a time: any number of images needs little memory."""
    size = -(-_PART // run.sampler.batch_size) * run.sampler.batch_size
    for begin in range(first_seed, first_seed + num, size):
        seeds = np.arange(begin, min(begin + size, first_seed + num))
        yield seeds, run.sampler.draw(run.networks, begin, len(seeds))


def _write_samples(parts: Iterator[Drawn], out: Path) -> tuple[int, np.ndarray]:
    """Write one PNG per image; return how many, and the first images for the sheet."""
    num_written, shown = 0, []
    for seeds, images in parts:
        write_generated(images, [out / f"seed_{seed:07d}.png" for seed in seeds])
        shown.append(images[: max(SHEET_IMAGES - num_written, 0)])
        num_written += len(seeds)
    return num_written, np.concatenate(shown)


def _describe_origin(run: Path, restored: RestoredRun, threshold: float | None) -> dict[str, Any]:
    """Return what identifies the images of one generator with one rule of selection."""
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(restored.networks.generator):
        digest.update(np.ascontiguousarray(leaf).tobytes())
    return {
        "run": str(run.resolve()),
        "step": restored.step,
        "label": restored.label,
        "threshold": threshold,
        "truncation": restored.sampler.truncation,
        "generator": digest.hexdigest(),
    }


def _open_out(out: Path, origin: Mapping[str, Any]) -> None:
    """Create the folder for images of one origin; refuse a folder with images of another."""
    names = sorted(path.name for path in out.iterdir()) if out.is_dir() else []
    images = [name for name in names if name.lower().endswith(ENDINGS)]
    found = read_object(out / _NOTE)
    if found is not None:
        found = {"truncation": 1.0, **found}  # earlier notes have none
    same = found is not None and all(
        found.get(name) == origin[name]
        for name in ("label", "threshold", "truncation", "generator")
    )
    if images and not same:
        of = "of an unknown generator"
        if found is not None:
            of = f"of step {found.get('step')} of {found.get('run')}"
            limit = found.get("threshold")
            of += "" if limit is None else f", those with D(G(z)) >= {limit}"
            cut = found.get("truncation")
            of += "" if cut == 1.0 else f", with truncation {cut}"
        raise UserError(
            f"{out} holds images already ({list_some(images)}), {printable(of)}: choose another "
            "--out. One folder holds the images of one generator."
        )
    make_folder(out)
    write_json(out / _NOTE, dict(origin))
