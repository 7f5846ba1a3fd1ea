"""How good were the generated images? Each generator of a study is measured, with two rulers.

Images that the generator drew are compared with the training images of its fold and class. They
are the first it drew, before any arm selects. Test images have no part in it. No arm and no verdict
depends on the result: it is only reported. A generator that copies its training images looks good
here: `jaxgan.study.memory` and the nearest pairs on the page are about that.

What each ruler measures: `jaxgan.evaluation.fidelity`.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxgan.classifiers.weight_packages import INSTALL
from jaxgan.data.sets import ImageSet
from jaxgan.evaluation import equivalent, imagenet
from jaxgan.evaluation.fidelity import MOST_GENERATED, OUTSIDE, PYRAMID, measure
from jaxgan.training.jobs import Job, Result, hash_files, hash_pixels

VERSION = 1  # raise it when the results change, so that generators are measured again

Measured = Mapping[str, Any]  # of one generator, see `measure`
_AS_TRAINED: Mapping[str, Any] = {}  # with no truncation
_Place = tuple[int, int, int]  # fold, GAN seed, class

# Words before the mean of blurs. "less": some generators are within chance, and count with the most
# that chance hides. "chance": all are. "more": some are beyond the greatest blur. "mixed": both.
AMOUNTS = {
    "as": "",
    "less": "at most ",
    "chance": "at most ",
    "more": "more than ",
    "mixed": "about ",
}


def create_job(
    ruler: str,
    made: Result,
    train: ImageSet,
    label: int,
    *,
    name: str,
    drawing: Mapping[str, Any] = _AS_TRAINED,
) -> Job:
    """Return the job that measures the images of one generator with a ruler.

    `made` is the result of the generator's jobs; `train` are the training images of its fold.
    `drawing` says how the images were drawn (`generators.describe_drawing`).
    """
    generated, real = made["images"][:MOST_GENERATED], train.of_class(label)
    record: dict[str, Any] = {
        "generator": str(made["record"]),
        "num": len(generated),
        "real": _describe_images(real),
        "version": VERSION,
        **drawing,
    }
    if ruler == OUTSIDE:
        record["fitted"] = _describe_images(train)
        record["versions"] = {"features": imagenet.VERSION, "curves": equivalent.VERSION}

    def compute(partial: Path) -> Result:
        del partial  # it takes seconds
        return {"measured": np.array(json.dumps(measure(ruler, generated, train, label)))}

    return Job(ruler, name, record, compute)


def _describe_images(images: ImageSet) -> dict[str, str]:
    return {
        "files": hash_files(images.files, images.labels),
        "pixels": hash_pixels(images.images),
        "patients": hash_files(images.patients, images.labels),
    }


def read_measured(result: Result) -> Measured:
    """Return what `measure` found, from the result of its job."""
    found: Measured = json.loads(str(result["measured"]))
    return found


# All generators of a study ----------------------------------------------------------------------


def summarise(
    found: Mapping[str, Mapping[_Place, Measured]], class_names: Sequence[str], *, side: int
) -> dict[str, Any] | None:
    """Return a row per class, and the sentence about all generators; None without any generator.

    `found` has what each ruler measured, by (fold, GAN seed, class). `side` is that of the
    generated images in pixels.
    """
    everything = [one for by_place in found.values() for one in by_place.values()]
    if not everything:
        return None
    overall = _summarise_some(found)
    rows = []
    for label, name in enumerate(class_names):
        of_class = {
            ruler: {place: one for place, one in by_place.items() if place[2] == label}
            for ruler, by_place in found.items()
        }
        rows.append({"class": name, **_summarise_some(of_class)})
    return {
        "sentence": _describe(overall, everything, side, has_outside=OUTSIDE in found),
        "side": side,
        "overall": overall,
        "classes": rows,
        "by_generator": {
            ruler: [
                {"fold": fold, "gan_seed": seed, "class": class_names[label], **one}
                for (fold, seed, label), one in by_place.items()
            ]
            for ruler, by_place in found.items()
        },
    }


def _summarise_some(found: Mapping[str, Mapping[_Place, Measured]]) -> dict[str, Any]:
    """Return mean, least and most of these generators: distances in floors, blur in pixels."""
    by_ruler = {ruler: list(found.get(ruler, {}).values()) for ruler in (PYRAMID, OUTSIDE)}
    measured = {ruler: [o for o in all_ if o["score"]] for ruler, all_ in by_ruler.items()}
    blurs = [one["blur"] for one in measured[OUTSIDE] if one["blur"]]
    blur = _spread([b["strength"] for b in blurs])
    return {
        "generators": max(map(len, measured.values())),
        **{ruler: _spread([*map(_divide, ones)]) for ruler, ones in measured.items()},
        "blur": blur and {**blur, "relation": _join_relations({b["relation"] for b in blurs})},
    }


def _divide(one: Measured) -> float | None:
    """Return a distance over its floor; None for a floor of 0 or less, which has no multiples."""
    value, floor = float(one["score"]["value"]), float(one["score"]["floor"])
    return value / floor if floor > 0 else None


def _spread(values: Sequence[float | None]) -> dict[str, float] | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    return {"mean": float(np.mean(known)), "min": min(known), "max": max(known)}


def _join_relations(relations: set[str]) -> str:
    """Return what the mean of strengths is, some of which may be limits: see `AMOUNTS`."""
    if relations == {"less"}:
        return "chance"
    limits = relations - {"as"}
    if len(limits) > 1:
        return "mixed"
    return limits.pop() if limits else "as"


def _describe(
    overall: Mapping[str, Any], everything: Sequence[Measured], side: int, *, has_outside: bool
) -> str:
    """Return the sentences about all generators, for the lead of the page."""
    if not overall["generators"]:
        reasons = [one["reason"] for one in everything if one["reason"]]
        return f"The quality of the generated images is not known: {reasons[0]}"
    texture = _describe_floors(overall[PYRAMID])
    if not has_outside:
        return (
            f"The generated images were measured by texture alone (pyramid): "
            f"{texture}. Install jaxgan[imagenet] for a second ruler: {INSTALL}"
        )
    if overall["blur"] is None:
        return (
            f"The generated images were {_describe_floors(overall[OUTSIDE])} from real ones in "
            f"the outside ruler, and {texture} in texture (pyramid)."
        )
    return f"{_describe_blur(overall['blur'], side)} In texture (pyramid): {texture}."


def _describe_floors(ratio: Mapping[str, float] | None) -> str:
    return "an unknown distance" if ratio is None else f"{ratio['mean']:.1f} times the floor"


def _describe_blur(blur: Mapping[str, Any], side: int) -> str:
    amount = f"{blur['mean']:.1f} pixels (of {side})"
    if blur["relation"] == "chance":
        return (
            "The generated images were no farther from real ones than chance allows, which hides "
            f"a blur of up to {amount} too."
        )
    return (
        "The generated images were as far from real ones as real images blurred by "
        f"{AMOUNTS[blur['relation']]}{amount}; by generator {blur['min']:.1f} to "
        f"{blur['max']:.1f}."
    )
