"""The settings that every training has, whatever it trains."""

from dataclasses import dataclass

from jaxgan.core.seeds import check_seed
from jaxgan.core.settings import check
from jaxgan.data.settings import DataSettings
from jaxgan.training.epochs import EpochPlan

CHECKPOINTS = ("best", "newest")


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """One run: its seed, its length, its batches, its schedules, its data."""

    seed: int
    batch_size: int
    num_epochs: int
    checkpoint_every_epochs: int
    epochs_per_dispatch: int
    max_steps_per_dispatch: int
    data: DataSettings
    checkpoint_every_seconds: float = 60.0  # earlier runs did not save it

    def __post_init__(self) -> None:
        check_seed("config.seed", self.seed)
        for name in ("batch_size", "num_epochs", "checkpoint_every_epochs", "epochs_per_dispatch"):
            check(name, getattr(self, name), getattr(self, name) >= 1, "1 or more")
        seconds = self.checkpoint_every_seconds
        check("checkpoint_every_seconds", seconds, seconds >= 0.0, "0 (by epochs only) or more")
        # Two virtual CPU devices can deadlock if many steps run without synchronisation. No trial
        # with 50 steps did.
        steps = self.max_steps_per_dispatch
        check("max_steps_per_dispatch", steps, 1 <= steps <= 50, "1 to 50")

    def create_plan(self, num_examples: int, borders: tuple[int, ...] = ()) -> EpochPlan:
        """Return the plan of a run over `num_examples` images; for `borders` see `EpochPlan`."""
        return EpochPlan(
            num_examples=num_examples,
            batch_size=self.batch_size,
            num_epochs=self.num_epochs,
            max_steps=self.max_steps_per_dispatch,
            epochs_per_dispatch=self.epochs_per_dispatch,
            borders=borders,
        )
