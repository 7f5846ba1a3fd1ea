"""Does a selection rule help? Compare all rules on the same images of a finished generator."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxgan.core.console import say
from jaxgan.core.errors import UserError
from jaxgan.core.seeds import check_latents
from jaxgan.data.sets import Dataset, ImageSet, find_label
from jaxgan.evaluation.comparisons import measure_copies, measure_space
from jaxgan.evaluation.features import Features, create_encoder_features
from jaxgan.evaluation.imagenet import fit_imagenet_features, is_installed
from jaxgan.evaluation.output import choose_out, write_result
from jaxgan.evaluation.quality import QualityMeter
from jaxgan.evaluation.real_images import (
    MAX_COMPARED,
    RealImages,
    choose_real,
    take_at_most,
)
from jaxgan.evaluation.subjects import check_same_data
from jaxgan.metrics.classification import compute_wilson_interval
from jaxgan.metrics.measure import MIN_IMAGES, compute_seed_interval, get_floor_n, summarise_seeds
from jaxgan.ops.pixels import scale_to_unit, stretch_to_bytes
from jaxgan.reports.tables import format_rules
from jaxgan.sampling.diverse import choose_diverse
from jaxgan.sampling.runs import RestoredRun, restore_run
from jaxgan.sampling.sampler import Samples
from jaxgan.sampling.selection import (
    DIVERSE_RULES,
    MIN_HELD_OUT,
    RANKING_RULES,
    RULES,
    accept_by_batch_loss,
    accept_by_probability,
    choose_by_rank,
    count_candidates,
    hold_out_for_calibration,
)
from jaxgan.training.record import describe_differences
from jaxgan.training.run_folder import read_record

PAPER_THRESHOLD = 0.76
TRUNCATION = 0.7  # of the row without a rule that shows what truncation does
_TRIES = 20  # images drawn per image requested
_MAX_TRIES = 4000
_SHOWN = ("kernel_distance", "precision", "recall", "density", "coverage")
_OUTSIDE = "outside_kernel_distance"  # where the outside ruler is installed
_ONE_RUN = (
    "Every rule is applied to the same images of one generator. The intervals do not show how much "
    "trainings differ."
)
_RUNS = "Means over {} runs, with 95 % intervals. In each run, all rules get the same images."
_NOTES = (
    "paper_code keeps images while the GAN trains. Here the steps of the paper's listing run with "
    "the finished generator, batch by batch, and the kept images are stretched.",
    "calibrated: fitted on training images that the GAN has not seen, if the run was trained with "
    "that rule. Otherwise it is fitted on the images it is compared with.",
    "k_means, farthest_point: they choose different images in the features of the pixel pyramid, "
    "fitted to the images that the GAN has learned from. farthest_point likes outliers.",
)


@dataclass(frozen=True)
class RuleComparison:
    """The content of `selection.json`, and its path."""

    metrics: dict[str, Any]
    json_path: Path


def compare_rules(
    workdirs: Sequence[Path],
    class_name: str,
    dataset: Dataset,
    *,
    out: Path,
    json_path: Path | None = None,
    num: int = 0,
    checkpoint: str | None = None,
    seed: int = 0,
    cache_dir: Path | None = None,
) -> RuleComparison:
    """Measure the images of a run that each rule keeps; write `selection.json`; print a table.

    `json_path` is for a copy of the JSON. Another comparison in `out` is kept. Several runs may
    differ only in their seed: the result then has means over runs, with intervals. Each rule is to
    keep `num` images (0: as many as there are training images). Raises `UserError` if the runs do
    not fit the data or one another.
    """
    real, label = choose_real(dataset, class_name), find_label(dataset, class_name)
    train, held_out = dataset.train.of_class(label), dataset.val.of_class(label)
    num = num or len(train)
    check_latents(seed, _count_tries(num))
    comparison = {
        "runs": [str((workdir / class_name).resolve()) for workdir in workdirs],
        "data": dataset.fingerprint,
        "num": num,
        "checkpoint": checkpoint,
        "seed": seed,
    }
    _check_runs([workdir / class_name for workdir in workdirs], dataset)
    out = choose_out(out, "selection.json", comparison)
    features = create_encoder_features(*real.encoder_set, cache_dir=cache_dir)
    outside = fit_imagenet_features(real.encoder_set[0]) if is_installed() else None
    found = []
    for workdir in workdirs:
        run = restore_run(workdir / class_name, checkpoint)
        kept, drawn = _apply_rules(run, train, held_out, num=num, seed=seed)
        found.append(
            {
                rule: {
                    "num_kept": len(images),
                    "kept_fraction": _measure_share(len(images), drawn[rule]),
                    **_measure(images[:num], features, outside, real),
                }
                for rule, images in kept.items()
            }
        )
    rules = found[0] if len(found) == 1 else _average_runs(found)
    result: dict[str, Any] = {
        "class": class_name,
        "num_runs": len(found),
        "features": features.name,
        "rules": rules,
        "answer": _answer(rules),
        "notes": [
            _ONE_RUN if len(found) == 1 else _RUNS.format(len(found)),
            *_NOTES,
            *_describe_truncation(run),
            *real.describe_unsearched(),
        ],
        "comparison": comparison,
    }
    path = out / "selection.json"
    write_result(result, path, json_path)
    say(format_rules(result))
    say(f"Wrote {json_path or path}.")
    return RuleComparison(result, path)


def _check_runs(runs: Sequence[Path], dataset: Dataset) -> None:
    """Raise if a run is of other data, or if several runs differ in more than their seed."""
    for run in runs:
        check_same_data(run, dataset)
    if len({run.resolve() for run in runs}) < len(runs):
        raise UserError(
            "One --workdir was given twice, expected runs with different seeds: give each run once."
        )
    first, *others = [_read_without_seed(run) for run in runs]
    for run, other in zip(runs[1:], others, strict=True):
        # Both ways: a run with more epochs may continue the other, but not the reverse.
        differences = describe_differences(first, other) or describe_differences(other, first)
        if differences:
            raise UserError(
                f"{runs[0]} and {run} differ in more than their seed ({differences}), expected "
                "repetitions of one training: compare them in separate commands."
            )


def _read_without_seed(run: Path) -> dict[str, Any]:
    record = read_record(run)
    return {**record, "settings": {**record.get("settings", {}), "seed": None}}


def _apply_rules(
    run: RestoredRun, train: ImageSet, held_out: ImageSet, *, num: int, seed: int
) -> tuple[dict[str, np.ndarray], dict[str, int]]:
    """Return the images uint8 [kept, h, w, c] that each rule keeps, and the number drawn for it."""
    sampler, selection, tries = run.sampler, run.settings.selection, _count_tries(num)
    samples = sampler.draw_scored(run.networks, seed, tries)
    kept = {"none": samples.images[:num]}
    if run.gan.to_probability is not None:
        for threshold in sorted({PAPER_THRESHOLD, selection.threshold}):
            mask = accept_by_probability(samples.scores, threshold)
            kept[f"paper_text {threshold:g}"] = samples.images[mask]
        kept["paper_code"] = _apply_listing(samples, sampler.batch_size, PAPER_THRESHOLD)
    drawn = dict.fromkeys(kept, tries) | {"none": num}
    pool = count_candidates(num, selection.pool, tries)
    # A run that calibrates has held out images for it. Otherwise the held-out images of the class.
    split_seed = run.settings.data.split_seed
    learned, for_calibration = hold_out_for_calibration(selection.rule, train, split_seed)
    calibrating = for_calibration if len(for_calibration) else held_out
    logits = sampler.score(run.networks, samples.images[:pool])
    held_logits = sampler.score(run.networks, calibrating.images)
    for rule in RANKING_RULES:
        if not RULES[rule].calibrates or len(calibrating) >= MIN_HELD_OUT:
            kept[rule] = samples.images[choose_by_rank(rule, logits, held_logits, num)]
            drawn[rule] = pool
    features = QualityMeter(learned.images).features(samples.images[:pool])
    for rule in DIVERSE_RULES:
        kept[rule] = samples.images[choose_diverse(rule, features, num)]
        drawn[rule] = pool
    if run.gan.draw_truncated is not None:
        for truncation in sorted({TRUNCATION, 1.0} - {sampler.truncation}):
            name, other = f"truncation {truncation:g}", run.truncate(truncation).sampler
            kept[name], drawn[name] = other.draw(run.networks, seed, num), num
    return kept, drawn


def _describe_truncation(run: RestoredRun) -> list[str]:
    if run.gan.draw_truncated is None:
        return ["truncation: not compared. It does not apply to the latents of this family."]
    own = run.sampler.truncation
    others = "" if own == 1.0 else f" All other rows are drawn with the run's own, {own:g}."
    return [
        "truncation T: no rule, but no value of a latent is beyond 2 T (1: off). The latents come "
        f"from the same random numbers as those of none.{others}"
    ]


def _count_tries(num: int) -> int:
    return max(min(_TRIES * num, _MAX_TRIES), num)


def _apply_listing(samples: Samples, batch_size: int, threshold: float) -> np.ndarray:
    """Return the first image, stretched, of every batch with a high D loss, uint8 [n, h, w, c]."""
    kept = [samples.images[:0]]
    for begin in range(0, len(samples.images) - batch_size + 1, batch_size):
        scores = np.clip(samples.scores[begin : begin + batch_size], 0.0, 1.0 - 1e-7)
        loss = float(-np.log1p(-scores).mean())
        if accept_by_batch_loss(fake_loss=loss, real_loss=float("nan"), threshold=threshold):
            image = stretch_to_bytes(scale_to_unit(samples.images[begin]))
            kept.append(np.asarray(image)[None])
    return np.concatenate(kept)


def _measure_share(num_kept: int, num_drawn: int) -> dict[str, Any]:
    low, high = compute_wilson_interval(num_kept, num_drawn)
    interval = [float(low), float(high)]
    return {"value": num_kept / num_drawn, "interval": interval, "floor": None, "n": num_drawn}


def _measure(
    images: np.ndarray, features: Features, outside: Features | None, real: RealImages
) -> dict[str, Any]:
    """Measure what a rule has kept; every measure is None if it has kept too few images."""
    if len(images) < MIN_IMAGES:
        names = (*_SHOWN, *([_OUTSIDE] if outside else []), "memorisation")
        return dict.fromkeys(names)
    images = take_at_most(images, MAX_COMPARED)
    scores = measure_space(features, images, real.sides)
    copies = measure_copies(images, real) if real.has_held_out else None
    found: dict[str, Any] = {name: scores[name] for name in _SHOWN}
    if outside is not None:
        found[_OUTSIDE] = measure_space(outside, images, real.sides)["kernel_distance"]
    return found | {"memorisation": copies}


def _average_runs(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return each rule's means and intervals over runs; None if a run kept too few images."""
    return {
        rule: {
            "num_kept": sum(run[rule]["num_kept"] for run in runs),
            **{
                name: _average([run[rule][name] for run in runs])
                for name in ("kept_fraction", *_SHOWN, _OUTSIDE, "memorisation")
                if name in runs[0][rule]
            },
        }
        for rule in runs[0]
        if all(rule in run for run in runs)
    }


def _average(measures: Sequence[Mapping[str, Any] | None]) -> dict[str, Any] | None:
    found = [measure for measure in measures if measure is not None]
    if len(found) < len(measures):
        return None
    values = [float(measure["value"]) for measure in found]
    floors = [measure["floor"] for measure in found]
    return {
        **summarise_seeds(values),
        "floor": None if None in floors else float(np.mean(floors)),
        "n": found[0]["n"],
        "floor_n": get_floor_n(found[0]),
        "flag": any(measure.get("flag") for measure in found),
    }


def _answer(rules: Mapping[str, Mapping[str, Any]]) -> str:
    """Say whether the paper's rule helps, by the kernel distance."""
    name = f"paper_text {PAPER_THRESHOLD:g}"
    if name not in rules:
        return (
            f"Does the paper's {PAPER_THRESHOLD:g} rule help? It can not be applied: with this "
            "objective, D's score is not a probability."
        )
    before, after = rules["none"]["kernel_distance"], rules[name]["kernel_distance"]
    if before is None or after is None:
        share = rules[name]["kept_fraction"]
        num_drawn = share["n"] * len(share.get("values", [share["value"]]))  # n is per run
        return (
            f"Does the paper's {PAPER_THRESHOLD:g} rule help? It keeps {rules[name]['num_kept']} "
            f"of {num_drawn} images: too few to measure."
        )
    if "values" in before:  # the same runs: use the differences
        low, high = compute_seed_interval(
            [a - b for a, b in zip(after["values"], before["values"], strict=True)]
        ) or (0.0, 0.0)
    else:
        low = after["interval"][0] - before["interval"][1]
        high = after["interval"][1] - before["interval"][0]
    if high < 0.0:
        verdict = "yes, the selected images are nearer to real images"
    elif low > 0.0:
        verdict = "no, the selected images are further from real images"
    else:
        verdict = "no difference can be shown"
    return (
        f"Does the paper's {PAPER_THRESHOLD:g} rule help? The kernel distance is "
        f"{after['value']:.4g} with the rule and {before['value']:.4g} without selection: "
        f"{verdict}."
    )
