"""What the measures of an evaluation say, in two sentences, by fixed rules.

Every rule compares a measure with its *floor*: what real images reach against other real images at
the same n, in 19 of 20 divisions. The first sentence says what was found, the second what to do.

**Similarity**, by the kernel distance and the distance of texture (sliced Wasserstein): `like` real
images up to 1.5 floors; `unlike` above 3 floors of the kernel distance or 2 floors of the texture;
`near` between these. Where the outside ruler is measured too (`jaxgan.evaluation.imagenet`), no
images are `like` real ones that are above 1.5 floors of its kernel distance: the encoder alone
hardly sees blur. They are then `near`, however far they are.

**Variety**, by recall and coverage: `full` from three quarters of the floor on; `none` below a
quarter of it; `partial` between these.

| verdict | where |
|---|---|
| copies | memorisation is flagged: nearer to training images than chance allows |
| do not use | the similarity is `unlike`, or the variety is `none` |
| use with care | the similarity is `near`, or the variety is `partial` |
| good | none of these |
| unknown | there are too few real images for a floor |

The factors lie between two measured results: real images of *other classes* (a kernel distance of
1.5 to 4 floors, docs/quality.md), and failed generators (above 4 floors, recall 0).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Word = Literal["copies", "do not use", "use with care", "good", "unknown"]

_LIKE = 1.5  # floors of a distance
_UNLIKE = {"kernel_distance": 3.0, "sliced_wasserstein": 2.0}  # floors
_FULL, _NONE = 0.75, 0.25  # of the floor of a score
_SCORES = ("recall", "coverage")
_TEXTS = {
    "kernel_distance": "kernel distance {value:.3f} where real images stay below {floor:.3f}",
    "outside": "kernel distance {value:.3g} where real images stay below {floor:.2g}",
    "sliced_wasserstein": "texture {value:.0f} where real images stay below {floor:.0f}",
    "recall": "recall {value:.2f} where real images reach {floor:.2f}",
    "coverage": "coverage {value:.2f} where real images reach {floor:.2f}",
    "memorisation": "memorisation {value:.2f} where chance stays below {floor:.2f}",
}
_SIMILARITIES = (
    "look like real ones",
    "differ a little from real ones",
    "do not look like real ones",
)
_VARIETIES = ("vary as much", "vary less", "hardly vary")
_ADVICE: tuple[tuple[Word, str], ...] = (
    ("good", "Only a study can say whether they help a classifier."),
    ("use with care", "Use them only in a study, together with real images."),
    ("do not use", "Do not use them."),
)


@dataclass(frozen=True)
class Verdict:
    """A word, what was found, and what to do."""

    word: Word
    finding: str
    advice: str

    def __str__(self) -> str:
        return f"{self.finding} {self.advice}"


def find_verdict(result: Mapping[str, Any]) -> Verdict:
    """Return the verdict on what `evaluate` has measured, by the rules above."""
    copies = result.get("memorisation")
    if copies and copies["flag"]:
        found = _describe(result, "memorisation")
        finding = f"These images are too close to the training images: {found}."
        return Verdict("copies", finding, "Do not use or share them.")
    if any(result[name]["floor"] is None for name in (*_UNLIKE, *_SCORES)):
        finding = "There are too few real images to say how good these images are."
        return Verdict("unknown", finding, "Bring more real images.")
    similarities = {name: _rate_distance(result[name], name) for name in _UNLIKE}
    varieties = {name: _rate_score(result[name]) for name in _SCORES}
    worst_distance, worst_score = (
        max(rated, key=lambda n: rated[n]) for rated in (similarities, varieties)
    )
    similarity, variety = similarities[worst_distance], varieties[worst_score]
    compared = f"{_SIMILARITIES[similarity]} ({_describe(result, worst_distance)})"
    if similarity < 2 and _differs_outside(result):
        similarity = 1
        compared = f"differ from real ones in the outside ruler ({_describe(result, 'outside')})"
    joined = "but" if (similarity == 0) != (variety == 0) else "and"
    finding = (
        f"These images {compared} {joined} {_VARIETIES[variety]} "
        f"({_describe(result, worst_score)})."
    )
    word, advice = _ADVICE[max(similarity, variety)]
    return Verdict(word, finding, advice)


def _rate_distance(measure: Mapping[str, Any], name: str) -> int:
    """Return 0 for like real images, 1 for near them, 2 for unlike them."""
    value, floor = measure["value"], max(measure["floor"], 0.0)
    return int(value > _LIKE * floor) + int(value > _UNLIKE[name] * floor)


def _rate_score(measure: Mapping[str, Any]) -> int:
    """Return 0 for full variety, 1 for partial, 2 for none."""
    value, floor = measure["value"], measure["floor"]
    return int(value < _FULL * floor) + int(value < _NONE * floor)


def _differs_outside(result: Mapping[str, Any]) -> bool:
    """Return whether the outside ruler was measured, and tells the images from real ones."""
    measure = result.get("outside", {}).get("kernel_distance")
    return measure is not None and _rate_distance(measure, "kernel_distance") > 0


def _describe(result: Mapping[str, Any], name: str) -> str:
    measure = result["outside"]["kernel_distance"] if name == "outside" else result[name]
    return _TEXTS[name].format(**measure)
