"""The GANs of a study: one a fold and class, trained on that fold's training images alone.

To train one is a job and to draw its images another: what arms want of it changes no training.
"""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.core.errors import UserError
from jaxgan.core.settings import to_dict
from jaxgan.core.types import Key, Metrics, Params
from jaxgan.data.sets import ImageSet
from jaxgan.data.split import hold_out
from jaxgan.experiments.train_gan import create_plan
from jaxgan.gans import two_player
from jaxgan.gans.dcgan import DcganSettings
from jaxgan.gans.objectives import CROSS_ENTROPY_OBJECTIVES
from jaxgan.gans.recipe import create_state, create_step
from jaxgan.networks.state import NetworkState
from jaxgan.sampling.listing import look_at_epoch_ends
from jaxgan.sampling.runs import create_sampler
from jaxgan.sampling.sampler import create_scorer
from jaxgan.sampling.selection import (
    MIN_HELD_OUT,
    accept_by_probability,
    choose_by_rank,
)
from jaxgan.training.epochs import EpochPlan
from jaxgan.training.jobs import Job, Result, describe_averaging, hash_files, to_record
from jaxgan.training.keys import create_keys
from jaxgan.training.many import Curves, Trainer

# Fields of DcganSettings that do not alter what a study makes of it; of `selection` the threshold
# alone does, see `_GanNotes`.
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
    "selection",
)
# Jobs of before have looked at such a step once for every epoch that it ends.
_ONE_LOOK = "at every step that ends an epoch or several, once"
_DRAWN = ("images", "scores", "logits")
# GANs of seeds below 100, a study's first of every fold and class, have so many latents each.
_NUM_NUMBERED, _LATENTS_EACH = 100, 10_000_000


class GeneratorLab:
    """Train and sample the GANs of all folds and classes with one compiled program."""

    def __init__(self, settings: DcganSettings, *, capacity: int, devices: Sequence[jax.Device]):
        # As a study goes about it: a seed a job, nothing measured, images of the last step.
        settings = dataclasses.replace(
            settings, seed=0, measure_every_epochs=0, select_checkpoint="newest"
        )
        self._settings = settings
        self._create_state = functools.partial(create_state, settings)
        self._trainer = Trainer(
            functools.partial(create_step, settings),
            capacity=capacity,
            batch_size=settings.batch_size,
            max_steps=settings.max_steps_per_dispatch,
            devices=devices,
        )
        self._sampler = create_sampler(settings)
        self._score = create_scorer(settings)

    def create_job(self, images: ImageSet, *, name: str, seed: int, holdout: float) -> Job:
        """Return the job that trains on the class `images`, less what is held out."""
        record = {
            "settings": to_record(self._settings, without=_WITHOUT),
            "threshold": self._settings.selection.threshold,
            "images": hash_files(images.files, images.labels),
            "pixels": _hash_pixels(images),
            "seed": seed,
            "holdout": holdout,
            "least_held": MIN_HELD_OUT,
            **describe_averaging(self._settings),
        }
        if self._settings.batch_size > len(hold_out_enough(images, holdout, seed)[0]):
            record["looks"] = _ONE_LOOK
        run = functools.partial(self._train, images, seed=seed, holdout=holdout)
        return Job("generator", name, record, run)

    def create_drawing(self, trained: Result, *, name: str, seed: int, num: int) -> Job:
        """Return the job that draws `num` images of what the job of `seed` has trained.

        Those of a smaller `num` are the first of a larger one.
        """
        record = {"generator": str(trained["record"]), "num": num}
        return Job("images", name, record, functools.partial(self._draw, trained, seed, num))

    def _train(self, images: ImageSet, partial: Path, *, seed: int, holdout: float) -> Result:
        settings = self._settings
        learned, held = hold_out_enough(images, holdout, seed)
        plan = create_plan(settings, len(learned))
        notes = _GanNotes(plan, settings)
        state = self._trainer.train(
            self._create_state(create_keys(seed).init),
            learned,
            num_steps=plan.num_steps,
            seed=seed,
            notes=notes,
            partial=partial,
            save_every_seconds=settings.checkpoint_every_seconds,
        )
        generator, discriminator = jax.device_get(
            (state.sampling_variables, state.discriminator.variables)
        )
        held_logits = self._score(_as_network(discriminator), held.images)
        _check_finite(held_logits)
        return {
            **notes.to_arrays(),
            "held_logits": held_logits,
            "variables": _pack(generator),
            "discriminator": _pack(discriminator),
            "settings": np.array(json.dumps(to_dict(dataclasses.replace(settings, seed=seed)))),
            "num_learned": np.array(len(learned)),
            "num_steps": np.array(plan.num_steps),
        }

    def _draw(self, trained: Result, seed: int, num: int, partial: Path) -> Result:
        """Draw in one go: `partial` would be written too late to be of use."""
        del partial
        state = two_player.GanState(
            step=jnp.int32(trained["num_steps"]),
            generator=_as_network(_unpack(trained["variables"])),
            discriminator=_as_network(_unpack(trained["discriminator"])),
            ema=None,  # what there is of it is in `variables`
            augment_strength=jnp.float32(0.0),
        )
        key, first = _choose_latents(self._sampler.key, seed)
        samples = dataclasses.replace(self._sampler, key=key).draw(state, first, num)
        logits = self._score(state.discriminator, samples.images)
        _check_finite(logits)
        return {"images": samples.images, "scores": samples.scores, "logits": logits}


def _choose_latents(key: Key, seed: int) -> tuple[Key, int]:
    """Return the key and the first number of the latents of the GANs of `seed`, which are theirs.

    Of the same ones all of a class would make like images. Those of small seeds, all that studies
    could have at first, are told apart by number, and their images stay what they were.
    """
    if seed < _NUM_NUMBERED:
        return key, seed * _LATENTS_EACH
    return jax.random.fold_in(key, seed), 0


def join_made(trained: Result, drawn: Result) -> Result:
    """Return what the two jobs of a GAN have left, as the training's and without its D."""
    return {
        **{name: array for name, array in trained.items() if name != "discriminator"},
        **{name: drawn[name] for name in _DRAWN},
    }


def hold_out_enough(images: ImageSet, share: float, seed: int) -> tuple[ImageSet, ImageSet]:
    """Divide a class by patient into what its GAN learns from and what calibrates its D.

    Where `share` gives fewer than a calibration needs it is raised until it gives them, as long as
    the GAN keeps half. A class of one patient is not divided: D would know that patient.
    """
    if len(set(images.patients)) < 2:
        return images, images.take(np.zeros(0, np.int64))
    larger = [num / len(images) for num in range(MIN_HELD_OUT, len(images) // 2 + 1)]
    for tried in (share, *(s for s in larger if s > share)):
        learned, held = hold_out(images, tried, seed)
        if MIN_HELD_OUT <= len(held) <= len(learned):
            return learned, held
    return hold_out(images, share, seed)


def _as_network(variables: Params) -> NetworkState:
    """Return a network that is not trained any more."""
    return NetworkState(variables["params"], variables["batch_stats"], opt_state=())


def _pack(variables: Params) -> np.ndarray:
    return np.frombuffer(flax.serialization.to_bytes(variables), np.uint8)


def _unpack(packed: np.ndarray) -> Params:
    variables: Params = flax.serialization.msgpack_restore(packed.tobytes())
    return variables


def _check_finite(logits: np.ndarray) -> None:
    if not np.isfinite(logits).all():
        raise UserError("the GAN has diverged: a lower config.dcgan.learning_rate helps")


class _GanNotes(Curves):
    """The curves, and what the paper's listing would save: at most one image an epoch."""

    def __init__(self, plan: EpochPlan, settings: DcganSettings):
        super().__init__()
        self._plan = plan
        self._threshold = settings.selection.threshold
        self._has_probabilities = settings.objective in CROSS_ENTROPY_OBJECTIVES
        shape = (0, settings.image_size, settings.image_size, settings.channels)
        self._code_images = [np.zeros(shape, np.uint8)]

    def note(self, begin: int, end: int, rows: Metrics) -> None:
        """Take in what the listing saves at the ends of these epochs, where D has probabilities."""
        super().note(begin, end, rows)
        if not self._has_probabilities:
            return
        for look in look_at_epoch_ends(self._plan, begin, end, rows, threshold=self._threshold):
            if look.image is not None:
                self._code_images.append(look.image[None])

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


def select(
    made: Result, source: str, num: int, *, num_candidates: int, threshold: float, seed: int
) -> np.ndarray:
    """Return at most `num` generated images that the rule `source` keeps, uint8 [kept, h, w, c].

    A rule chooses among the first `num_candidates`, however many other arms have had drawn.
    """
    if source == "unfiltered":
        return made["images"][:num]
    if source == "paper_code":
        return made["code_images"][:num]
    images = made["images"][:num_candidates]
    if source == "paper_text":
        return images[accept_by_probability(made["scores"][:num_candidates], threshold)][:num]
    logits, held_logits = made["logits"][:num_candidates], made["held_logits"]
    return images[choose_by_rank("calibrated", logits, held_logits, num, seed=seed)]
