"""Host arithmetic of a run: which step ends which epoch, and what is due when.

Batches are whole and lie end to end over the epochs (see `jaxgan.training.feed`), so epoch `e` ends
with the first step after which `e * num_examples` images have been seen. Everything a run does
besides stepping (a line of metrics, a sample, a checkpoint, a stop) happens between two dispatches,
and where dispatches end depends on this object alone: resumed and uninterrupted runs agree.
"""

from dataclasses import dataclass

from jaxgan.core.errors import UserError


@dataclass(frozen=True)
class EpochPlan:
    """A run of `num_epochs` over `num_examples` images.

    A dispatch ends with every `epochs_per_dispatch`-th epoch, with each epoch of `borders` (where
    another stage begins), and after `max_steps` at the latest.
    """

    num_examples: int
    batch_size: int
    num_epochs: int
    max_steps: int
    epochs_per_dispatch: int = 1
    borders: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        # A step's number is folded into its key as 32 bits with a sign.
        if self.num_steps >= 2**31:
            raise UserError(
                f"config.num_epochs is {self.num_epochs}: {self.num_steps} steps on "
                f"{self.num_examples} images, expected fewer than {2**31}."
            )

    @property
    def num_steps(self) -> int:
        """The steps of the whole run."""
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

        A step that ends several, where the batch is larger than the set, comes once, with the last.
        """
        epochs = range(self.compute_epoch(begin) + 1, self.compute_epoch(end) + 1)
        return list({self.compute_end_of_epoch(epoch): epoch for epoch in epochs}.items())

    def compute_next(self, step: int) -> int:
        """Return the step that ends the dispatch beginning at `step`, itself at the end."""
        epoch = self.compute_epoch(step) // self.epochs_per_dispatch * self.epochs_per_dispatch
        while (end := self.compute_end_of_epoch(epoch)) <= step and epoch < self.num_epochs:
            epoch += self.epochs_per_dispatch
        borders = (self.compute_end_of_epoch(epoch) for epoch in self.borders)
        return min(end, step + self.max_steps, self.num_steps, *(b for b in borders if b > step))

    def is_due(self, every_epochs: int, before: int, after: int) -> bool:
        """Whether something done every so many epochs, and at the end, falls into (before, after].

        Never for `every_epochs` 0.
        """
        if not every_epochs:
            return False
        passed = (
            self.compute_epoch(after) // every_epochs > self.compute_epoch(before) // every_epochs
        )
        return passed or after == self.num_steps > before
