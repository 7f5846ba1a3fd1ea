"""Turn the results of the jobs into the dict for report.json and the page."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxgan.core.settings import to_dict
from jaxgan.core.versions import get_versions
from jaxgan.data.sets import ImageSet
from jaxgan.metrics.classification import compute_balanced_accuracy
from jaxgan.metrics.clustered import compute_clustered_report
from jaxgan.study import fidelity, memory
from jaxgan.study.arms import Arm, find_controls, find_reference
from jaxgan.study.audit import PADDED_VIEWS, Audit, run_probes
from jaxgan.study.folds import Folds, describe_leaks
from jaxgan.study.heat import audit_heat
from jaxgan.study.network import describe_network
from jaxgan.study.results import StudyResults
from jaxgan.study.statistics import (
    ALPHA,
    LEVEL,
    NUM_BOOTSTRAP,
    POWER,
    ArmResult,
    Comparison,
    Design,
    Estimate,
    Verdict,
    compare,
    compute_smallest_difference,
    draw_patients,
    estimate_fold_variance,
    find_verdict,
)
from jaxgan.training.jobs import Result, describe_failures

# Printed in sections 4.2 and 4.3: accuracy on training and validation images.
PAPER = {"without": (0.8632, 0.8550), "with": (0.9545, 0.8642)}
_PAPER_ARMS = ("gan_paper_counts", "gan_paper_text", "gan_paper_code")
REFERENCES = ("real", "duplicates", "classic")


def analyse(results: StudyResults) -> dict[str, Any]:
    """Return the whole report as strict JSON: verdict, arms, comparisons, audit, checks."""
    folds, names = results.folds, results.dataset.class_names
    design = Design(folds.images.labels.astype(np.int64), folds.groups, folds.fold_of)
    counts = draw_patients(design, np.random.default_rng(0), NUM_BOOTSTRAP)
    found = {arm.name: results.get_probabilities(arm.name) for arm in results.arms}
    complete = {name: p for name, p in found.items() if p is not None}
    right = {name: p.argmax(axis=2) == design.labels for name, p in complete.items()}
    controls, not_judged = _choose_judged(results, complete)
    verdict = find_verdict(controls, right=right, design=design, counts=counts)
    audit = run_audit(results)
    arms = {}
    for arm in results.arms:
        arms[arm.name] = {**_describe_arm(arm, results), "report": None}
        if arm.name in complete:
            arms[arm.name]["report"] = compute_clustered_report(
                probabilities=complete[arm.name],
                labels=design.labels,
                patients=design.patients,
                counts=counts,
                class_names=names,
            )
    comparisons = _compare_all(results.arms, right, design, counts)
    nearness, pairs = _check_memory(results)
    failures = [vars(failure) for failure in results.failures]
    incomplete = describe_failures(failures)
    shortcuts = (audit.describe(), nearness["warning"] if nearness else None)
    warnings = [w for w in (incomplete, *shortcuts) if w]
    sentence = ("Of the arms that are complete: " if incomplete else "") + verdict.sentence
    return {
        "verdict": "incomplete" if incomplete else verdict.verdict,
        "verdict_of_complete_arms": verdict.verdict,
        "sentence": " ".join([*warnings, sentence]),
        "warning": " ".join(warnings) or None,
        "verdict_sentence": sentence,
        "classic_note": _describe_classic(verdict, comparisons),
        "rules": {"alpha": ALPHA, "level": LEVEL, "power": POWER, "measure": "balanced_accuracy"},
        "judged": [_describe_judged(arm) for arm in verdict.arms],
        "not_judged": not_judged,
        "arms": arms,
        "comparisons": [_describe_comparison(c) for c in comparisons],
        "smallest_difference_of_one_arm": _compute_single(comparisons),
        "audit": {**_describe_audit(audit), "heat": audit_heat(results, design, counts)},
        "leaks": _describe_leaks(results),
        "fidelity": fidelity.summarise(
            results.fidelity, names, side=results.settings.gan.image_size
        ),
        "memory": nearness,
        "nearest_pairs": pairs,
        "paper": _describe_paper(arms),
        "failures": failures,
        "data": _describe_data(results),
        "classifier": describe_network(results),
        "settings": to_dict(results.settings),
        "versions": get_versions(),
    }


def _choose_judged(
    results: StudyResults, complete: Mapping[str, Any]
) -> tuple[dict[str, list[str]], list[dict[str, str]]]:
    """Return the arms in the verdict with their controls, and why the others are not in it."""
    judged, others = {}, []
    for arm in results.arms:
        controls = find_controls(arm, results.arms)
        missing = [name for name in (arm.name, *controls) if name not in complete]
        if not controls:
            continue
        if missing:
            reason = f"no complete result of {', '.join(missing)}{_describe_rule(arm, results)}"
            others.append({"arm": arm.name, "reason": reason})
        else:
            judged[arm.name] = controls
    return judged, others


def _describe_rule(arm: Arm, results: StudyResults) -> str:
    """Return a note where an arm has no result because of its rule; otherwise nothing."""
    found = results.find_failures(arm)
    if _describe_state(arm, results) != "no images by its rule":
        return ""
    return f". This is no failure: {found[0].reason} ({found[0].name})"


def _compare_all(
    arms: Sequence[Arm], right: Mapping[str, np.ndarray], design: Design, counts: np.ndarray
) -> list[Comparison]:
    """Compare every arm with `real`, with duplicates of its amount and with `classic`."""
    comparisons = []
    for arm in arms:
        for kind in REFERENCES:
            name = find_reference(arm, kind, arms)
            if arm.kind != kind and {arm.name, name} <= set(right):
                comparisons.append(
                    compare(arm.name, name, right=right, design=design, counts=counts)
                )
    return comparisons


def _describe_classic(verdict: Verdict, comparisons: Sequence[Comparison]) -> str | None:
    """Return how the arm that the verdict names does against classic augmentation."""
    if verdict.arm is None or verdict.arm.against_real.control == "classic":
        return None
    named = verdict.arm.arm
    found = [c for c in comparisons if c.arm == named and c.control == "classic"]
    if not found or found[0].by_patient.interval is None:
        return None
    low, high = found[0].by_patient.interval
    return (
        f"Against classic augmentation, the difference of {named} is "
        f"{100 * found[0].estimate:+z.1f} points [{100 * low:+z.1f}, {100 * high:+z.1f}]."
    )


def _describe_arm(arm: Arm, results: StudyResults) -> dict[str, Any]:
    done = results.classifiers.get(arm.name, {})
    wanted = results.settings.num_folds * results.settings.num_seeds
    added = list(results.added.get(arm.name, {}).values())
    by_class = np.mean(added, axis=0) if added else np.zeros(len(results.dataset.class_names))
    last = [float(r["curve_accuracy"][-1]) for r in done.values()]
    return {
        "description": arm.description,
        "amount": arm.amount,
        "trainings": len(done),
        "trainings_wanted": wanted,
        "state": _describe_state(arm, results),
        "mean_added": {
            name: float(n) for name, n in zip(results.dataset.class_names, by_class, strict=True)
        },
        "training_accuracy": float(np.mean(last)) if last else None,
    }


def _describe_state(arm: Arm, results: StudyResults) -> str:
    """Return in a few words whether an arm has a result, and if not, why."""
    if results.get_probabilities(arm.name) is not None:
        return "complete"
    missing = results.find_failures(arm)
    by_rule = missing and all(failure.by_rule for failure in missing)
    return "no images by its rule" if by_rule else "failed"


def _describe_test(test: Estimate) -> dict[str, Any]:
    return {
        "interval": list(test.interval) if test.interval else None,
        "p": test.p_value,
        "standard_error": test.standard_error if np.isfinite(test.standard_error) else None,
        "degrees_of_freedom": test.degrees,
    }


def _describe_comparison(comparison: Comparison) -> dict[str, Any]:
    return {
        "arm": comparison.arm,
        "control": comparison.control,
        "difference": comparison.estimate,
        "by_patient": _describe_test(comparison.by_patient),
        "by_training": _describe_test(comparison.by_training),
        "by_fold_and_seed": comparison.folds.tolist(),
    }


def _describe_judged(arm: ArmResult) -> dict[str, Any]:
    return {
        "arm": arm.arm,
        "controls": [c.control for c in arm.comparisons],
        "difference": arm.against_real.estimate,
        "p_helps": arm.p_helps,
        "p_hurts": arm.p_hurts,
        "smallest_difference": arm.smallest,
        "needed_test_patients": arm.needed_patients,
    }


def _compute_single(comparisons: Sequence[Comparison]) -> float | None:
    """Return the smallest difference that one arm could have shown against `real` (median)."""
    group = [c for c in comparisons if c.control == "real"]
    shared = estimate_fold_variance(group)
    found = [compute_smallest_difference([c], num_arms=1, shared_variance=shared) for c in group]
    known = [f for f in found if f is not None]
    return float(np.median(known)) if known else None


def run_audit(results: StudyResults) -> Audit:
    """Run the linear probes on the study's folds; the classifier's views come from its jobs."""
    folds = results.folds
    by_view: dict[str, float] = {}
    done: Mapping[str, Mapping[int, Result]] = {
        "whole": {f: r for (s, f), r in results.classifiers.get("real", {}).items() if s == 0},
        **results.audit_classifiers,
    }
    for view, by_fold in done.items():
        if len(by_fold) == folds.num:
            by_view[view] = _compute_balanced_accuracy(by_fold, folds)
    is_padded = results.settings.data.fit == "pad"
    return run_probes(folds.images, folds.fold_of, by_view, results.sources, is_padded=is_padded)


def _compute_balanced_accuracy(by_fold: Mapping[int, Result], folds: Folds) -> float:
    predicted = np.zeros_like(folds.images.labels)
    for fold, result in by_fold.items():
        predicted[folds.fold_of == fold] = result["probabilities"].argmax(axis=1)
    return compute_balanced_accuracy(folds.images.labels, predicted)


def _describe_audit(audit: Audit) -> dict[str, Any]:
    explained = audit.explained
    return {
        "chance": audit.chance,
        "views": {view: words for view, words in PADDED_VIEWS.items() if view in audit.probe},
        "linear_probe": dict(audit.probe),
        "classifier": dict(audit.classifier),
        "sources": dict(audit.sources),
        "best_shortcut": {"what": explained[0], "share": explained[1]} if explained else None,
    }


def _describe_leaks(results: StudyResults) -> dict[str, Any]:
    """Return what the guards found: in the splits as given, and among the study's folds."""
    folds = results.folds
    pairs = [
        {"files": [folds.images.files[i], folds.images.files[j]], "correlation": float(c)}
        for (i, j), c in zip(folds.copies.pairs, folds.copies.correlations, strict=True)
    ]
    return {
        "groups": int(folds.groups.max()) + 1,
        "copies_across_patients": pairs,
        "sentences": describe_leaks(results.dataset, folds),
        "between_folds": "none: no patient and no copied image is on both sides of any fold",
    }


def _check_memory(results: StudyResults) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    """Return the nearness of all generators to test images, and the nearest training pairs."""
    found, pairs = [], []
    for (fold, gan_seed, label), made in results.generators.items():
        train = results.gan_folds.get_train(fold).of_class(label)
        test = results.gan_folds.get_test(fold).of_class(label)
        generated = memory.join_generated(made)
        nearness = memory.compute_nearness(generated, train, test, seed=fold)
        found.append(nearness)
        pairs += [
            {
                "fold": fold,
                "gan_seed": gan_seed,
                "class": results.dataset.class_names[label],
                "generated": i,
                "file": train.files[j],
                "train_index": j,
                "distance": distance,
            }
            for i, j, distance in nearness.pairs
        ]
    return memory.summarise(found), pairs


def _describe_paper(arms: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the four accuracies of the paper and ours, where its arms were run."""
    ours = [n for n in ("real", *_PAPER_ARMS) if n in arms and arms[n]["report"]]
    if not set(ours) & set(_PAPER_ARMS):
        return []
    rows = [
        {"what": f"the paper, {name}", "training": train, "test": test, "interval": None}
        for name, (train, test) in PAPER.items()
    ]
    for name in ours:
        accuracy = arms[name]["report"]["accuracy"]
        rows.append(
            {
                "what": f"here, {name}",
                "training": arms[name]["training_accuracy"],
                "test": accuracy["value"],
                "interval": accuracy["interval"],
            }
        )
    return rows


def _describe_data(results: StudyResults) -> dict[str, Any]:
    images, names = results.folds.images, results.dataset.class_names
    counts = np.bincount(images.labels, minlength=len(names))
    return {
        **results.dataset.describe(),
        "images": len(images),
        "classes": {name: int(n) for name, n in zip(names, counts, strict=True)},
        "patients": len(set(images.patients)),
        "images_without_patient": int((~images.is_patient_known).sum()),
        "size": _describe_size(images),
        "notices": list(results.notices),
    }


def _describe_size(images: ImageSet) -> str:
    """Return the number of images and, where known, of patients."""
    known = images.is_patient_known
    if not known.any():
        return f"{len(images)} images (patients not known: each image counts as one)"
    words = f"{len(images)} images of {len(set(images.patients))} patients"
    if known.all():
        return words
    return f"{words} ({int((~known).sum())} images without a known patient count as one each)"
