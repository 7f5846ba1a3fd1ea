"""The GANs of a study: one a fold and class, trained on that fold's training images alone."""

import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
from sklearn.linear_model import LogisticRegression

from jaxgan import gan
from jaxgan.data.sets import ImageSet
from jaxgan.data.split import split_by_patient
from jaxgan.dcgan import create_keys, create_networks, create_schedule, create_state, create_step
from jaxgan.errors import UserError
from jaxgan.pixels import scale_to_unit, stretch_to_bytes
from jaxgan.sampling import create_sampler
from jaxgan.schedule import Schedule
from jaxgan.selection import accept_by_batch_loss, accept_by_probability
from jaxgan.settings import DcganSettings, to_dict
from jaxgan.study.jobs import Job, Result, hash_files, to_record
from jaxgan.study.training import Curves, Trainer
from jaxgan.types import Array, Metrics

MIN_HELD_OUT = 3  # real images that a calibration needs at the least
# Fields of DcganSettings that do not alter what a study makes of it.
_WITHOUT = (
    "seed",
    "data",
    "look_every_epochs",
    "sample_every_epochs",
    "checkpoint_every_epochs",
    "measure_every_epochs",
    "select_checkpoint",
    "epochs_per_dispatch",
    "max_steps_per_dispatch",
)


class GeneratorLab:
    """Train and sample the GANs of all folds and classes with one compiled program."""

    def __init__(self, settings: DcganSettings, *, capacity: int, devices: Sequence[jax.Device]):
        self._settings = settings
        self._trainer = Trainer(
            functools.partial(create_step, settings),
            capacity=capacity,
            batch_size=settings.batch_size,
            max_steps=settings.max_steps_per_dispatch,
            devices=devices,
        )
        self._sampler = create_sampler(settings)
        discriminator = create_networks(settings)[1]
        self._score_alone = jax.jit(
            functools.partial(_compute_logits, discriminator_module=discriminator)
        )

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
            create_state(settings, create_keys(seed).init),
            learned,
            num_steps=schedule.num_steps,
            seed=seed,
            notes=notes,
            partial=partial,
            save_every=max(1, schedule.num_steps // (10 * settings.max_steps_per_dispatch)),
        )
        num = int(np.ceil(pool * len(images)))
        samples = self._sampler.draw(state, seed * 10_000_000, num)
        return {
            **notes.to_arrays(),
            "images": samples.images,
            "scores": samples.scores,
            "logits": self._score(state, samples.images),
            "held_logits": self._score(state, held.images),
            "variables": np.frombuffer(
                flax.serialization.to_bytes(jax.device_get(state.sampling_variables)), np.uint8
            ),
            "settings": np.array(json.dumps(to_dict(settings))),
            "num_learned": np.array(len(learned)),
            "num_steps": np.array(schedule.num_steps),
        }

    def _score(self, state: gan.GanState, images: np.ndarray) -> np.ndarray:
        """Return D's logits [num] by its running statistics: of each image alone."""
        size, parts = self._settings.batch_size, [np.zeros(0, np.float32)]
        for begin in range(0, len(images), size):
            part = images[begin : begin + size]
            padding = [(0, size - len(part)), (0, 0), (0, 0), (0, 0)]
            logits = self._score_alone(state.discriminator, np.pad(part, padding))
            parts.append(np.asarray(logits)[: len(part)])
        return np.concatenate(parts)


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


def hold_out(images: ImageSet, share: float, seed: int) -> tuple[ImageSet, ImageSet]:
    """Divide a class by patient into what its GAN learns from and what calibrates its D."""
    parts = split_by_patient(
        np.zeros(len(images), np.int64),
        images.patients,
        {"learned": 1.0 - share, "held out": share},
        seed,
    )
    return images.take(parts["learned"]), images.take(parts["held out"])


def _compute_logits(
    discriminator: gan.NetworkState, images: Array, *, discriminator_module: Any
) -> Array:
    return discriminator_module.apply(discriminator.variables, scale_to_unit(images), train=False)


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
    chosen = sample_by_rejection(
        calibrate(made["logits"], made["held_logits"]), num, np.random.default_rng(seed)
    )
    return made["images"][chosen]


def calibrate(logits: np.ndarray, held_logits: np.ndarray) -> np.ndarray:
    """Return log-odds [num] that an image is real, by logistic regression on D's `logits` [num].

    The real side are images that D has not seen; both sides weigh the same.
    """
    if len(held_logits) < MIN_HELD_OUT:
        raise UserError(
            f"{len(held_logits)} held-out image(s) are too few to calibrate a discriminator: "
            f"expected {MIN_HELD_OUT} or more a class. Raise config.holdout or add images."
        )
    values = np.concatenate([logits, held_logits])
    scale = max(float(values.std()), 1e-6)
    is_real = np.r_[np.zeros(len(logits)), np.ones(len(held_logits))]
    model = LogisticRegression(class_weight="balanced")
    model.fit(values[:, None] / scale, is_real)
    return np.asarray(model.decision_function(logits[:, None] / scale), np.float64)


def sample_by_rejection(log_odds: np.ndarray, num: int, rng: np.random.Generator) -> np.ndarray:
    """Return at most `num` indices, drawn as discriminator rejection sampling accepts.

    Acceptance is sigmoid(F - log(1 - exp(F - eps)) - gamma) with F = log-odds less their maximum
    (Azadi et al. 2019, eq. 8); gamma is set so that `num` acceptances are expected. Few more come
    or few less: more are cut off, less are filled up with the most probable.
    """
    if num >= len(log_odds):
        return np.arange(len(log_odds))
    below = log_odds - log_odds.max()
    raw = below - np.log1p(-np.exp(below - 1e-6))
    low, high = -60.0, 60.0
    for _ in range(60):
        gamma = (low + high) / 2
        expected = float(_sigmoid(raw - gamma).sum())
        low, high = (gamma, high) if expected > num else (low, gamma)
    probabilities = _sigmoid(raw - low)
    order = rng.permutation(len(raw))
    accepted = order[rng.random(len(raw)) < probabilities[order]]
    rest = [i for i in np.argsort(-probabilities, kind="stable") if i not in set(accepted)]
    return np.sort(np.r_[accepted, np.array(rest, np.int64)][:num])


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return np.asarray(jax.nn.sigmoid(jnp.asarray(values)), np.float64)
