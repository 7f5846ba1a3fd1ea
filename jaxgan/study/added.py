"""The sources of the images that an arm adds to the real ones."""

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
class Request:
    """An arm's request for `num` images of a class; `real` are the class's training images.

    `generated` is the result of the class's GAN, empty if no GAN is needed. A rule chooses among
    its first `num_candidates` images, even if more were drawn for other arms. `seed` belongs to the
    classifier and `gan_seed` to the GAN. `image_size` is the side of the classifier's images.
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
    generated: Result


@dataclass(frozen=True)
class Source:
    """A source of added images: its name in the records of jobs, and the function `take`.

    `take` returns at most the requested number of images, or raises `UserError` if it can give
    none. With `needs_generator`, a GAN makes the images and `rule` selects them.
    """

    name: str
    take: Callable[[Request], ImageSet]
    rule: Rule = _NO_RULE
    needs_generator: bool = False


def take_nothing(request: Request) -> ImageSet:
    """Return no image."""
    return request.real.take(np.zeros(0, np.int64))


def take_duplicates(request: Request) -> ImageSet:
    """Return real images again, each about equally often."""
    return duplicate(request.real, request.num, request.seed)


def take_generated(keep: Callable[[Request], np.ndarray], request: Request) -> ImageSet:
    """Return the GAN's images that `keep` chooses, in the classifier's image size."""
    try:
        kept = keep(request)
    except UserError as error:
        raise UserError(f"class {request.class_name}: {error}") from None
    images = resize_all(kept, request.image_size)
    files = tuple(f"generated:{request.class_name}:{i}" for i in range(len(images)))
    return create_generated_set(images, request.label, files)


def duplicate(images: ImageSet, num: int, seed: int) -> ImageSet:
    """Return `num` of the images again; the counts per image differ by at most 1."""
    rng = np.random.default_rng(seed)
    rounds = [rng.permutation(len(images)) for _ in range(-(-num // len(images)))]
    return images.take(np.concatenate([np.zeros(0, np.int64), *rounds])[:num])


def keep_all(request: Request) -> np.ndarray:
    """Return the first drawn images, uint8 [num, h, w, c]."""
    return request.generated["images"][: request.num]


def keep_saved_in_training(request: Request) -> np.ndarray:
    """Return the images that the paper's listing saved during the training of the GAN."""
    return request.generated["code_images"][: request.num]


def keep_probable(request: Request) -> np.ndarray:
    """Return the candidates that D takes for real, by the rule in the paper's text."""
    images, scores = (
        request.generated[name][: request.num_candidates] for name in ("images", "scores")
    )
    return images[accept_by_probability(scores, request.threshold)][: request.num]


def keep_calibrated(request: Request) -> np.ndarray:
    """Return candidates accepted by rejection sampling with a calibrated D."""
    images, logits = (
        request.generated[name][: request.num_candidates] for name in ("images", "logits")
    )
    held_logits = request.generated["held_logits"]
    chosen = choose_by_rank("calibrated", logits, held_logits, request.num, seed=request.gan_seed)
    return images[chosen]


def _create_generated(
    name: str, keep: Callable[[Request], np.ndarray], rule: Rule = _NO_RULE
) -> Source:
    return Source(name, functools.partial(take_generated, keep), rule, needs_generator=True)


NOTHING, DUPLICATES = Source("", take_nothing), Source("duplicates", take_duplicates)
UNFILTERED = _create_generated("unfiltered", keep_all)
PAPER_TEXT = _create_generated("paper_text", keep_probable, RULES["paper_text"])
PAPER_CODE = _create_generated("paper_code", keep_saved_in_training, RULES["paper_code"])
CALIBRATED = _create_generated("calibrated", keep_calibrated, RULES["calibrated"])
