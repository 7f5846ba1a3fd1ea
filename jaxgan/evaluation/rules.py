"""Does a rule of selection help? Every rule on the same images of one finished generator."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxgan.core.console import say
from jaxgan.core.errors import UserError
from jaxgan.core.seeds import check_latents
from jaxgan.data.copies import MAX_SEARCHED
from jaxgan.data.sets import Dataset, ImageSet
from jaxgan.evaluation.evaluate import (
    MAX_COMPARED,
    Named,
    check_class,
    check_real,
    check_same_data,
    choose_out,
    choose_unseen,
    describe_unsearched,
    join_patients,
    limit,
    measure_copies,
    measure_space,
    take_spare,
    write_result,
)
from jaxgan.evaluation.features import Features, create_encoder_features
from jaxgan.gans.objectives import CROSS_ENTROPY_OBJECTIVES
from jaxgan.metrics.classification import compute_wilson_interval
from jaxgan.metrics.measure import MIN_IMAGES, compute_seed_interval, get_floor_n, summarise_seeds
from jaxgan.ops.pixels import scale_to_unit, stretch_to_bytes
from jaxgan.reports.tables import format_rules
from jaxgan.sampling.runs import RestoredRun, create_sampler, restore_run
from jaxgan.sampling.sampler import Samples, create_scorer
from jaxgan.sampling.selection import (
    MIN_HELD_OUT,
    RANKING_RULES,
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
) -> dict[str, Any]:
    """Measure what each rule keeps of a run's images; write `selection.json`; print a table.

    `json_path` is where the JSON goes as well. Another comparison in `out` stays. Of several runs,
    which are to differ in their seed alone, the means with intervals over them. `num` images are
    wanted of each rule, 0: as many as there are training images.
    """
    check_class(dataset, class_name)
    label = dataset.class_names.index(class_name)
    train, held_out = dataset.train.of_class(label), dataset.val.of_class(label)
    check_real(class_name, train, held_out)
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
    aside = choose_unseen(dataset)
    learned = dataset.train.take(np.flatnonzero(~aside))
    judge = _Judge(
        Named("training images", train.images, train.patients).limit(MAX_SEARCHED),
        Named("held-out images", held_out.images, held_out.patients),
        take_spare(train, aside[dataset.train.labels == label], len(held_out)),
        create_encoder_features(learned.images, learned.labels, cache_dir=cache_dir),
    )
    found = []
    for workdir in workdirs:
        run = restore_run(workdir / class_name, checkpoint)
        kept, drawn = _apply_rules(run, train, held_out, num=num, seed=seed)
        found.append(
            {
                rule: {
                    "num_kept": len(images),
                    "kept_fraction": _measure_share(len(images), drawn[rule]),
                    **judge.measure(images[:num]),
                }
                for rule, images in kept.items()
            }
        )
    rules = found[0] if len(found) == 1 else _average_runs(found)
    result: dict[str, Any] = {
        "class": class_name,
        "num_runs": len(found),
        "features": judge.features.name,
        "rules": rules,
        "answer": _answer(rules),
        "notes": [
            _ONE_RUN if len(found) == 1 else _RUNS.format(len(found)),
            *_NOTES,
            *describe_unsearched(len(judge.train.images), len(train)),
        ],
        "comparison": comparison,
    }
    write_result(result, out / "selection.json", json_path)
    say(format_rules(result))
    say(f"Wrote {json_path or out / 'selection.json'}.")
    return result


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
    settings, state, label, _ = run
    tries = _count_tries(num)
    sampler = create_sampler(settings, label=label)
    samples = sampler.draw(state, seed, tries)
    kept = {"none": samples.images[:num]}
    if settings.objective in CROSS_ENTROPY_OBJECTIVES:  # D's score is a probability
        for threshold in sorted({PAPER_THRESHOLD, settings.selection.threshold}):
            mask = accept_by_probability(samples.scores, threshold)
            kept[f"paper_text {threshold:g}"] = samples.images[mask]
        kept["paper_code"] = _apply_listing(samples, sampler.batch_size, PAPER_THRESHOLD)
    drawn = dict.fromkeys(kept, tries) | {"none": num}
    score = create_scorer(settings, label=label)
    pool = count_candidates(num, settings.selection.pool, tries)
    # Kept from the GAN by a run that was to calibrate; else the images that judge.
    spared = hold_out_for_calibration(settings.selection.rule, train, settings.data.split_seed)[1]
    calibrating = spared if len(spared) else held_out
    logits = score(state.discriminator, samples.images[:pool])
    held_logits = score(state.discriminator, calibrating.images)
    for rule in RANKING_RULES:
        if rule == "top_k" or len(calibrating) >= MIN_HELD_OUT:
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


@dataclass(frozen=True)
class _Judge:
    """What the images that a rule has kept are compared with."""

    train: Named
    held_out: Named
    spare: Named
    features: Features

    def measure(self, images: np.ndarray) -> dict[str, Any]:
        """Measure what a rule has kept; nothing where that is too little to measure."""
        if len(images) < MIN_IMAGES:
            return dict.fromkeys((*_SHOWN, "memorisation"))
        images = limit(images, MAX_COMPARED)
        has_held_out = len(self.held_out.images) >= MIN_IMAGES
        train = self.train.limit(MAX_COMPARED)
        real, spare = (self.held_out, self.spare) if has_held_out else (train, self.held_out)
        patients = join_patients(real, spare)
        scores = measure_space(self.features, images, real.images, spare.images, patients=patients)
        copies = measure_copies(images, self.train, self.held_out) if has_held_out else None
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
