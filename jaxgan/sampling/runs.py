"""The run of a GAN, read from its folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxgan.core.console import say
from jaxgan.core.errors import UserError
from jaxgan.core.settings import read_settings
from jaxgan.core.untrusted import printable
from jaxgan.gans.protocol import Gan, Networks, describe_shapes
from jaxgan.metrics.kernel_distance import METRIC
from jaxgan.sampling.sampler import Sampler
from jaxgan.sampling.settings import TrainGanSettings, check_truncation
from jaxgan.training.checkpoint import Checkpoints
from jaxgan.training.keys import create_keys
from jaxgan.training.run_folder import read_metrics, read_record

ALL_CLASSES = "all"  # the folder of a class-conditional model, next to those of its classes


def open_checkpoints(run: Path, record: Mapping[str, Any]) -> Checkpoints:
    """Open the checkpoints of a training in folder `run`: the newest, and the best if measured."""
    return Checkpoints(run / "checkpoints", best_metric=METRIC, lowest_is_best=True, record=record)


def read_checkpoints(run: Path) -> Checkpoints:
    """Open the same checkpoints only for reading: nothing is written, and `run` may have none."""
    return Checkpoints(
        run / "checkpoints",
        best_metric=METRIC,
        lowest_is_best=True,
        record=read_record(run),
        read_only=True,
    )


def draw_from_run(
    run: Path, *, num: int, checkpoint: str | None = None, seed: int = 0
) -> np.ndarray:
    """Return `num` images uint8 [num, h, w, c] of the run in folder `run`."""
    restored = restore_run(run, checkpoint)
    return restored.sampler.draw(restored.networks, seed, num)


def create_sampler(
    settings: TrainGanSettings, gan: Gan[Any], *, label: int | None = None
) -> Sampler:
    """Return the sampler of a training; a class-conditional run gives the class `label`.

    It has no truncation: this is for the images of a finished generator.
    """
    return Sampler(gan, create_keys(settings.seed).latents, settings.batch_size, label)


def read_run_settings(run: Path) -> TrainGanSettings:
    """Return the settings of the run in folder `run`, including those of its data."""
    record = read_record(run)
    if record["kind"] != "gan":
        raise UserError(f"{run} is a run of a {record['kind']}: expected the run of a GAN.")
    try:
        return read_settings(TrainGanSettings, record.get("settings", {}))
    except UserError as error:
        raise UserError(
            f"{printable(str(run / 'config.json'))} was edited, or belongs to another version of "
            f"jaxgan: {error} Restore the original file."
        ) from None


class RestoredRun(NamedTuple):
    """A run at one of its checkpoints: what is needed to draw from it.

    `step` is the checkpoint's step. `sampler` draws the run's class, also for a model of all
    classes, with the truncation of the run's settings.
    """

    settings: TrainGanSettings
    gan: Gan[Any]
    networks: Networks
    sampler: Sampler
    step: int

    @property
    def label(self) -> int | None:
        """The class that a class-conditional run draws, None for the run of one class."""
        return self.sampler.label

    def truncate(self, truncation: float | None, *, name: str = "truncation") -> "RestoredRun":
        """Return the run with another truncation of its latents; None: that of its settings.

        Raises `UserError` that calls it `name` if it is out of range, or does not apply.
        """
        if truncation is None:
            return self
        check_truncation(name, truncation, self.gan)
        return self._replace(sampler=self.sampler.vary(truncation=float(truncation)))


def restore_run(
    run: Path, checkpoint: str | None = None, *, choice: str = "with --class=NAME"
) -> RestoredRun:
    """Return the run in folder `run` at its best or newest state; nothing in it is changed.

    `checkpoint` is "best" or "newest"; None: as in the settings. If nothing was measured, the
    newest is used. `choice` says in the error how to choose a class of a model of all classes.
    """
    settings, label = read_run_settings(run), read_record(run).get("label")
    if settings.gan.num_classes and label is None:
        raise UserError(f"{run} is the run of a model of all classes: choose one of them {choice}.")
    return _restore(run, settings, label, checkpoint)


def restore_model(run: Path, checkpoint: str | None = None) -> RestoredRun:
    """Return a run as `restore_run` does, and also the run of a model of all classes.

    The sampler of such a model has no label, and cannot draw.
    """
    settings = read_run_settings(run)
    return _restore(run, settings, read_record(run).get("label"), checkpoint)


def _restore(
    run: Path, settings: TrainGanSettings, label: int | None, checkpoint: str | None
) -> RestoredRun:
    if checkpoint not in (None, "best", "newest"):
        raise UserError(f"The checkpoint is {checkpoint!r}: expected 'best' or 'newest'.")
    gan = settings.create_gan()
    model = find_model(run)
    with read_checkpoints(model) as checkpoints:
        step = checkpoints.newest_step
        if step is None:
            raise UserError(f"{run} has no checkpoint yet: first let its training run for longer.")
        if (checkpoint or settings.select_checkpoint) == "best":
            newest, step = step, checkpoints.best_step or step
            _say_where_best_is_gone(model, step, newest)
        networks = gan.get_networks(checkpoints.restore(step, describe_shapes(gan)))
    sampler = create_sampler(settings, gan, label=label)
    sampler = sampler.vary(truncation=settings.selection.truncation)
    return RestoredRun(settings, gan, networks, sampler, step)


def _say_where_best_is_gone(run: Path, step: int, newest: int) -> None:
    """Say if the checkpoint that was measured as the best no longer exists."""
    lines = [line for line in read_metrics(run) if METRIC in line and line["step"] <= newest]
    best = min(lines, key=lambda line: line[METRIC], default=None)
    if best is not None and best["step"] != step:
        say(
            f"The best checkpoint in {printable(str(run))}, of step {best['step']} (epoch "
            f"{best['epoch']}), is gone: the checkpoint of step {step} is used instead."
        )


def find_model(run: Path) -> Path:
    """Return the folder with the checkpoints for drawing the images of `run`.

    If `run` is one class of a class-conditional model, it is the folder of that model.
    """
    return run.parent / ALL_CLASSES if read_record(run).get("label") is not None else run


def has_checkpoints(run: Path) -> bool:
    """Whether images can be drawn from the folder `run`, which may be absent."""
    return (run / "config.json").exists() and (find_model(run) / "checkpoints").is_dir()
