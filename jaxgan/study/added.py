"""Where the images come from that an arm adds to the real ones."""

import functools
from collections.abc import Callable
from dataclasses import dataclass

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


@dataclass(frozen=True)
class Source:
    """Where added images come from: what jobs' records call it, and what gives the images.

    `take` returns at most as many images as wanted, or raises `UserError` where none can be. A GAN
    makes the images of those that `needs_generator`; they are kept by `rule`.
    """

    name: str
    take: Callable[[Wanted], ImageSet]
    rule: Rule = _NO_RULE
    needs_generator: bool = False


def take_nothing(wanted: Wanted) -> ImageSet:
    """Return no image."""
    return wanted.real.take(np.zeros(0, np.int64))


def take_duplicates(wanted: Wanted) -> ImageSet:
    """Return the real images again, each as often as another."""
    return duplicate(wanted.real, wanted.num, wanted.seed)


def take_generated(keep: Callable[[Wanted], np.ndarray], wanted: Wanted) -> ImageSet:
    """Return images of the class's GAN, as `keep` chooses them, in the size of the classifier's."""
    try:
        kept = keep(wanted)
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


def _create_generated(
    name: str, keep: Callable[[Wanted], np.ndarray], rule: Rule = _NO_RULE
) -> Source:
    return Source(name, functools.partial(take_generated, keep), rule, needs_generator=True)


NOTHING, DUPLICATES = Source("", take_nothing), Source("duplicates", take_duplicates)
UNFILTERED = _create_generated("unfiltered", keep_all)
PAPER_TEXT = _create_generated("paper_text", keep_probable, RULES["paper_text"])
PAPER_CODE = _create_generated("paper_code", keep_saved_in_training, RULES["paper_code"])
CALIBRATED = _create_generated("calibrated", keep_calibrated, RULES["calibrated"])
