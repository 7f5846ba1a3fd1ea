"""What a study may be told, typed: see configs/study.py for what each field means."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jaxgan.core.errors import UserError
from jaxgan.data.settings import DataSettings
from jaxgan.gans.dcgan import DcganSettings
from jaxgan.sampling.settings import check_probability
from jaxgan.settings import PROBABILITY_RULES, GmdSettings
from jaxgan.study.arms import ARMS, Arm, create_arms

MOST_FOLDS = 20
MOST_SEEDS = 1000  # so that a job's seed, 1000 a seed and a fold on top, is far from overflowing


@dataclass(frozen=True)
class StudySettings:
    """One study: which arms, how often, and the GAN and classifier that all of them share."""

    arms: tuple[str, ...]
    amounts: tuple[float, ...]
    amount_arms: tuple[str, ...]
    num_folds: int
    num_seeds: int
    num_gan_seeds: int
    fold_seed: int
    num_updates: int
    holdout: float
    pool: float
    audit: bool
    dcgan: DcganSettings
    gmd: GmdSettings
    data: DataSettings

    def __post_init__(self) -> None:
        self._check_arms()
        good = 2 <= self.num_folds <= MOST_FOLDS
        _check("num_folds", self.num_folds, good, f"2 to {MOST_FOLDS}")
        _check("num_seeds", self.num_seeds, 1 <= self.num_seeds <= MOST_SEEDS, f"1 to {MOST_SEEDS}")
        good = 1 <= self.num_gan_seeds <= self.num_seeds
        _check("num_gan_seeds", self.num_gan_seeds, good, "1 to num_seeds")
        _check("num_updates", self.num_updates, self.num_updates >= 1, "1 or more")
        _check("holdout", self.holdout, 0.0 < self.holdout <= 0.5, "above 0, at most 0.5")
        _check("pool", self.pool, self.pool >= 1.0, "1 or more")
        good = self.dcgan.channels == self.gmd.channels or not self.needs_generators
        _check("gmd.channels", self.gmd.channels, good, f"dcgan.channels, {self.dcgan.channels}")

    def _check_arms(self) -> None:
        for name in ("arms", "amount_arms"):
            unknown = [arm for arm in getattr(self, name) if arm not in ARMS]
            _check(name, unknown, not unknown, f"some of {', '.join(ARMS)}")
        _check("arms", self.arms, "real" in self.arms, "'real' among them: all are compared to it")
        good = len(set(self.arms)) == len(self.arms)
        _check("arms", self.arms, good, "each arm once")
        good = bool(self.amounts) and all(0.0 < a <= 20.0 for a in self.amounts)
        _check("amounts", self.amounts, good, "numbers above 0, at most 20")
        good = len(set(self.amounts)) == len(self.amounts)
        _check("amounts", self.amounts, good, "each amount once")
        for arm in self.create_arms():
            if arm.source in PROBABILITY_RULES:
                check_probability(
                    f"The arm {arm.kind!r}",
                    self.dcgan.objective,
                    remedy="leave that arm out of config.arms",
                    field="config.dcgan.objective",
                )

    @property
    def needs_generators(self) -> bool:
        """Whether any arm has generated images; without one, `dcgan` says nothing."""
        return any(arm.needs_generator for arm in self.create_arms())

    def create_arms(self) -> list[Arm]:
        """Return the arms of the study, one an amount."""
        return create_arms(self.arms, self.amounts, self.amount_arms)


def _check(name: str, value: Any, good: bool, expected: str) -> None:
    if not good:
        found = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value
        raise UserError(f"config.{name} is {found!r}, expected {expected}.")
