"""The GANs of a study: one per fold and class, trained only on that fold's training images.

Training and drawing are two jobs: the number of images that the arms need changes no training.
"""

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flax.serialization
import jax
import numpy as np

from jaxgan.core.errors import UserError
from jaxgan.core.settings import read_settings, to_dict
from jaxgan.core.types import Key, Metrics
from jaxgan.data.sets import ImageSet
from jaxgan.data.split import hold_out
from jaxgan.devices.parallel import Dispatcher, StepFn
from jaxgan.gans import families
from jaxgan.gans.protocol import Gan, Networks, describe_shapes
from jaxgan.networks.schedules import Pace
from jaxgan.sampling.listing import look_at_epoch_ends
from jaxgan.sampling.sampler import Sampler
from jaxgan.sampling.selection import MIN_HELD_OUT
from jaxgan.study.settings import StudySettings
from jaxgan.training.epochs import EpochPlan
from jaxgan.training.jobs import Job, Result, describe_family, hash_files, hash_pixels
from jaxgan.training.keys import create_keys
from jaxgan.training.loop import LoopStage
from jaxgan.training.many import Curves, Trainer

# Earlier jobs checked such a step once for every epoch that it ends.
_ONE_CHECK = "at every step that ends an epoch or several, once"
_DRAWN = ("images", "scores", "logits")
# Each seed below 100 (the first GANs of a study) has its own range of this number of latents.
_NUM_NUMBERED, _LATENTS_EACH = 100, 10_000_000


@dataclass(frozen=True)
class GeneratorSettings:
    """What decides how one GAN of a study is trained, besides its images."""

    gan: "families.GanSettings"
    num_epochs: int
    batch_size: int
    seed: int


class GeneratorLab:
    """Train and sample the GANs of all folds and classes with one compiled program per stage."""

    def __init__(self, settings: StudySettings, *, capacity: int, devices: Sequence[jax.Device]):
        self._settings = settings
        self._gan = settings.gan.create(settings.gan_epochs)
        self._trainer = Trainer(
            capacity=capacity,
            batch_size=settings.gan_batch_size,
            max_steps=settings.max_steps_per_dispatch,
            devices=devices,
        )
        key, size = create_keys(0).latents, settings.gan_batch_size
        self._sampler = Sampler(self._gan, key, size, truncation=settings.truncation)
        self._dispatchers: dict[tuple[int, int, Pace | None], Dispatcher] = {}

    def create_job(self, images: ImageSet, *, name: str, seed: int) -> Job:
        """Return the job that trains on the class `images`, without the held-out ones."""
        settings = self._settings
        record = {
            "settings": {
                **describe_family(settings.gan, "dcgan"),
                "num_epochs": settings.gan_epochs,
                "batch_size": settings.gan_batch_size,
            },
            "threshold": settings.threshold,
            "images": hash_files(images.files, images.labels),
            "pixels": hash_pixels(images.images),
            "seed": seed,
            "holdout": settings.holdout,
            "least_held": MIN_HELD_OUT,
            **settings.gan.describe_job(),
        }
        if settings.gan_batch_size > len(hold_out_enough(images, settings.holdout, seed)[0]):
            record["looks"] = _ONE_CHECK
        return Job("generator", name, record, functools.partial(self._train, images, seed))

    def create_drawing(self, trained: Result, *, name: str, seed: int, num: int) -> Job:
        """Return the job that draws `num` images from the GAN that the job of `seed` trained.

        The images of a smaller `num` are the first images of a larger one.
        """
        drawing = describe_drawing(self._settings)
        record = {"generator": str(trained["record"]), "num": num, **drawing}
        return Job("images", name, record, functools.partial(self._draw, trained, seed, num))

    def _train(self, images: ImageSet, seed: int, partial: Path) -> Result:
        settings = self._settings
        learned, held = hold_out_enough(images, settings.holdout, seed)
        plan = EpochPlan(
            len(learned),
            settings.gan_batch_size,
            settings.gan_epochs,
            settings.max_steps_per_dispatch,
            borders=self._gan.borders,
        )
        notes = _GanNotes(plan, self._gan, settings)
        state = self._trainer.train(
            self._gan.create_state(create_keys(seed).init),
            learned,
            stages=self._create_stages(plan),
            seed=seed,
            notes=notes,
            partial=partial,
            save_every_seconds=settings.checkpoint_every_seconds,
        )
        networks = Networks(*jax.device_get(self._gan.get_networks(state)))
        held_logits = self._sampler.score(networks, held.images)
        _check_finite(held_logits)
        return {
            **notes.to_arrays(),
            "held_logits": held_logits,
            "variables": _pack(networks.generator),
            "discriminator": _pack(networks.critic),
            "settings": np.array(json.dumps(describe_generator(settings, seed))),
            "num_learned": np.array(len(learned)),
            "num_steps": np.array(plan.num_steps),
        }

    def _create_stages(self, plan: EpochPlan) -> list[LoopStage]:
        """Return the stages of one GAN; one program is compiled for each first step.

        If the learning rate changes, there is also one program for each number of images, because
        this number sets how fast the rate changes.
        """
        stages, epoch, first = [], 0, 0
        pace = Pace(plan.list_ends(), plan.num_steps) if self._settings.gan.has_schedule else None
        for index, stage in enumerate(self._gan.stages):
            epoch += stage.num_epochs
            last, key = plan.compute_end_of_epoch(epoch), (index, first, pace)
            if key not in self._dispatchers:
                make_step = functools.partial(self._create_step, stage.start_at(first), pace)
                self._dispatchers[key] = self._trainer.create_dispatcher(make_step)
            stages.append(LoopStage(first, last, self._dispatchers[key], stage.begin))
            first = last
        return stages

    def _create_step(
        self, create: Callable[[str | None], StepFn], pace: Pace | None, axis_name: str | None
    ) -> StepFn:
        step = create(axis_name)
        return step if pace is None else self._settings.gan.pace_step(step, pace)

    def _draw(self, trained: Result, seed: int, num: int, partial: Path) -> Result:
        """Draw all images at once: `partial` would be written too late to be useful."""
        del partial
        networks = self._restore(trained)
        key, first = _choose_latents(self._sampler.key, seed)
        samples = self._sampler.vary(key=key).draw_scored(networks, first, num)
        logits = self._sampler.score(networks, samples.images)
        _check_finite(logits)
        return {"images": samples.images, "scores": samples.scores, "logits": logits}

    def _restore(self, trained: Result) -> Networks:
        shapes = self._gan.get_networks(describe_shapes(self._gan))
        return Networks(
            _unpack(shapes.generator, trained["variables"]),
            _unpack(shapes.critic, trained["discriminator"]),
        )


def describe_drawing(settings: StudySettings) -> dict[str, Any]:
    """Return what the record of a job with drawn images has besides their generator.

    Jobs without truncation, the only ones in early studies, keep their names.
    """
    return {} if settings.truncation == 1.0 else {"truncation": settings.truncation}


def describe_generator(settings: StudySettings, seed: int) -> dict[str, Any]:
    """Return the settings of one GAN of a study, as `GeneratorSettings` reads them."""
    return to_dict(
        GeneratorSettings(settings.gan, settings.gan_epochs, settings.gan_batch_size, seed)
    )


def _choose_latents(key: Key, seed: int) -> tuple[Key, int]:
    """Return the key and the first number of the latents for the GANs of `seed` alone.

    With the same latents, all GANs of a class would draw similar images. Small seeds, the only ones
    in early studies, have different numbers instead of keys: so their images stay the same.
    """
    if seed < _NUM_NUMBERED:
        return key, seed * _LATENTS_EACH
    return jax.random.fold_in(key, seed), 0


def join_results(trained: Result, drawn: Result) -> Result:
    """Return the results of the two jobs of a GAN as one, without its D."""
    return {
        **{name: array for name, array in trained.items() if name != "discriminator"},
        **{name: drawn[name] for name in _DRAWN},
    }


def hold_out_enough(images: ImageSet, share: float, seed: int) -> tuple[ImageSet, ImageSet]:
    """Divide a class by patient into images to train its GAN and images to calibrate its D.

    If `share` gives too few images for a calibration, it is raised until there are enough. The GAN
    keeps at least half. A class of one patient is not divided: D would know that patient.
    """
    if len(set(images.patients)) < 2:
        return images, images.take(np.zeros(0, np.int64))
    larger = [num / len(images) for num in range(MIN_HELD_OUT, len(images) // 2 + 1)]
    for tried in (share, *(s for s in larger if s > share)):
        learned, held = hold_out(images, tried, seed)
        if MIN_HELD_OUT <= len(held) <= len(learned):
            return learned, held
    return hold_out(images, share, seed)


def _pack(variables: Any) -> np.ndarray:
    return np.frombuffer(flax.serialization.to_bytes(variables), np.uint8)


def _unpack(shapes: Any, packed: np.ndarray) -> Any:
    return flax.serialization.from_bytes(shapes, packed.tobytes())


def load_generator(folder: Path) -> tuple[Gan[Any], Any]:
    """Return the GAN that a study wrote to `folder`, and the variables to draw from.

    The folder holds `settings.json` (`GeneratorSettings`) and `generator.msgpack`.
    """
    values = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
    settings = read_settings(GeneratorSettings, values)
    gan = settings.gan.create(settings.num_epochs)
    packed = np.frombuffer((folder / "generator.msgpack").read_bytes(), np.uint8)
    return gan, _unpack(gan.get_networks(describe_shapes(gan)).generator, packed)


def _check_finite(logits: np.ndarray) -> None:
    if not np.isfinite(logits).all():
        raise UserError("the GAN has diverged: try a lower config.gan.learning_rate")


class _GanNotes(Curves):
    """The curves, and what the paper's listing would save: at most one image per epoch."""

    def __init__(self, plan: EpochPlan, gan: Gan[Any], settings: StudySettings):
        super().__init__()
        self._plan, self._threshold = plan, settings.threshold
        self._has_probabilities = gan.to_probability is not None
        size = settings.gan.image_size
        self._code_images = [np.zeros((0, size, size, settings.gan.channels), np.uint8)]

    def note(self, begin: int, end: int, rows: Metrics) -> None:
        """Add what the listing saves at the ends of these epochs, if D gives probabilities."""
        super().note(begin, end, rows)
        if not self._has_probabilities or "first_fake" not in rows:  # not all steps give it
            return
        for check in look_at_epoch_ends(self._plan, begin, end, rows, threshold=self._threshold):
            if check.image is not None:
                self._code_images.append(check.image[None])

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return the curves and `code_images`."""
        return {**super().to_arrays(), "code_images": np.concatenate(self._code_images)}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Continue from what `to_arrays` returned."""
        super().restore(arrays)
        self._code_images = [arrays["code_images"]]
