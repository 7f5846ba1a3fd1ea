"""The GANs of a study: one a fold and class, trained on that fold's training images alone."""

import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import flax.serialization
import jax
import numpy as np

from jaxgan.data.sets import ImageSet
from jaxgan.data.split import hold_out
from jaxgan.dcgan import create_keys, create_schedule, create_state, create_step
from jaxgan.pixels import stretch_to_bytes
from jaxgan.sampling import create_sampler, create_scorer
from jaxgan.schedule import Schedule
from jaxgan.selection import accept_by_batch_loss, accept_by_probability, choose_by_rank
from jaxgan.settings import DcganSettings, to_dict
from jaxgan.study.jobs import Job, Result, hash_files, to_record
from jaxgan.study.training import Curves, Trainer
from jaxgan.types import Metrics

# Fields of DcganSettings that do not alter what a study makes of it.
_WITHOUT = (
    "seed",
    "data",
    "look_every_epochs",
    "sample_every_epochs",
    "checkpoint_every_epochs",
    "checkpoint_every_seconds",
    "measure_every_epochs",
    "select_checkpoint",
    "epochs_per_dispatch",
    "max_steps_per_dispatch",
)


class GeneratorLab:
    """Train and sample the GANs of all folds and classes with one compiled program."""

    def __init__(self, settings: DcganSettings, *, capacity: int, devices: Sequence[jax.Device]):
        self._settings = settings
        self._create_state = jax.jit(functools.partial(create_state, settings))
        self._trainer = Trainer(
            functools.partial(create_step, settings),
            capacity=capacity,
            batch_size=settings.batch_size,
            max_steps=settings.max_steps_per_dispatch,
            devices=devices,
        )
        self._sampler = create_sampler(settings)
        self._score = create_scorer(settings)

    def create_job(
        self, images: ImageSet, *, name: str, seed: int, holdout: float, pool: float
    ) -> Job:
        """Return the job that trains on the class `images` and draws `pool` images for each."""
        record = {
            "settings": to_record(self._settings, without=_WITHOUT),
            "images": hash_files(images.files, images.labels),
            "pixels": _hash_pixels(images),
            "seed": seed,
            "holdout": holdout,
            "pool": pool,
        }
        run = functools.partial(self._train, images, seed=seed, holdout=holdout, pool=pool)
        return Job("generator", name, record, run)

    def _train(
        self, images: ImageSet, partial: Path, *, seed: int, holdout: float, pool: float
    ) -> Result:
        settings = self._settings
        learned, held = hold_out(images, holdout, seed)
        schedule = create_schedule(settings, len(learned))
        notes = _GanNotes(schedule, settings)
        state = self._trainer.train(
            self._create_state(create_keys(seed).init),
            learned,
            num_steps=schedule.num_steps,
            seed=seed,
            notes=notes,
            partial=partial,
            save_every_seconds=settings.checkpoint_every_seconds,
        )
        num = int(np.ceil(pool * len(images)))
        samples = self._sampler.draw(state, seed * 10_000_000, num)
        return {
            **notes.to_arrays(),
            "images": samples.images,
            "scores": samples.scores,
            "logits": self._score(state.discriminator, samples.images),
            "held_logits": self._score(state.discriminator, held.images),
            "variables": np.frombuffer(
                flax.serialization.to_bytes(jax.device_get(state.sampling_variables)), np.uint8
            ),
            "settings": np.array(json.dumps(to_dict(settings))),
            "num_learned": np.array(len(learned)),
            "num_steps": np.array(schedule.num_steps),
        }


class _GanNotes(Curves):
    """The curves, and what the paper's listing would save: at most one image an epoch."""

    def __init__(self, schedule: Schedule, settings: DcganSettings):
        super().__init__()
        self._schedule = schedule
        self._threshold = settings.selection.threshold
        shape = (0, settings.image_size, settings.image_size, settings.channels)
        self._code_images = [np.zeros(shape, np.uint8)]

    def note(self, begin: int, end: int, rows: Metrics) -> None:
        """Look at the last step of every epoch that ended, as the listing does."""
        super().note(begin, end, rows)
        fake, real = np.asarray(rows["loss_d_fake"]), np.asarray(rows["loss_d_real"])
        first, last = self._schedule.compute_epoch(begin), self._schedule.compute_epoch(end)
        for epoch in range(first + 1, last + 1):
            row = self._schedule.compute_end_of_epoch(epoch) - begin - 1
            if accept_by_batch_loss(
                fake_loss=float(fake[row]), real_loss=float(real[row]), threshold=self._threshold
            ):
                image = np.asarray(stretch_to_bytes(rows["first_fake"][row]))
                self._code_images.append(image[None])

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return the curves and `code_images`."""
        return {**super().to_arrays(), "code_images": np.concatenate(self._code_images)}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Go on from what `to_arrays` returned."""
        super().restore(arrays)
        self._code_images = [arrays["code_images"]]


def _hash_pixels(images: ImageSet) -> str:
    return hashlib.sha256(np.ascontiguousarray(images.images).tobytes()).hexdigest()[:20]


# Selection -------------------------------------------------------------------------------------


def select(made: Result, source: str, num: int, *, threshold: float, seed: int) -> np.ndarray:
    """Return at most `num` generated images that the rule `source` keeps, uint8 [kept, h, w, c]."""
    if source == "unfiltered":
        return made["images"][:num]
    if source == "paper_text":
        keep = accept_by_probability(made["scores"], threshold)
        return made["images"][keep][:num]
    if source == "paper_code":
        return made["code_images"][:num]
    chosen = choose_by_rank("calibrated", made["logits"], made["held_logits"], num, seed=seed)
    return made["images"][chosen]
