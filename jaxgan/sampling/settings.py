"""The settings of a GAN's run: see configs/dcgan.py for the meaning of each field."""

import numbers
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jaxgan.core.errors import UserError
from jaxgan.core.seeds import NUM_SEEDS
from jaxgan.core.settings import check, check_choice
from jaxgan.gans import families
from jaxgan.gans.protocol import Gan
from jaxgan.sampling.selection import RULES, Rule
from jaxgan.training.settings import CHECKPOINTS, RunSettings


@dataclass(frozen=True)
class SelectionSettings:
    """Which generated images are kept (see `jaxgan.sampling.selection`)."""

    rule: str
    threshold: float
    num_accept: int
    targets: Mapping[str, int]
    per_epoch: int
    max_tries: int
    pool: float
    truncation: float = 1.0

    def __post_init__(self) -> None:
        check_choice("rule", self.rule, tuple(RULES))
        for name in ("num_accept", "per_epoch", "max_tries"):
            check(name, getattr(self, name), getattr(self, name) >= 0, "0 or more")
        for name, num in self.targets.items():
            good = isinstance(num, int) and not isinstance(num, bool) and num >= 0
            check(f"targets.{name}", num, good, "a whole number, 0 or more")
        check("pool", self.pool, self.pool >= 1.0, "1 or more")
        expected = "a number above 0, at most 1 (off)"
        check("truncation", self.truncation, 0.0 < self.truncation <= 1.0, expected)

    @property
    def how(self) -> Rule:
        """What the rule does."""
        return RULES[self.rule]

    @property
    def shown_threshold(self) -> float | None:
        """The threshold of the rule, None for a rule without one."""
        return self.threshold if self.how.compares else None


@dataclass(frozen=True, kw_only=True)
class TrainGanSettings(RunSettings):
    """One run of a GAN."""

    gan: "families.GanSettings"
    look_every_epochs: int
    sample_every_epochs: int
    measure_every_epochs: int
    select_checkpoint: str
    selection: SelectionSettings

    def __post_init__(self) -> None:
        super().__post_init__()
        check("batch_size", self.batch_size, self.batch_size >= 2, "2 or more, for batch norm")
        check_choice("select_checkpoint", self.select_checkpoint, CHECKPOINTS)
        for name in ("measure_every_epochs", "look_every_epochs", "sample_every_epochs"):
            check(name, getattr(self, name), getattr(self, name) >= 0, "0 (never) or more")
        # Every check has its own latents, and so have the images that are drawn at the end.
        most = NUM_SEEDS // 2 // self.batch_size - 1
        expected = f"at most {most} with config.batch_size {self.batch_size}"
        check("num_epochs", self.num_epochs, self.num_epochs <= most, expected)
        if self.selection.how.compares:
            rule = f"config.selection.rule {self.selection.rule!r}"
            check_probability(rule, self.create_gan(), remedy="set --accept=none")
        if self.selection.truncation != 1.0:
            name = "config.selection.truncation"
            check_truncation(name, self.selection.truncation, self.create_gan())

    def create_gan(self) -> Gan[Any]:
        """Return the GAN of the run."""
        return self.gan.create(self.num_epochs)


def check_probability(rule: str, gan: Gan[Any], *, remedy: str) -> None:
    """Raise if a `rule` compares D's score with a threshold but the score is no probability."""
    if gan.to_probability is None:
        raise UserError(
            f"{rule} needs a score of D that is a probability. Only a family and an objective "
            f"with cross-entropy (config.gan.objective) have one, not this one ({gan.meaning}): "
            f"{remedy}."
        )


def check_truncation(name: str, truncation: float, gan: Gan[Any]) -> None:
    """Raise if `truncation` is out of its range, or does not apply to the latents of `gan`."""
    if not isinstance(truncation, numbers.Real) or not 0.0 < truncation <= 1.0:
        raise UserError(f"{name} is {truncation!r}, expected a number above 0, at most 1 (off).")
    if truncation != 1.0 and gan.draw_truncated is None:
        raise UserError(
            f"{name} is {truncation}, but truncation does not apply to this family: its latents "
            "are not one array of values from a normal distribution. Expected 1 (off)."
        )
