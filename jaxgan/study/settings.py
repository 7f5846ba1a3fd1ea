"""The settings of a study, typed: configs/study.py says what each field means."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jaxgan.classifiers import families as classifier_families
from jaxgan.classifiers.transfer import NO_TRANSFER, TransferSettings
from jaxgan.core.settings import check
from jaxgan.data.settings import DataSettings
from jaxgan.gans import families as gan_families
from jaxgan.networks.optimizers import OptimizerSettings
from jaxgan.sampling.settings import check_probability, check_truncation
from jaxgan.study.arms import ARMS, Arm, create_arms

MOST_FOLDS = 20
SEED_STRIDE = 1000  # a job's seed is SEED_STRIDE * seed + fold
MOST_SEEDS = 1000  # so a job's seed can not overflow


@dataclass(frozen=True, kw_only=True)
class StudySettings:
    """One study: its arms, the number of trainings, and the GAN and classifier of all arms."""

    arms: tuple[str, ...]
    amounts: tuple[float, ...]
    amount_arms: tuple[str, ...]
    num_folds: int
    num_seeds: int
    num_gan_seeds: int
    fold_seed: int
    classifier: "classifier_families.ClassifierSettings"
    optimizer: OptimizerSettings
    num_updates: int
    batch_size: int
    eval_batch_size: int
    gan: "gan_families.GanSettings"
    gan_epochs: int
    gan_batch_size: int
    holdout: float
    pool: float
    threshold: float
    targets: Mapping[str, int]
    audit: bool
    max_steps_per_dispatch: int
    checkpoint_every_seconds: float
    data: DataSettings
    transfer: TransferSettings = NO_TRANSFER
    keep_classifiers: bool = False
    truncation: float = 1.0

    def __post_init__(self) -> None:
        self._check_numbers()
        self._check_arms()
        good = self.gan.channels == self.classifier.channels or not self.needs_generators
        expected = f"gan.channels, {self.gan.channels}"
        _check("classifier.channels", self.classifier.channels, good, expected)

    def _check_numbers(self) -> None:
        good = 2 <= self.num_folds <= MOST_FOLDS
        _check("num_folds", self.num_folds, good, f"2 to {MOST_FOLDS}")
        _check("num_seeds", self.num_seeds, 1 <= self.num_seeds <= MOST_SEEDS, f"1 to {MOST_SEEDS}")
        good = 1 <= self.num_gan_seeds <= self.num_seeds
        _check("num_gan_seeds", self.num_gan_seeds, good, "1 to num_seeds")
        for name in ("num_updates", "batch_size", "eval_batch_size", "gan_epochs"):
            _check(name, getattr(self, name), getattr(self, name) >= 1, "1 or more")
        good = self.gan_batch_size >= 2
        _check("gan_batch_size", self.gan_batch_size, good, "2 or more, for batch norm")
        _check("holdout", self.holdout, 0.0 < self.holdout <= 0.5, "above 0, at most 0.5")
        _check("pool", self.pool, self.pool >= 1.0, "1 or more")
        for name, num in self.targets.items():
            good = isinstance(num, int) and not isinstance(num, bool) and num >= 0
            _check(f"targets.{name}", num, good, "a whole number, 0 or more")
        steps, seconds = self.max_steps_per_dispatch, self.checkpoint_every_seconds
        _check("max_steps_per_dispatch", steps, 1 <= steps <= 50, "1 to 50")
        _check("checkpoint_every_seconds", seconds, seconds >= 0.0, "0 (never) or more")

    def _check_arms(self) -> None:
        for name in ("arms", "amount_arms"):
            unknown = [arm for arm in getattr(self, name) if arm not in ARMS]
            _check(name, unknown, not unknown, f"some of {', '.join(ARMS)}")
        good = "real" in self.arms
        _check("arms", self.arms, good, "'real' in the list: all arms are compared with it")
        good = len(set(self.arms)) == len(self.arms)
        _check("arms", self.arms, good, "each arm once")
        good = bool(self.amounts) and all(0.0 < a <= 20.0 for a in self.amounts)
        _check("amounts", self.amounts, good, "numbers above 0, at most 20")
        good = len(set(self.amounts)) == len(self.amounts)
        _check("amounts", self.amounts, good, "each amount once")
        if self.needs_generators:
            gan = self.gan.create(self.gan_epochs)
            check_truncation("config.truncation", self.truncation, gan)
        for arm in self.create_arms():
            if arm.source.rule.compares:
                gan = self.gan.create(self.gan_epochs)
                remedy = "leave that arm out of config.arms"
                check_probability(f"The arm {arm.kind!r}", gan, remedy=remedy)

    @property
    def needs_generators(self) -> bool:
        """Whether any arm has generated images; if none has, `gan` has no effect."""
        return any(arm.needs_generator for arm in self.create_arms())

    def create_arms(self) -> list[Arm]:
        """Return the arms of the study, one per amount."""
        return create_arms(self.arms, self.amounts, self.amount_arms)


def _check(name: str, value: Any, good: bool, expected: str) -> None:
    is_list = isinstance(value, Sequence) and not isinstance(value, str)
    check(name, list(value) if is_list else value, good, expected)
