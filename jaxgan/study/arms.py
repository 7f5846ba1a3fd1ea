"""The arms of a study: what each adds to the real training images, and what it has to beat."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from jaxgan.core.errors import UserError, list_some
from jaxgan.data.sets import ImageSet, join_sets
from jaxgan.sampling.selection import match_targets
from jaxgan.study import added
from jaxgan.study.added import Source


@dataclass(frozen=True)
class Arm:
    """One arm: `amount` is how many images of `source` are added to each real one of a class.

    `controls` are the arms that it has to beat for the verdict; its difference is told against the
    first. With `has_own_counts` a table says how many images of a class are added. `is_classic`:
    every image is augmented anew in each batch.
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
        """The arm's name, with the amount where it is not the usual one."""
        return self.kind if self.amount in (0.0, 1.0) else f"{self.kind}@{self.amount:g}"

    @property
    def needs_generator(self) -> bool:
        """Whether a GAN makes the added images."""
        return self.source.needs_generator

    @property
    def adds_by_amount(self) -> bool:
        """Whether how many images are added is a matter of `amount`."""
        return self.source != added.NOTHING and not self.has_own_counts

    @property
    def chooses(self) -> bool:
        """Whether a rule takes some of more generated images than the arm wants."""
        rule = self.source.rule
        return (rule.compares or rule.ranks) and not rule.keeps_batches

    def count_added(
        self, class_names: Sequence[str], num_real: Sequence[int], targets: Mapping[str, int]
    ) -> list[int]:
        """Return how many images are added to each class, where there are as many."""
        if self.has_own_counts and (table := match_targets(class_names, targets)):
            return list(table.values())
        return [round(self.amount * num) for num in num_real]

    def join(
        self, train: ImageSet, more: Sequence[ImageSet], class_names: Sequence[str]
    ) -> ImageSet:
        """Return what the arm learns from: `more` are each class's images to add, in order.

        Raises `UserError` where nothing was added, or a class has no image at all.
        """
        if self.source != added.NOTHING and not any(len(images) for images in more):
            raise UserError("the rule kept no image of any class")
        if self.uses_real:
            return join_sets([train, *more])
        lacking = [n for n, images in zip(class_names, more, strict=True) if not len(images)]
        if lacking:
            raise UserError(f"there is no generated image of class {list_some(lacking)}")
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
        "real images and as many real ones again: the control for mere count",
        added.DUPLICATES,
    ),
    Arm("gan", "real images and generated ones, unfiltered", added.UNFILTERED, controls=_CONTROLS),
    Arm(
        "gan_paper_text",
        "real images and generated ones that D believes (the paper's text)",
        added.PAPER_TEXT,
        controls=_CONTROLS,
    ),
    Arm(
        "gan_paper_code",
        "real images and what the paper's listing saves while training",
        added.PAPER_CODE,
        controls=_CONTROLS,
    ),
    Arm(
        "gan_paper_counts",
        "as gan_paper_text, in the numbers of the paper's Table 2",
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
        "as gan, with classic augmentation of real and of generated images",
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
    """Return the arms, those of `amount_arms` once an amount and the others with as many added.

    The usual amount is 1 where it is among `amounts`, else the first of them.
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


def describe_lacking_targets(
    arms: Sequence[Arm], class_names: Sequence[str], targets: Mapping[str, int]
) -> list[str]:
    """Return what has to be said of arms with numbers of their own where the table is of others."""
    if match_targets(class_names, targets):
        return []
    return [
        f"{arm.name}: the numbers of config.targets are of the classes "
        f"{list_some(targets) or '(none)'}, and those here are {list_some(class_names)}: to each "
        f"are added {arm.amount:g} image(s) for each real one, not a number of the paper. For its "
        "numbers the folders are called as the table's classes are, in any case of letters."
        for arm in arms
        if arm.has_own_counts
    ]


def find_controls(arm: Arm, arms: Sequence[Arm]) -> list[str]:
    """Return the names of what `arm` has to beat, duplicates of its own amount where they ran.

    Empty for arms that the verdict does not judge: the controls, and `synthetic_only`.
    """
    return [find_reference(arm, kind, arms) for kind in arm.controls]


def find_reference(arm: Arm, kind: str, arms: Sequence[Arm]) -> str:
    """Return which of one kind an arm is told against: of its amount, else the usual, else any."""
    matching = [a for a in arms if a.kind == kind]
    same = [a for a in matching if a.amount == arm.amount]
    usual = [a for a in matching if a.amount in (0.0, 1.0)]
    return (same or usual or matching or [ARMS[kind]])[0].name
