"""The settings of a run's data: see the configs for the meaning of each field."""

from dataclasses import dataclass
from typing import Protocol

from jaxgan.core.settings import check, check_choice
from jaxgan.data.fit import FITS
from jaxgan.data.values import AUTO, parse_view


class Sized(Protocol):
    """The settings of a model that learns from images of one size."""

    @property
    def image_size(self) -> int: ...  # noqa: D102 (the class says it)

    @property
    def channels(self) -> int: ...  # noqa: D102


@dataclass(frozen=True)
class DataSettings:
    """How a source is split, and how the phantom is drawn."""

    val_fraction: float
    split_seed: int
    phantom_seed: int
    phantom_subtlety: float
    resident_bytes: int
    fit: str = "crop"  # records of earlier runs have none of these three fields
    value_range: str = AUTO
    window: str = ""

    def __post_init__(self) -> None:
        check_choice("fit", self.fit, FITS)
        parse_view(self.value_range, self.window)
        check("val_fraction", self.val_fraction, 0.0 < self.val_fraction < 1.0, "0 to 1")
        good = 0.0 <= self.phantom_subtlety <= 1.0
        expected = "0 (obvious) to 1 (nearly invisible)"
        check("phantom_subtlety", self.phantom_subtlety, good, expected)
        check("phantom_seed", self.phantom_seed, self.phantom_seed >= 0, "0 or more")
