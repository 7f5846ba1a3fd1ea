"""Which generated images are kept.

The text of the paper and its listing differ (section 4.1), so there are two rules of the paper:

- `paper_text`: an image is kept if D(G(z)) >= 0.76. Every image of a check is scored. The config
  field `look_every_epochs` says how often a check is made during training.
- `paper_code`: the listing tests whether the *mean loss* of D on the epoch's last fake batch is at
  least 0.76 (D(G(z)) of about 0.53 or less certain), or exactly equal to that on the real batch. It
  then saves the first image of the batch, stretched to full contrast. The score of that image is
  never read. At most one image is saved per epoch, scored before D's update.
- `none`: every image is kept.
- `calibrated`: discriminator rejection sampling (Azadi et al. 2019) from the finished generator. D
  has seen the training images and is overconfident. So its logits are first calibrated on real
  images that it has *not* seen (a logistic regression). If D cannot distinguish these from
  generated images, images are kept at random.
- `top_k`: several times as many images of the finished generator are drawn, and those with the
  highest scores of D are kept.
- `k_means` and `farthest_point`: as many are drawn, and different ones are kept, whatever D says
  (see `jaxgan.sampling.diverse`).

Both rules of the paper keep images that fool D, at times when D fails: not the best images.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import scipy  # optimize is loaded at its first use, and most launches never use it
from scipy.special import expit

from jaxgan.core.errors import UserError
from jaxgan.core.seeds import wrap_seed
from jaxgan.data.sets import ImageSet
from jaxgan.data.split import hold_out


class Rule(NamedTuple):
    """What a rule does.

    `compares`: compares with a threshold, so it needs a D that gives probabilities. `keeps_looks`:
    keeps images drawn by a check during training. `keeps_batches`: keeps images of the training
    batches only. `ranks`: chooses from many images of the finished generator by D's scores.
    `calibrates`: needs real images that D has not seen. `spreads`: chooses from as many images by
    how different they are, and D has no say.
    """

    compares: bool = False
    keeps_looks: bool = False
    keeps_batches: bool = False
    ranks: bool = False
    calibrates: bool = False
    spreads: bool = False

    @property
    def chooses(self) -> bool:
        """Whether it chooses from several times as many images of the finished generator."""
        return self.ranks or self.spreads


RULES: Mapping[str, Rule] = {
    "paper_text": Rule(compares=True, keeps_looks=True),
    "paper_code": Rule(compares=True, keeps_batches=True),
    "none": Rule(keeps_looks=True),
    "calibrated": Rule(ranks=True, calibrates=True),
    "top_k": Rule(ranks=True),
    "k_means": Rule(spreads=True),
    "farthest_point": Rule(spreads=True),
}
RANKING_RULES = tuple(name for name, rule in RULES.items() if rule.ranks)
DIVERSE_RULES = tuple(name for name, rule in RULES.items() if rule.spreads)
MIN_HELD_OUT = 3  # the fewest real images for a calibration
_CALIBRATING = 0.1  # of a class's training images, by patient


def match_targets(class_names: Sequence[str], targets: Mapping[str, int]) -> dict[str, int]:
    """Return the number for each class from a table like the paper's Table 2, or nothing.

    The class names must match the table exactly, except for upper and lower case. For other data
    the table is not used, even if one class has the same name.
    """
    by_name = {name.casefold(): num for name, num in targets.items()}
    if sorted(name.casefold() for name in class_names) != sorted(by_name):
        return {}
    return {name: by_name[name.casefold()] for name in class_names}


def accept_by_probability(scores: np.ndarray, threshold: float) -> np.ndarray:
    """Return which images [num] the text keeps, by D's probability `scores` [num]."""
    return scores >= threshold


def accept_by_batch_loss(*, fake_loss: float, real_loss: float, threshold: float) -> bool:
    """Whether the listing saves an image, by D's mean losses on its last two mini-batches.

    Equality of the two losses is exact, as printed: it does not happen in practice.
    """
    return fake_loss >= threshold or fake_loss == real_loss


def choose_by_rank(
    rule: str,
    logits: np.ndarray,
    held_logits: np.ndarray,
    num: int,
    *,
    seed: int = 0,
) -> np.ndarray:
    """Return the indices of at most `num` images that one of `RANKING_RULES` keeps.

    `logits` [n] are D's logits of generated images, `held_logits` [m] of real images it has not
    seen.
    """
    if rule == "top_k":
        return np.sort(np.argsort(-logits, kind="stable")[:num])  # in order of appearance
    return sample_by_rejection(
        calibrate(logits, held_logits), num, np.random.default_rng(wrap_seed(seed))
    )


def count_candidates(num: int, pool: float, max_tries: int) -> int:
    """Return how many images `num` are chosen from: `pool` times as many, at most `max_tries`."""
    return min(math.ceil(num * pool), max_tries)


def check_calibrating(num: int) -> None:
    """Refuse to calibrate with fewer than `MIN_HELD_OUT` real images."""
    if num < MIN_HELD_OUT:
        raise UserError(
            f"{num} held-out image(s) are too few to calibrate a discriminator: "
            f"expected {MIN_HELD_OUT} or more per class. Hold out a larger share or add images."
        )


def hold_out_for_calibration(rule: str, images: ImageSet, seed: int) -> tuple[ImageSet, ImageSet]:
    """Return the images that a class's GAN learns from, and real images to calibrate its D.

    The latter are taken from the training images. The validation images score the classifier that
    uses the kept images, so they must not help to choose these. Other rules need no such images.
    """
    if not RULES[rule].calibrates:
        return images, images.take(np.arange(0))
    share = max(_CALIBRATING, MIN_HELD_OUT / len(images))
    learned, held_out = hold_out(images, min(share, 0.5), seed)
    check_calibrating(len(held_out))
    return learned, held_out


def calibrate(logits: np.ndarray, held_logits: np.ndarray) -> np.ndarray:
    """Return log-odds [num] that an image is real, by logistic regression on D's `logits` [num].

    The real images are unseen by D. Both sides have the same weight. The slope is 0 or more.
    """
    check_calibrating(len(held_logits))
    values = np.concatenate([logits, held_logits])
    scale = max(float(values.std()), 1e-6)
    is_real = np.r_[np.zeros(len(logits)), np.ones(len(held_logits))]
    from sklearn.linear_model import LogisticRegression  # at the top it costs each launch 1 s

    model = LogisticRegression(class_weight="balanced")
    model.fit(values[:, None] / scale, is_real)
    if model.coef_[0, 0] <= 0.0:
        # The slope of an uninformative D is negative half of the time: never keep the images with
        # its lowest scores. With slope 0 and equal weights of both sides, the best intercept is 0.
        return np.zeros(len(logits))
    return np.asarray(model.decision_function(logits[:, None] / scale), np.float64)


def sample_by_rejection(log_odds: np.ndarray, num: int, rng: np.random.Generator) -> np.ndarray:
    """Return at most `num` indices, drawn by discriminator rejection sampling.

    Acceptance is sigmoid(F - log(1 - exp(F - eps)) - gamma) with F = log-odds minus their maximum
    (Azadi et al. 2019, eq. 8). For gamma 0 this is exp(F): exact rejection. If that accepts fewer
    than `num`, gamma is lowered until `num` are expected. It is never raised: that would replace
    a proportional draw by a list of the highest. More than `num` are cut at random, and fewer are
    filled up with the most probable.
    """
    if num >= len(log_odds):
        return np.arange(len(log_odds))
    probabilities = compute_acceptance(log_odds, num)
    order = rng.permutation(len(log_odds))
    accepted = order[rng.random(len(order)) < probabilities[order]]
    by_rank = np.argsort(-probabilities, kind="stable")
    rest = by_rank[np.isin(by_rank, accepted, invert=True)]
    return np.sort(np.r_[accepted, rest][:num])


def compute_acceptance(log_odds: np.ndarray, num: int) -> np.ndarray:
    """Return the probability [n] with which rejection sampling accepts each image."""
    below = log_odds - log_odds.max()
    raw = below - np.log1p(-np.exp(below - 1e-6))

    def compute_missing(gamma: float) -> float:
        return num - float(expit(raw - gamma).sum())

    if compute_missing(0.0) <= 0.0:
        return expit(raw)
    return expit(raw - float(scipy.optimize.brentq(compute_missing, -60.0, 0.0)))
