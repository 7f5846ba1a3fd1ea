"""Does a rule of selection help? Every rule on the same images of one finished generator."""

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
from jaxgan.evaluation.output import choose_out, write_result
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
from jaxgan.sampling.runs import RestoredRun, restore_run
from jaxgan.sampling.sampler import Samples
from jaxgan.sampling.selection import (
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
_TRIES = 20  # images drawn for each one wanted
_MAX_TRIES = 4000
_SHOWN = ("kernel_distance", "precision", "recall", "density", "coverage")
_ONE_RUN = (
    "Every rule sees the same images of one generator; an interval does not say how much one "
    "training differs from the next."
)
_RUNS = "Means over {} runs, and their 95 % intervals; in each, every rule sees the same images."
_NOTES = (
    "paper_code keeps images while it trains: here it does what the listing does, a batch at a "
    "time, with the finished generator, and stretches what it keeps.",
    "calibrated: fitted on training images that the GAN has not seen where the run was trained "
    "with that rule, else on the images it is compared with.",
)


@dataclass(frozen=True)
class RuleComparison:
    """What was measured, as `selection.json` holds it, and where that is."""

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
    """Measure what each rule keeps of a run's images; write `selection.json`; print a table.

    `json_path` is where the JSON goes as well. Another comparison in `out` stays. Of several runs,
    which are to differ in their seed alone, the means with intervals over them. `num` images are
    wanted of each rule, 0: as many as there are training images.
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
    found = []
    for workdir in workdirs:
        run = restore_run(workdir / class_name, checkpoint)
        kept, drawn = _apply_rules(run, train, held_out, num=num, seed=seed)
        found.append(
            {
                rule: {
                    "num_kept": len(images),
                    "kept_fraction": _measure_share(len(images), drawn[rule]),
                    **_measure(images[:num], features, real),
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
    """Raise where runs are of other data, or several of them are no repetitions of one training."""
    for run in runs:
        check_same_data(run, dataset)
    if len({run.resolve() for run in runs}) < len(runs):
        raise UserError("One --workdir was given twice: expected runs of several seeds.")
    first, *others = [_read_without_seed(run) for run in runs]
    for run, other in zip(runs[1:], others, strict=True):
        # Both ways: of what may go on from the other one has more epochs.
        differences = describe_differences(first, other) or describe_differences(other, first)
        if differences:
            raise UserError(
                f"{runs[0]} and {run} differ in more than their seed ({differences}): means and "
                "intervals are over repetitions of one training."
            )


def _read_without_seed(run: Path) -> dict[str, Any]:
    record = read_record(run)
    return {**record, "settings": {**record.get("settings", {}), "seed": None}}


def _apply_rules(
    run: RestoredRun, train: ImageSet, held_out: ImageSet, *, num: int, seed: int
) -> tuple[dict[str, np.ndarray], dict[str, int]]:
    """Return the images uint8 [kept, h, w, c] that each rule keeps, and of how many."""
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
    # Kept from the GAN by a run that was to calibrate; else the images that judge.
    split_seed = run.settings.data.split_seed
    spared = hold_out_for_calibration(selection.rule, train, split_seed)[1]
    calibrating = spared if len(spared) else held_out
    logits = sampler.score(run.networks, samples.images[:pool])
    held_logits = sampler.score(run.networks, calibrating.images)
    for rule in RANKING_RULES:
        if not RULES[rule].calibrates or len(calibrating) >= MIN_HELD_OUT:
            kept[rule] = samples.images[choose_by_rank(rule, logits, held_logits, num)]
            drawn[rule] = pool
    return kept, drawn


def _count_tries(num: int) -> int:
    return max(min(_TRIES * num, _MAX_TRIES), num)


def _apply_listing(samples: Samples, batch_size: int, threshold: float) -> np.ndarray:
    """Return the first image, stretched, of every batch that D loses, uint8 [kept, h, w, c]."""
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


def _measure(images: np.ndarray, features: Features, real: RealImages) -> dict[str, Any]:
    """Measure what a rule has kept; nothing where that is too little to measure."""
    if len(images) < MIN_IMAGES:
        return dict.fromkeys((*_SHOWN, "memorisation"))
    images = take_at_most(images, MAX_COMPARED)
    scores = measure_space(features, images, real.sides)
    copies = measure_copies(images, real) if real.has_held_out else None
    return {name: scores[name] for name in _SHOWN} | {"memorisation": copies}


def _average_runs(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return each rule's means over runs, intervals over runs; None where a run kept too few."""
    return {
        rule: {
            "num_kept": sum(run[rule]["num_kept"] for run in runs),
            **{
                name: _average([run[rule][name] for run in runs])
                for name in ("kept_fraction", *_SHOWN, "memorisation")
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
            f"Does the paper's {PAPER_THRESHOLD:g} rule help? It does not apply: with this "
            "objective D's score is no probability."
        )
    before, after = rules["none"]["kernel_distance"], rules[name]["kernel_distance"]
    if before is None or after is None:
        share = rules[name]["kept_fraction"]
        num_drawn = share["n"] * len(share.get("values", [share["value"]]))  # n is that of each run
        return (
            f"Does the paper's {PAPER_THRESHOLD:g} rule help? It keeps {rules[name]['num_kept']} "
            f"of {num_drawn} images here: too few to measure."
        )
    if "values" in before:  # of the same runs: their differences
        low, high = compute_seed_interval(
            [a - b for a, b in zip(after["values"], before["values"], strict=True)]
        ) or (0.0, 0.0)
    else:
        low = after["interval"][0] - before["interval"][1]
        high = after["interval"][1] - before["interval"][0]
    if high < 0.0:
        verdict = "they are nearer to real images than unselected ones"
    elif low > 0.0:
        verdict = "they are further from real images than unselected ones"
    else:
        verdict = "no difference from unselected ones can be shown"
    return (
        f"Does the paper's {PAPER_THRESHOLD:g} rule help? Kernel distance of its images "
        f"{after['value']:.4g}, of unselected ones {before['value']:.4g}: {verdict}."
    )
