"""The arms of a study: what each adds to the real training images, and what it has to beat."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jaxgan.core.errors import list_some
from jaxgan.sampling.selection import match_targets

# Where an arm's added images come from: a rule of selection, real ones again, or nowhere.
_SOURCES = {
    "real": "",
    "classic": "",
    "duplicates": "duplicates",
    "gan": "unfiltered",
    "gan_paper_text": "paper_text",
    "gan_paper_code": "paper_code",
    "gan_paper_counts": "paper_text",
    "gan_calibrated": "calibrated",
    "classic+gan": "unfiltered",
    "synthetic_only": "unfiltered",
}
ARMS = tuple(_SOURCES)
DESCRIPTIONS = {
    "real": "real images alone",
    "classic": "real images, rotated, zoomed, shifted, brightness and contrast changed at random",
    "duplicates": "real images and as many real ones again: the control for mere count",
    "gan": "real images and generated ones, unfiltered",
    "gan_paper_text": "real images and generated ones that D believes (the paper's text)",
    "gan_paper_code": "real images and what the paper's listing saves while training",
    "gan_paper_counts": "as gan_paper_text, in the numbers of the paper's Table 2",
    "gan_calibrated": "real images and generated ones by rejection sampling with a calibrated D",
    "classic+gan": "as gan, with classic augmentation of real and generated images alike",
    "synthetic_only": "generated images alone, unfiltered",
}
# What an arm has to beat for the verdict. The first is what its difference is told against.
_CONTROLS = {
    "gan": ("real", "duplicates"),
    "gan_paper_text": ("real", "duplicates"),
    "gan_paper_code": ("real", "duplicates"),
    "gan_paper_counts": ("real", "duplicates"),
    "gan_calibrated": ("real", "duplicates"),
    "classic+gan": ("classic", "real", "duplicates"),
}


@dataclass(frozen=True)
class Arm:
    """One arm: `amount` is how many images are added to each real one of a class."""

    kind: str
    amount: float = 0.0

    @property
    def name(self) -> str:
        """The arm's name, with the amount where it is not the usual one."""
        return self.kind if self.amount in (0.0, 1.0) else f"{self.kind}@{self.amount:g}"

    @property
    def source(self) -> str:
        """Where the added images come from, empty where none are added."""
        return _SOURCES[self.kind]

    @property
    def needs_generator(self) -> bool:
        """Whether a GAN makes the added images."""
        return self.source not in ("", "duplicates")

    @property
    def has_own_counts(self) -> bool:
        """Whether how many images of a class are added is a number of its own, not `amount`."""
        return self.kind == "gan_paper_counts"

    @property
    def chooses(self) -> bool:
        """Whether a rule takes some of more generated images than the arm wants."""
        return self.source in ("paper_text", "calibrated")

    def count_added(
        self, class_names: Sequence[str], num_real: Sequence[int], targets: Mapping[str, int]
    ) -> list[int]:
        """Return how many images are added to each class, where there are as many."""
        if self.has_own_counts and (table := match_targets(class_names, targets)):
            return list(table.values())
        return [round(self.amount * num) for num in num_real]

    @property
    def uses_real(self) -> bool:
        """Whether it trains on the real images too."""
        return self.kind != "synthetic_only"

    @property
    def is_classic(self) -> bool:
        """Whether every image is augmented anew in each batch."""
        return self.kind.startswith("classic")

    @property
    def description(self) -> str:
        """One line for a table."""
        return DESCRIPTIONS[self.kind]


def create_arms(
    kinds: Sequence[str], amounts: Sequence[float], amount_arms: Sequence[str]
) -> list[Arm]:
    """Return the arms, those of `amount_arms` once an amount and the others with as many added.

    The usual amount is 1 where it is among `amounts`, else the first of them.
    """
    usual = 1.0 if 1.0 in amounts else amounts[0]
    arms = []
    for kind in kinds:
        if not _SOURCES[kind]:
            arms.append(Arm(kind))
        elif Arm(kind).has_own_counts:
            arms.append(Arm(kind, 1.0))
        else:
            arms += [Arm(kind, a) for a in (amounts if kind in amount_arms else (usual,))]
    return arms


def describe_lacking_targets(
    arms: Sequence[Arm], class_names: Sequence[str], targets: Mapping[str, int]
) -> list[str]:
    """Return what has to be said of arms with numbers of their own where the table is of others."""
    if match_targets(class_names, targets):
        return []
    return [
        f"{arm.name}: the numbers of config.dcgan.selection.targets are of the classes "
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
    names = []
    for kind in _CONTROLS.get(arm.kind, ()):
        matching = [a for a in arms if a.kind == kind]
        same = [a for a in matching if a.amount == arm.amount]
        usual = [a for a in matching if a.amount in (0.0, 1.0)]
        names.append((same or usual or matching or [Arm(kind)])[0].name)
    return names
