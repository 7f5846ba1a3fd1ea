"""The arms of a study: what each adds to the real training images, and its controls."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from jaxgan.core.errors import UserError, list_some
from jaxgan.data.sets import ImageSet, join_sets
from jaxgan.sampling.selection import match_targets
from jaxgan.study import added
from jaxgan.study.added import Source


@dataclass(frozen=True)
class Arm:
    """One arm: it adds `amount` images of `source` per real image of a class.

    `controls` are the arms that it must beat for the verdict. Its difference is measured against
    the first of them. With `has_own_counts`, a table gives the number of added images per class.
    With `is_classic`, every image is augmented at random in each batch.
    """

    kind: str
    description: str
    source: Source = added.NOTHING
    uses_real: bool = True
    is_classic: bool = False
    has_own_counts: bool = False
    controls: tuple[str, ...] = ()
    amount: float = 0.0

    @property
    def name(self) -> str:
        """The arm's name, with the amount unless it is 0 or 1."""
        return self.kind if self.amount in (0.0, 1.0) else f"{self.kind}@{self.amount:g}"

    @property
    def needs_generator(self) -> bool:
        """Whether a GAN makes the added images."""
        return self.source.needs_generator

    @property
    def adds_by_amount(self) -> bool:
        """Whether `amount` sets the number of added images."""
        return self.source != added.NOTHING and not self.has_own_counts

    @property
    def chooses(self) -> bool:
        """Whether a rule selects from more generated images than the arm needs."""
        rule = self.source.rule
        return (rule.compares or rule.ranks) and not rule.keeps_batches

    def count_added(
        self, class_names: Sequence[str], num_real: Sequence[int], targets: Mapping[str, int]
    ) -> list[int]:
        """Return the number of images to add per class; there may be fewer."""
        if self.has_own_counts and (table := match_targets(class_names, targets)):
            return list(table.values())
        return [round(self.amount * num) for num in num_real]

    def join(
        self, train: ImageSet, more: Sequence[ImageSet], class_names: Sequence[str]
    ) -> ImageSet:
        """Return the training set of the arm; `more` are the images to add per class, in order.

        Raises `UserError` if nothing was added, or if a class has no image at all.
        """
        if self.source != added.NOTHING and not any(len(images) for images in more):
            raise UserError("the rule kept no image of any class")
        if self.uses_real:
            return join_sets([train, *more])
        missing = [n for n, images in zip(class_names, more, strict=True) if not len(images)]
        if missing:
            raise UserError(f"there is no generated image of class {list_some(missing)}")
        return join_sets(list(more))


_CONTROLS = ("real", "duplicates")
_ALL = (
    Arm("real", "real images alone"),
    Arm(
        "classic",
        "real images, rotated, zoomed, shifted, brightness and contrast changed at random",
        is_classic=True,
    ),
    Arm(
        "duplicates",
        "real images and the same number of real ones again: the control for the mere number",
        added.DUPLICATES,
    ),
    Arm("gan", "real images and generated ones, unfiltered", added.UNFILTERED, controls=_CONTROLS),
    Arm(
        "gan_paper_text",
        "real images and generated ones that D takes for real (the rule in the paper's text)",
        added.PAPER_TEXT,
        controls=_CONTROLS,
    ),
    Arm(
        "gan_paper_code",
        "real images and those that the paper's listing saves during training",
        added.PAPER_CODE,
        controls=_CONTROLS,
    ),
    Arm(
        "gan_paper_counts",
        "like gan_paper_text, with the numbers of the paper's Table 2",
        added.PAPER_TEXT,
        has_own_counts=True,
        controls=_CONTROLS,
    ),
    Arm(
        "gan_calibrated",
        "real images and generated ones by rejection sampling with a calibrated D",
        added.CALIBRATED,
        controls=_CONTROLS,
    ),
    Arm(
        "classic+gan",
        "like gan, with classic augmentation of real and generated images",
        added.UNFILTERED,
        is_classic=True,
        controls=("classic", *_CONTROLS),
    ),
    Arm("synthetic_only", "generated images alone, unfiltered", added.UNFILTERED, uses_real=False),
)
ARMS: Mapping[str, Arm] = {arm.kind: arm for arm in _ALL}


def create_arms(
    kinds: Sequence[str], amounts: Sequence[float], amount_arms: Sequence[str]
) -> list[Arm]:
    """Return the arms: those of `amount_arms` once per amount, the others with the usual amount.

    The usual amount is 1 if it is among `amounts`, otherwise the first of them.
    """
    usual = 1.0 if 1.0 in amounts else amounts[0]
    arms = []
    for kind in kinds:
        arm = ARMS[kind]
        if arm.adds_by_amount:
            arms += [replace(arm, amount=a) for a in (amounts if kind in amount_arms else (usual,))]
        else:
            arms.append(replace(arm, amount=1.0 if arm.has_own_counts else 0.0))
    return arms


def describe_missing_targets(
    arms: Sequence[Arm], class_names: Sequence[str], targets: Mapping[str, int]
) -> list[str]:
    """Return a notice for each arm with numbers from a table, if the table has other classes."""
    if match_targets(class_names, targets):
        return []
    return [
        f"{arm.name}: config.targets has numbers for the classes "
        f"{list_some(targets) or '(none)'}, but the classes here are {list_some(class_names)}. So "
        f"this arm adds {arm.amount:g} image(s) per real image to each class, not the numbers of "
        "the paper. To use these, give the folders the names of the table's classes (upper or "
        "lower case)."
        for arm in arms
        if arm.has_own_counts
    ]


def find_controls(arm: Arm, arms: Sequence[Arm]) -> list[str]:
    """Return the names of the controls of `arm`: duplicates of the same amount if they ran.

    Empty for arms that are not in the verdict: the controls, and `synthetic_only`.
    """
    return [find_reference(arm, kind, arms) for kind in arm.controls]


def find_reference(arm: Arm, kind: str, arms: Sequence[Arm]) -> str:
    """Return the name of the arm of `kind` that `arm` is compared with.

    The first choice is the same amount, then the usual amount, then any amount.
    """
    matching = [a for a in arms if a.kind == kind]
    same = [a for a in matching if a.amount == arm.amount]
    usual = [a for a in matching if a.amount in (0.0, 1.0)]
    return (same or usual or matching or [ARMS[kind]])[0].name
