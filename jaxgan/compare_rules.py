"""Does a rule of selection help? Every rule on the same images of one finished generator."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxgan.console import say
from jaxgan.data.sets import Dataset
from jaxgan.evaluate import (
    MAX_COMPARED,
    check_class,
    check_count,
    check_same_data,
    choose_unseen,
    limit,
    measure_space,
)
from jaxgan.features import (
    MEMORISATION_SIDE,
    Features,
    PixelFeatures,
    choose_spare,
    create_encoder_features,
)
from jaxgan.files import write_json
from jaxgan.metrics.classification import compute_wilson_interval
from jaxgan.metrics.measure import MIN_IMAGES
from jaxgan.metrics.memorisation import measure_memorisation
from jaxgan.pixels import scale_to_unit, stretch_to_bytes
from jaxgan.report import format_rules
from jaxgan.sampling import Samples, create_sampler, create_scorer, restore_run
from jaxgan.selection import (
    MIN_HELD_OUT,
    RANKING_RULES,
    accept_by_batch_loss,
    accept_by_probability,
    choose_by_rank,
    count_candidates,
)

PAPER_THRESHOLD = 0.76
_TRIES = 20  # images drawn for each one wanted
_MAX_TRIES = 4000
_SHOWN = ("kernel_distance", "precision", "recall", "density", "coverage")
_NOTES = (
    "Every rule sees the same images of one generator; an interval does not say how much one "
    "training differs from the next.",
    "paper_code keeps images while it trains: here it does what the listing does, a batch at a "
    "time, with the finished generator, and stretches what it keeps.",
    "calibrated: the two numbers of the calibration are fitted on the images it is compared with.",
)


def compare_rules(
    workdir: Path,
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
    """Measure what each rule keeps of one run's images; write `selection.json`; print a table.

    `num` images are wanted of each rule, 0: as many as there are training images.
    """
    check_class(dataset, class_name)
    label = dataset.class_names.index(class_name)
    train, held_out = dataset.train.of_class(label), dataset.val.of_class(label)
    check_count(f"the training images of {class_name}", len(train))
    check_same_data(workdir / class_name, dataset)
    num = num or len(train)
    settings, state, of_class = restore_run(workdir / class_name, checkpoint)
    tries = max(min(_TRIES * num, _MAX_TRIES), num)
    sampler = create_sampler(settings, label=of_class)
    samples = sampler.draw(state, seed, tries)
    kept = {
        "none": samples.images[:num],
        **{
            f"paper_text {threshold:g}": samples.images[
                accept_by_probability(samples.scores, threshold)
            ]
            for threshold in sorted({PAPER_THRESHOLD, settings.selection.threshold})
        },
        "paper_code": _apply_listing(samples, sampler.batch_size, PAPER_THRESHOLD),
    }
    drawn = dict.fromkeys(kept, tries) | {"none": num}
    score = create_scorer(settings, label=of_class)
    pool = count_candidates(num, settings.selection.pool, tries)
    logits = score(state.discriminator, samples.images[:pool])
    held_logits = score(state.discriminator, held_out.images)
    for rule in RANKING_RULES:
        if rule == "top_k" or len(held_out) >= MIN_HELD_OUT:
            kept[rule] = samples.images[choose_by_rank(rule, logits, held_logits, num)]
            drawn[rule] = pool
    aside = choose_unseen(dataset)
    learned = dataset.train.take(np.flatnonzero(~aside))
    spare = choose_spare(train.images, aside[dataset.train.labels == label], len(held_out))
    features = create_encoder_features(learned.images, learned.labels, cache_dir=cache_dir)
    rules = {
        rule: {
            "num_kept": len(images),
            "kept_fraction": _measure_share(len(images), drawn[rule]),
            **_measure_kept(images[:num], train.images, held_out.images, spare, features),
        }
        for rule, images in kept.items()
    }
    result: dict[str, Any] = {
        "class": class_name,
        "features": features.name,
        "rules": rules,
        "answer": _answer(rules),
        "notes": list(_NOTES),
    }
    out.mkdir(parents=True, exist_ok=True)
    json_path = json_path or out / "selection.json"
    write_json(json_path, result)
    say(format_rules(result))
    say(f"Wrote {json_path}.")
    return result


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


def _measure_kept(
    images: np.ndarray,
    train: np.ndarray,
    held_out: np.ndarray,
    spare: np.ndarray,
    features: Features,
) -> dict[str, Any]:
    """Measure what a rule has kept; nothing where that is too little to measure."""
    if len(images) < MIN_IMAGES:
        return dict.fromkeys((*_SHOWN, "memorisation"))
    images, train = limit(images, MAX_COMPARED), limit(train, MAX_COMPARED)
    if len(held_out) < MIN_IMAGES:
        scores = measure_space(features, images, train, held_out)
        return {name: scores[name] for name in _SHOWN} | {"memorisation": None}
    scores = measure_space(features, images, held_out, spare)
    space = PixelFeatures(MEMORISATION_SIDE)
    copies = measure_memorisation(
        space(images), space(train), space(held_out), features=space.name
    ).to_json()
    return {name: scores[name] for name in _SHOWN} | {"memorisation": copies}


def _answer(rules: Mapping[str, Mapping[str, Any]]) -> str:
    """Say whether the paper's rule helps, by the kernel distance."""
    name = f"paper_text {PAPER_THRESHOLD:g}"
    before, after = rules["none"]["kernel_distance"], rules[name]["kernel_distance"]
    if before is None or after is None:
        return (
            f"Does the paper's {PAPER_THRESHOLD:g} rule help? It keeps {rules[name]['num_kept']} "
            f"of {rules[name]['kept_fraction']['n']} images here: too few to measure."
        )
    if after["interval"][1] < before["interval"][0]:
        verdict = "they are nearer to real images than unselected ones"
    elif after["interval"][0] > before["interval"][1]:
        verdict = "they are further from real images than unselected ones"
    else:
        verdict = "no difference from unselected ones can be shown"
    return (
        f"Does the paper's {PAPER_THRESHOLD:g} rule help? Kernel distance of its images "
        f"{after['value']:.4g}, of unselected ones {before['value']:.4g}: {verdict}."
    )
