"""What a classifier's run may be told."""

from dataclasses import dataclass

from jaxgan.core.settings import check, check_choice
from jaxgan.networks.layers import DTYPES
from jaxgan.training.settings import RunSettings

OPTIMIZERS = ("adam", "sgd")


@dataclass(frozen=True, kw_only=True)
class GmdSettings(RunSettings):
    """One classifier experiment."""

    dtype: str
    image_size: int
    channels: int
    num_outputs: int
    width: int
    padding: str
    optimizer: str
    learning_rate: float
    momentum: float
    eval_batch_size: int
    evaluate_every_epochs: int

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("dtype", self.dtype, tuple(DTYPES))
        # Two poolings and five 'VALID' convolutions have to leave something to flatten.
        check("image_size", self.image_size, 24 <= self.image_size <= 512, "24 to 512")
        check_choice("channels", self.channels, (1, 3))
        check_choice("padding", self.padding, ("VALID", "SAME"))
        check_choice("optimizer", self.optimizer, OPTIMIZERS)
        check("learning_rate", self.learning_rate, self.learning_rate > 0.0, "above 0")
        check("momentum", self.momentum, 0.0 <= self.momentum < 1.0, "0 to below 1")
        check("width", self.width, self.width >= 8 and self.width % 8 == 0, "a multiple of 8")
        check("num_outputs", self.num_outputs, self.num_outputs >= 0, "0 (one a class) or more")
        for name in ("eval_batch_size", "evaluate_every_epochs"):
            check(name, getattr(self, name), getattr(self, name) >= 1, "1 or more")
