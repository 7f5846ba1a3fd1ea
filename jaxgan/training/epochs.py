"""Host arithmetic of a run: which step ends which epoch, and what is due when.

All batches are full and follow each other across epochs (see `jaxgan.training.feed`). So epoch `e`
ends with the first step after which `e * num_examples` images have been seen. Everything except
the steps (a line of metrics, a sample, a checkpoint, a stop) happens between two dispatches. Only
this object decides where dispatches end, so resumed and uninterrupted runs agree.
"""

from dataclasses import dataclass

from jaxgan.core.errors import UserError


@dataclass(frozen=True)
class EpochPlan:
    """A run of `num_epochs` over `num_examples` images.

    A dispatch ends after every `epochs_per_dispatch`-th epoch, after each epoch in `borders` (where
    another stage begins), and after at most `max_steps`.
    """

    num_examples: int
    batch_size: int
    num_epochs: int
    max_steps: int
    epochs_per_dispatch: int = 1
    borders: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        # A step's number is folded into its key as a signed 32-bit number.
        if self.num_steps >= 2**31:
            raise UserError(
                f"config.num_epochs is {self.num_epochs}: {self.num_steps} steps on "
                f"{self.num_examples} images, expected fewer than {2**31}."
            )

    @property
    def num_steps(self) -> int:
        """The number of steps of the whole run."""
        return self.compute_end_of_epoch(self.num_epochs)

    def compute_end_of_epoch(self, epoch: int) -> int:
        """Return the number of steps after which `epoch` epochs are complete."""
        return -(-epoch * self.num_examples // self.batch_size)

    def list_ends(self) -> tuple[int, ...]:
        """Return the number of steps after which each epoch is complete."""
        return tuple(self.compute_end_of_epoch(epoch + 1) for epoch in range(self.num_epochs))

    def compute_epoch(self, step: int) -> int:
        """Return how many epochs are complete after `step` steps."""
        return min(step * self.batch_size // self.num_examples, self.num_epochs)

    def list_epoch_ends(self, begin: int, end: int) -> list[tuple[int, int]]:
        """Return each step of (begin, end] that ends an epoch, and the epoch.

        If the batch is larger than the set, one step can end several epochs. It is listed once,
        with the last of them.
        """
        epochs = range(self.compute_epoch(begin) + 1, self.compute_epoch(end) + 1)
        return list({self.compute_end_of_epoch(epoch): epoch for epoch in epochs}.items())

    def compute_next(self, step: int) -> int:
        """Return the step that ends the dispatch beginning at `step`; at the end, `step`."""
        epoch = self.compute_epoch(step) // self.epochs_per_dispatch * self.epochs_per_dispatch
        while (end := self.compute_end_of_epoch(epoch)) <= step and epoch < self.num_epochs:
            epoch += self.epochs_per_dispatch
        borders = (self.compute_end_of_epoch(epoch) for epoch in self.borders)
        return min(end, step + self.max_steps, self.num_steps, *(b for b in borders if b > step))

    def is_due(self, every_epochs: int, before: int, after: int) -> bool:
        """Whether an action due every `every_epochs` epochs, and at the end, is in (before, after].

        Never for `every_epochs` 0.
        """
        if not every_epochs:
            return False
        passed = (
            self.compute_epoch(after) // every_epochs > self.compute_epoch(before) // every_epochs
        )
        return passed or after == self.num_steps > before
