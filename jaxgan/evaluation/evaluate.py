"""How good, how diverse and how new generated images are: every metric, in one report."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxgan.classifiers.weight_packages import IMAGENET
from jaxgan.core.console import say
from jaxgan.core.versions import get_versions
from jaxgan.evaluation.blind import draw_blind
from jaxgan.evaluation.comparisons import (
    measure_classes,
    measure_copies,
    measure_copies_in,
    measure_pixels,
    measure_space,
)
from jaxgan.evaluation.equivalent import describe_equivalent, measure_equivalent
from jaxgan.evaluation.features import (
    Features,
    create_encoder_features,
    create_pixel_features,
    draw_thumbnails,
    read_exported_features,
)
from jaxgan.evaluation.fid import (
    describe_inception,
    measure_inception,
    read_inception_features,
)
from jaxgan.evaluation.imagenet import fit_imagenet_features, is_installed
from jaxgan.evaluation.output import choose_out, write_result
from jaxgan.evaluation.real_images import MAX_COMPARED, RealImages, Sides
from jaxgan.evaluation.subjects import EvaluationSets
from jaxgan.evaluation.verdict import find_verdict
from jaxgan.metrics.measure import LEVEL, MIN_IMAGES
from jaxgan.metrics.memorisation import compute_aligned_distances, find_nearest
from jaxgan.reports import gan_figures, html
from jaxgan.reports.tables import format_evaluation, list_measures

SHOWN_PAIRS = 8

_NO_HELD_OUT = (
    "Memorisation: not measured. Training images cannot be their own control, and there are fewer "
    f"than {MIN_IMAGES} held-out real images: give them as --held_out=DIR."
)
_READING = (
    "Compared with held-out real images, where there are any: the encoder has learned from the "
    "training images, so all other images, also new real ones, lie further away.",
    "Floor: the limit that 19 of 20 divisions of the real images stay within, at the same n. A "
    "value beyond it differs from real images by more than chance.",
    "Interval: other images from the same sources would give this at this n, in 19 of 20 cases; it "
    "says nothing about another training.",
)


@dataclass(frozen=True)
class Evaluation:
    """What was measured, as `evaluation.json` holds it, and the files that were written."""

    metrics: dict[str, Any]
    json_path: Path
    figure: Path

    @property
    def verdict(self) -> str:
        """The finding and the advice, and what the distance looks like, in a sentence each."""
        words = self.metrics["verdict"]
        return " ".join(filter(None, (words["finding"], words["advice"], words.get("equivalent"))))

    def __repr__(self) -> str:
        return f"<Evaluation: {self.metrics['verdict']['word']}. {self.verdict}>"

    def _repr_html_(self) -> str:
        metrics, known = self.metrics, self.metrics["against"]["name"]
        return html.show_box(
            f"Evaluation: {metrics['verdict']['word']}",
            html.show_sentences([self.verdict, f"Compared with {known}:"]),
            html.show_table(list_measures(metrics)),
            html.show_picture(self.figure, "The nearest pairs of images"),
            html.show_notes(metrics["notes"]),
        )


def evaluate(
    sets: EvaluationSets,
    *,
    out: Path,
    json_path: Path | None = None,
    features: str | None = None,
    inception_file: Path | None = None,
    cache_dir: Path | None = None,
) -> Evaluation:
    """Measure everything; write `evaluation.json` and `nearest_pairs.png` to `out`; print a table.

    A verdict in two sentences comes first (`jaxgan.evaluation.verdict`). A third one says which
    degradation of real images is as far from them (`jaxgan.evaluation.equivalent`).
    `figures/blind.png` in `out` has real and generated images in random order, to look at.

    The headline numbers are in the own encoder, or in `features`: "imagenet", or the path of an
    exported function. The same numbers in pixels follow, and without `features` those in the
    outside ruler (`jaxgan.evaluation.imagenet`) if its weights are installed. `json_path` is for a
    copy of the JSON. Another comparison in `out` is left alone, see `choose_out`. `inception_file`
    has the weights for FID and KID, see `jaxgan.evaluation.fid`.
    """
    given = _read_features(features, sets)
    comparison = {**sets.comparison, "features": _name_features(features)}
    inception = read_inception_features(inception_file) if inception_file else None
    if inception:
        comparison["inception"] = inception.weights.file.sha256
    out = choose_out(out, "evaluation.json", comparison)
    _announce(sets)
    say("Training the encoder, or reading it (about half a minute the first time).")
    own = create_encoder_features(*sets.real.encoder_set, cache_dir=cache_dir)
    outside = _find_outside(features, given, sets)
    metrics = _measure_all(sets, given or own, own, outside) | {"comparison": comparison}
    if inception:
        metrics["inception"] = measure_inception(inception, sets.generated, sets.real)
        metrics["notes"] += describe_inception(metrics["inception"])
    metrics["notes"].append(draw_blind(sets.generated, sets.real.held_out, out / "figures"))
    equivalent = _find_equivalents(metrics, sets.real, given or own, outside, cache_dir)
    verdict = {**dataclasses.asdict(find_verdict(metrics)), "equivalent": equivalent}
    metrics = {"verdict": verdict, **metrics, "versions": get_versions()}
    result = Evaluation(metrics, out / "evaluation.json", out / "nearest_pairs.png")
    _draw_pairs(sets, result.figure)
    write_result(metrics, result.json_path, json_path)
    say(f"\n{result.verdict}\n")
    say(format_evaluation(metrics))
    say(f"Wrote {json_path or result.json_path} and {result.figure}.")
    return result


def _read_features(name: str | None, sets: EvaluationSets) -> Features | None:
    """Return the features that a user asks for; None without a name. Raises `UserError`."""
    if name == IMAGENET:
        return fit_imagenet_features(sets.real.encoder_set[0])
    return read_exported_features(Path(name)) if name else None


def _name_features(name: str | None) -> str | None:
    """Return what distinguishes these features from others: a file's whole path."""
    return str(Path(name).resolve()) if name and name != IMAGENET else name


def _find_outside(
    name: str | None, given: Features | None, sets: EvaluationSets
) -> Features | None:
    """Return the outside ruler; None if its weights are absent, or another ruler is asked for."""
    if name == IMAGENET:
        return given
    if name or not is_installed():
        return None
    say("Measuring in the outside ruler too (about 30 images a second).")
    return fit_imagenet_features(sets.real.encoder_set[0])


def _announce(sets: EvaluationSets) -> None:
    real, side = sets.real.train, sets.real.train.images.shape[1]
    say(
        f"Comparing {len(sets.generated)} generated images of {sets.generated.name} with "
        f"{len(real)} real ones of {real.name}, at {side} x {side} pixels."
    )
    for notice in sets.notices:
        say(notice)


def _measure_all(
    sets: EvaluationSets, features: Features, own: Features, outside: Features | None
) -> dict[str, Any]:
    """Return the report as it goes to JSON."""
    generated, real = sets.generated.take_at_most(MAX_COMPARED), sets.real
    limited = real.take_at_most(MAX_COMPARED)
    sides = limited.sides
    images = generated.images
    say(f"Measuring {len(images)} images: distances, diversity, copies, classes.")
    train, held_out = real.train.describe(), real.held_out.describe() if real.held_out else None
    result: dict[str, Any] = {
        "generated": sets.generated.describe(),
        "against": held_out if real.has_held_out else train,
        "train": train,
        "held_out": held_out,
        "image_size": int(images.shape[1]),
        "channels": int(images.shape[3]),
        "level": LEVEL,
        "features": features.name,
        **measure_space(features, images, sides),
        **measure_pixels(generated, sides),
        "memorisation": None,
        "gan_train": None,
        "gan_test": None,
        "pixels": measure_space(create_pixel_features(), images, sides),
    }
    if own is not features:
        result["encoder"] = measure_space(own, images, sides)
    if outside is not None:
        result["outside"] = _measure_outside(
            outside, images, limited, is_headline=outside is features
        )
    if real.has_held_out:
        result["memorisation"] = measure_copies(images, limited)
        train_sides = Sides(real.train.take_at_most(MAX_COMPARED), limited.held_out)
        result["against_train"] = {
            **measure_space(features, images, train_sides),
            **measure_pixels(generated, train_sides),
        }
    if sets.classes:
        result |= measure_classes(sets.classes)
    return result | {"notes": _list_notes(sets, result["memorisation"])}


def _find_equivalents(
    metrics: dict[str, Any],
    real: RealImages,
    features: Features,
    outside: Features | None,
    cache_dir: Path | None,
) -> str | None:
    """Add the equivalent degradation of the kernel distance to its block, for each ruler.

    Return the sentence of the outside ruler, or of the headline's.
    """
    say("Comparing with degraded real images (a minute the first time with these images).")
    rulers = [(metrics, features)]
    if outside is not None and outside is not features:
        rulers.append((metrics["outside"], outside))
    sentence = None
    for block, ruler in rulers:
        score = block["kernel_distance"]
        block["equivalent"] = measure_equivalent(score, ruler, real, cache_dir=cache_dir)
        name = "the outside ruler" if ruler is outside else "these features"
        sentence = describe_equivalent(block["equivalent"], name) or sentence
    return sentence


def _measure_outside(
    outside: Features, images: np.ndarray, real: RealImages, *, is_headline: bool
) -> dict[str, Any]:
    """Return the numbers of the outside ruler; only memorisation if the headline has the others."""
    scores = {} if is_headline else measure_space(outside, images, real.sides)
    copies = measure_copies_in(outside, images, real) if real.has_held_out else None
    return {"features": outside.name, **scores, "memorisation": copies}


def _list_notes(sets: EvaluationSets, copies: Mapping[str, Any] | None) -> list[str]:
    """Return what has to be known to read the numbers."""
    notes = [*sets.notices, *_READING]
    kinds = (sets.generated, sets.real.train, sets.real.held_out, sets.real.remaining)
    if max(map(len, kinds)) > MAX_COMPARED:
        notes.append(f"Compared: {MAX_COMPARED} images of each kind, drawn at random.")
    unsearched = sets.real.describe_unsearched()
    if copies is None:
        notes += [_NO_HELD_OUT, *unsearched]
    else:
        sentence = (
            f"Memorisation: {copies['features']}. Its floor is that of {copies['floor_n']} real "
            "images in place of the generated ones; fewer images vary more."
        )
        notes.append(" ".join([sentence, *unsearched]))
    return notes if sets.classes else [*notes, sets.no_classes]


def _draw_pairs(sets: EvaluationSets, path: Path) -> None:
    """Draw the generated, and for comparison the held-out, images nearest to a training image."""
    train = sets.real.searched.images
    known = draw_thumbnails(train)
    kinds = {"generated": sets.generated, "held-out": sets.real.held_out}
    rows = []
    for label, of_kind in kinds.items():
        images = of_kind.take_at_most(MAX_COMPARED).images
        if len(images):
            ours, theirs, gaps = find_nearest(
                draw_thumbnails(images),
                known,
                num=SHOWN_PAIRS,
                distance_fn=compute_aligned_distances,
            )
            text = (
                f"{label} images, the nearest training image below each, and their difference "
                "(0: a copy, whatever its brightness, contrast and a small shift; 1.41: unlike)"
            )
            rows.append((text, images[ours], train[theirs], gaps))
    title = f"The nearest pairs of {sets.generated.name}"
    gan_figures.plot_nearest_pairs(rows, path, title=title)
