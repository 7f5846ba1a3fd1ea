"""What a distance looks like: "as far from real images as real images blurred by 1.5 pixels".

Held-out real images are blurred, given noise, and compared with images of other classes. This gives
a curve: the kernel distance at each strength. The strength at which the curve reaches the distance
of the generated images is their *equivalent degradation*. Both distances are unbiased at every
number of images.

Two limits are said and not exceeded. A distance within its floor could be chance: it is "less than"
the strength at which the curve reaches the floor. Beyond the curve's end it is "more than" that. A
degradation that a ruler cannot tell from chance at its greatest strength is left out.

The distance of a mixture from real images grows with the square of the mixed share. So one distance
of another class gives the whole curve. The nearest other class is taken.
"""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from jaxgan.core.files import note_use, read_arrays, written_beside
from jaxgan.evaluation.degradations import BLUR, MIXTURE, NOISE, REFERENCE_SIDE, Degradation
from jaxgan.evaluation.features import Features
from jaxgan.evaluation.ranking import rank
from jaxgan.evaluation.real_images import RealImages, take_at_most

VERSION = 1  # raise it when curves change, so that they are measured again
MAX_IMAGES = 100  # real images that are degraded
_BLUR = dataclasses.replace(BLUR, strengths=(2.0, 3.0, 4.0, 6.0, 8.0, 12.0))
_NOISE = dataclasses.replace(NOISE, strengths=(2.0, 4.0, 8.0, 16.0, 32.0, 64.0))
_MIXTURE = dataclasses.replace(MIXTURE, strengths=(1.0,))
_BY_CLASS = "class "  # before the name of a class, in the file of curves

# Phrases for a distance that is seen, and for one that could be chance.
_SEEN = {
    "blur": "blurred by {amount}{strength:.1f} pixels (of {side})",
    "noise": "with noise of {amount}{strength:.1f} gray levels (of 255)",
    "mixture": "mixed with {percent:.0f} % of {of}",
}
_HIDDEN = {
    "blur": "a blur of up to {strength:.1f} pixels (of {side})",
    "noise": "noise of up to {strength:.1f} gray levels (of 255)",
    "mixture": "a mixture with up to {percent:.0f} % of {of}",
}

Relation = Literal["as", "less", "more"]


@dataclass(frozen=True)
class Curve:
    """Rising strengths of a degradation, and the kernel distance of real images at each."""

    strengths: tuple[float, ...]
    distances: tuple[float, ...]

    def find(self, distance: float) -> tuple[Relation, float]:
        """Return the strength of this distance; "more" and the greatest one beyond the end.

        Between two strengths the root of the distance is interpolated. It begins at 0 for 0, and
        never falls.
        """
        roots = np.sqrt(np.maximum.accumulate([0.0, *np.maximum(self.distances, 0.0)]))
        strengths, root = np.array([0.0, *self.strengths]), float(np.sqrt(max(distance, 0.0)))
        if root > roots[-1]:
            return "more", self.strengths[-1]
        above = int(np.searchsorted(roots, root))  # the first that is not below
        if above == 0:
            return "as", 0.0
        part = (root - roots[above - 1]) / (roots[above] - roots[above - 1])
        return "as", float(strengths[above - 1] + part * (strengths[above] - strengths[above - 1]))


Curves = Mapping[str, Curve]  # "blur", "noise", and one for every other class


def measure_equivalent(
    score: Mapping[str, Any], features: Features, real: RealImages, *, cache_dir: Path | None
) -> dict[str, Any] | None:
    """Return the equivalent degradations of a kernel distance, as JSON, with a sentence.

    `score` has its value, interval and floor, measured in `features`. The curves are measured once
    for these images and this ruler, and saved under `cache_dir`. None without a floor.
    """
    if score["floor"] is None:
        return None
    curves = _load_or_measure(features, real, cache_dir)
    side = int(real.sides.real.images.shape[1])
    found = {name: _place(curve, score) for name, curve in _choose(curves).items()}
    seen = {name: place for name, place in found.items() if place is not None}
    units = {"blur": f"pixels of {side}, as the standard deviation", "noise": NOISE.unit}
    for name, place in seen.items():
        place["unit"] = units.get(name, MIXTURE.unit)
        if name == "blur":
            _scale(place, side / REFERENCE_SIDE)
    unseen = [name for name, place in found.items() if place is None]
    return {"degradations": seen, "not_seen": unseen, "sentence": _describe(seen, side)}


def _choose(curves: Curves) -> dict[str, Curve]:
    """Return the curves of blur and noise, and that of the nearest other class if there is one."""
    classes = {name: c for name, c in curves.items() if name.startswith(_BY_CLASS)}
    others = {name: c for name, c in curves.items() if name not in classes}
    if classes:
        nearest = min(classes, key=lambda name: classes[name].distances[-1])
        others[nearest] = classes[nearest]
    return others


def _place(curve: Curve, score: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return where a score lies on a curve; None if all of the curve is within the floor."""
    floor = max(float(score["floor"]), 0.0)
    relation, least = curve.find(floor)
    if relation == "more":
        return None
    relation, strength = curve.find(float(score["value"]))
    if score["value"] <= floor:
        relation, strength = "less", least
    ends = [curve.find(end)[1] for end in score["interval"] or ()]
    return {"relation": relation, "strength": strength, "interval": ends or None}


def _scale(place: dict[str, Any], factor: float) -> None:
    """Give a strength in other units."""
    place["strength"] *= factor
    place["interval"] = place["interval"] and [end * factor for end in place["interval"]]


def _describe(seen: Mapping[str, Mapping[str, Any]], side: int) -> str | None:
    """Return what images "are", in one clause; None if the ruler sees no degradation."""
    if not seen:
        return None
    parts, farther = [], ""
    is_chance = any(place["relation"] == "less" for place in seen.values())
    form = _HIDDEN if is_chance else _SEEN
    for name, place in seen.items():
        of_class = name.removeprefix(_BY_CLASS)
        if name not in form:
            if place["relation"] == "more":
                farther = f", and farther than real images of {of_class}"
                continue
            name = "mixture"
        amount = "more than " if place["relation"] == "more" else ""
        values = {"side": side, "of": of_class, "percent": 100 * place["strength"], **place}
        parts.append(form[name].format(amount=amount, **values))
    if not parts:
        return farther.removeprefix(", and ")
    listed = parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])}, or {parts[-1]}"
    if is_chance:
        return f"no farther from real images than chance allows, which hides {listed} too"
    return f"as far from real images as real images {listed}{farther}"


# The curves -------------------------------------------------------------------------------------


def _load_or_measure(features: Features, real: RealImages, cache_dir: Path | None) -> Curves:
    images, patients = _join(real)
    if cache_dir is None:
        return measure_curves(features, images, patients, real.other_classes)
    key = _compute_key(features, images, patients, real.other_classes)
    path = cache_dir / "curves" / f"{key}.npz"
    arrays = read_arrays(path)
    if arrays is None:
        curves = measure_curves(features, images, patients, real.other_classes)
        with written_beside(path) as beside, beside.open("wb") as file:
            np.savez(file, **_to_arrays(curves))
        return curves
    note_use(path)
    return {name: Curve(*(tuple(row.tolist()) for row in a)) for name, a in arrays.items()}


def _to_arrays(curves: Curves) -> dict[str, Any]:
    """Return each curve as [2, num]: strengths, and distances."""
    return {name: np.array([c.strengths, c.distances]) for name, c in curves.items()}


def measure_curves(
    features: Features,
    images: np.ndarray,
    patients: Sequence[str] | None,
    other_classes: Mapping[str, np.ndarray],
) -> dict[str, Curve]:
    """Measure the curves of real images uint8 [n, h, w, c], and those to images of other classes.

    `patients` names the patient of each image.
    """
    found = rank(features, images, (_BLUR, _NOISE), patients=patients).distances
    curves = {kind.name: Curve(kind.strengths, found[kind.name]) for kind in (_BLUR, _NOISE)}
    for name, others in other_classes.items():
        distances = rank(features, images, (_MIXTURE,), patients=patients, others=others).distances
        curves[_BY_CLASS + name] = Curve(_MIXTURE.strengths, distances[MIXTURE.name])
    return curves


def _join(real: RealImages) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """Return the real images of both sides, at most `MAX_IMAGES`, and their patients."""
    sides = real.sides
    images = take_at_most(np.concatenate([side.images for side in sides]), MAX_IMAGES)
    patients = sides.patients and tuple(
        take_at_most(np.asarray(sides.patients), MAX_IMAGES).tolist()
    )
    return images, patients


def _compute_key(
    features: Features,
    images: np.ndarray,
    patients: Sequence[str] | None,
    other_classes: Mapping[str, np.ndarray],
) -> str:
    """Return a name for these images in this ruler, which is known by the features themselves."""
    kinds: tuple[Degradation, ...] = (_BLUR, _NOISE, _MIXTURE)
    strengths = [(kind.name, kind.strengths) for kind in kinds]
    digest = hashlib.sha256(repr((VERSION, features.name, strengths, patients)).encode())
    digest.update(np.ascontiguousarray(images).tobytes())
    digest.update(features(images).astype(np.float32).tobytes())
    for name, others in sorted(other_classes.items()):
        digest.update(repr((name, others.shape)).encode())
        digest.update(np.ascontiguousarray(others).tobytes())
    return digest.hexdigest()[:32]


def describe_equivalent(found: Mapping[str, Any] | None, ruler: str) -> str | None:
    """Return "In RULER they are as far from real images as ..."; None if no degradation is seen."""
    if found is None or found["sentence"] is None:
        return None
    return f"In {ruler} they are {found['sentence']}."
