"""Where the images come from that an arm adds to the real ones.

Each source is a value with a method `take`; jobs' records know it by its `name`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from jaxgan.core.errors import UserError
from jaxgan.data.images import resize_all
from jaxgan.data.sets import ImageSet, create_generated_set
from jaxgan.sampling.selection import RULES, Rule, accept_by_probability, choose_by_rank
from jaxgan.training.jobs import Result

_NO_RULE = Rule()


@dataclass(frozen=True)
class Wanted:
    """What an arm wants of a class: `num` images beside the `real` ones of the training set.

    `made` is what the class's GAN has left, empty where none is needed; a rule chooses among its
    first `num_candidates`, however many other arms have had drawn. `seed` is that of the
    classifier, `gan_seed` that of the GAN, `image_size` the side of the classifier's images.
    """

    class_name: str
    label: int
    real: ImageSet
    num: int
    num_candidates: int
    image_size: int
    threshold: float
    seed: int
    gan_seed: int
    made: Result


class Source(Protocol):
    """Where added images come from: what it is called, what it needs, and the images."""

    @property
    def name(self) -> str:
        """What jobs' records call it; empty where nothing is added."""
        ...

    @property
    def needs_generator(self) -> bool:
        """Whether a GAN makes the images."""
        ...

    @property
    def rule(self) -> Rule:
        """The rule of selection by which they are kept."""
        ...

    def take(self, wanted: Wanted) -> ImageSet:
        """Return at most as many images as wanted, or raise `UserError` where none can be."""
        ...


@dataclass(frozen=True)
class NoImages:
    """Nothing is added."""

    name: str = ""
    needs_generator: bool = False
    rule: Rule = _NO_RULE

    def take(self, wanted: Wanted) -> ImageSet:
        """Return no image."""
        return wanted.real.take(np.zeros(0, np.int64))


@dataclass(frozen=True)
class Duplicates:
    """The real images again."""

    name: str = "duplicates"
    needs_generator: bool = False
    rule: Rule = _NO_RULE

    def take(self, wanted: Wanted) -> ImageSet:
        """Return real images, each as often as another."""
        return duplicate(wanted.real, wanted.num, wanted.seed)


@dataclass(frozen=True)
class Generated:
    """Images of the class's GAN, as `keep` chooses them; `rule` says what that needs."""

    name: str
    keep: Callable[[Wanted], np.ndarray]
    rule: Rule = _NO_RULE
    needs_generator: bool = True

    def take(self, wanted: Wanted) -> ImageSet:
        """Return generated images in the size of the classifier's."""
        try:
            kept = self.keep(wanted)
        except UserError as error:
            raise UserError(f"class {wanted.class_name}: {error}") from None
        images = resize_all(kept, wanted.image_size)
        files = tuple(f"generated:{wanted.class_name}:{i}" for i in range(len(images)))
        return create_generated_set(images, wanted.label, files)


def duplicate(images: ImageSet, num: int, seed: int) -> ImageSet:
    """Return `num` of the images again, each as often as another as far as that goes."""
    rng = np.random.default_rng(seed)
    rounds = [rng.permutation(len(images)) for _ in range(-(-num // len(images)))]
    return images.take(np.concatenate([np.zeros(0, np.int64), *rounds])[:num])


def keep_all(wanted: Wanted) -> np.ndarray:
    """Return the first images uint8 [num, h, w, c] that were drawn."""
    return wanted.made["images"][: wanted.num]


def keep_saved_in_training(wanted: Wanted) -> np.ndarray:
    """Return what the paper's listing saved while the GAN was trained."""
    return wanted.made["code_images"][: wanted.num]


def keep_probable(wanted: Wanted) -> np.ndarray:
    """Return the candidates that D believes, by the paper's text."""
    images, scores = (wanted.made[name][: wanted.num_candidates] for name in ("images", "scores"))
    return images[accept_by_probability(scores, wanted.threshold)][: wanted.num]


def keep_calibrated(wanted: Wanted) -> np.ndarray:
    """Return candidates that rejection sampling with a calibrated D accepts."""
    images, logits = (wanted.made[name][: wanted.num_candidates] for name in ("images", "logits"))
    held_logits = wanted.made["held_logits"]
    chosen = choose_by_rank("calibrated", logits, held_logits, wanted.num, seed=wanted.gan_seed)
    return images[chosen]


NOTHING, DUPLICATES = NoImages(), Duplicates()
UNFILTERED = Generated("unfiltered", keep_all)
PAPER_TEXT = Generated("paper_text", keep_probable, RULES["paper_text"])
PAPER_CODE = Generated("paper_code", keep_saved_in_training, RULES["paper_code"])
CALIBRATED = Generated("calibrated", keep_calibrated, RULES["calibrated"])
