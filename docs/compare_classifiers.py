"""Compare groups of classifiers on the same images, each trained with several seeds.

Example, for classifiers with seeds 0 to 4 in runs/new/SEED and runs/old/SEED:

    python docs/compare_classifiers.py DIR 'runs/new/*/real' 'runs/old/*/real'

DIR has images of known classes, as for predict. Copies of training images do not count. Each draw
of patients takes the mean over the seeds. So the interval is for other patients with the same
trainings.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxgan.core.errors import UserError
from jaxgan.experiments.predict import FolderPredictions, predict_files
from jaxgan.experiments.prediction_output import count_images
from jaxgan.experiments.prediction_report import Truth
from jaxgan.study.statistics import bootstrap_balanced, estimate_by_patient

CACHE = Path.home() / ".cache" / "jaxgan"


def main(images: str, *patterns: str) -> None:
    """Print the balanced accuracy of each group of runs, and the differences from the last."""
    groups = {pattern: find_runs(pattern) for pattern in patterns}
    runs = [run for group in groups.values() for run in group]
    found = predict_files(runs, Path(images), cache_dir=CACHE)
    counted = count_images(found)
    if counted.truth is None:
        raise UserError(f"Found no new image of a known class in {images}, expected one or more.")
    right = {
        name: compare(found, group, counted.indices, counted.truth)
        for name, group in groups.items()
    }
    for name, values in right.items():
        print(f"{name}: {describe(values, counted.truth)}")
    for name in patterns[:-1]:
        difference = right[name] - right[patterns[-1]]
        print(f"{name} minus {patterns[-1]}: {describe(difference, counted.truth)}")


def find_runs(pattern: str) -> list[Path]:
    """Return the folders that match a pattern."""
    runs = (
        sorted(Path().glob(pattern))
        if not Path(pattern).is_absolute()
        else [*sorted(Path("/").glob(pattern[1:]))]
    )
    if not runs:
        raise UserError(
            f"No folder matches {pattern!r}, expected the folders of trained classifiers."
        )
    return runs


def compare(
    found: FolderPredictions, runs: Sequence[Path], indices: np.ndarray, truth: Truth
) -> np.ndarray:
    """Return float [runs, num]: 1 if the run is right for the image, otherwise 0."""
    outputs = [found.predictions[str(run)].probabilities[indices].argmax(axis=1) for run in runs]
    return np.array([output == truth.labels for output in outputs], np.float64)


def describe(values: np.ndarray, truth: Truth) -> str:
    """Return the balanced mean of values [runs, num] in percent, with an interval over patients."""
    draws = bootstrap_balanced(values.mean(axis=0), truth.design, truth.draw())
    found = estimate_by_patient(values.mean(axis=0)[None], truth.design, draws)
    ends = found.interval
    said = "no interval" if ends is None else f"[{100 * ends[0]:+.1f}, {100 * ends[1]:+.1f}]"
    ones = [
        bootstrap_balanced(v, truth.design, np.ones((1, truth.design.num_patients))) for v in values
    ]
    each = ", ".join(f"{100 * float(np.ravel(one)[0]):.1f}" for one in ones)
    return f"{100 * found.estimate:+.1f} {said}; each seed: {each}"


if __name__ == "__main__":
    if len(sys.argv) < 3:
        raise SystemExit(__doc__)
    try:
        main(*sys.argv[1:])
    except UserError as error:
        raise SystemExit(f"Error: {error}") from None
