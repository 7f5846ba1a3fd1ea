"""Which ruler sees which degradation of real images?

Example, for the phantom and for a folder of your own:

    python docs/rank_degradations.py
    python docs/rank_degradations.py --data_dir=DIR --class_name=CLASS --other=CLASS

It degrades validation images of a class and prints, for each ruler, their kernel distance to other
validation images. 1.0 is the floor: the limit that 19 of 20 divisions of these images stay within.
--on_train divides the training images instead: choose a ruler with those. --check says, for real
images with a known blur and noise, which equivalent degradation the outside ruler finds.
"""

import argparse
from pathlib import Path

import numpy as np

from jaxgan.core.errors import UserError
from jaxgan.core.versions import get_versions
from jaxgan.data.sets import find_label
from jaxgan.data.source import DataSpec, load_dataset
from jaxgan.evaluation.comparisons import measure_space
from jaxgan.evaluation.degradations import DEGRADATIONS, REFERENCE_SIDE, add_noise, blur
from jaxgan.evaluation.equivalent import measure_equivalent
from jaxgan.evaluation.features import Features, create_encoder_features, create_pixel_features
from jaxgan.evaluation.imagenet import fit_imagenet_features, is_installed
from jaxgan.evaluation.pyramid import fit_pyramid_features
from jaxgan.evaluation.ranking import Ranking, rank
from jaxgan.evaluation.real_images import RealImages, choose_real
from jaxgan.reports.tables import format_markdown

CACHE = Path.home() / ".cache" / "jaxgan"


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data_dir", type=Path)
    parser.add_argument("--class_name")
    parser.add_argument("--other")  # the class to mix with
    parser.add_argument("--image_size", type=int, default=64)
    parser.add_argument("--on_train", action="store_true")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    spec = DataSpec(data_dir=options.data_dir)
    dataset = load_dataset(spec, image_size=options.image_size, channels=1, cache_dir=CACHE)
    if options.check:
        check(choose_real(dataset, options.class_name or dataset.class_names[0]))
        return
    learned, held_out = dataset.train, dataset.val
    if options.on_train:  # every second patient is held out
        names, owners = np.unique(learned.patients, return_inverse=True)
        chosen = np.random.default_rng(0).random(len(names))[owners] < 0.5
        learned, held_out = (
            learned.take(np.flatnonzero(~chosen)),
            learned.take(np.flatnonzero(chosen)),
        )
    label = find_label(dataset, options.class_name or dataset.class_names[0])
    mine = held_out.of_class(label)
    other = find_label(dataset, options.other or dataset.class_names[label - 1])
    others = held_out.of_class(other).images
    found = {
        name: rank(features, mine.images, DEGRADATIONS, patients=mine.patients, others=others)
        for name, features in create_rulers(learned.images, learned.labels).items()
    }
    print("\n".join(format_table(found)))
    print(
        f"{dataset.name}, {len(mine)} images of {dataset.class_names[label]} at "
        f"{options.image_size} x {options.image_size}, mixed with {dataset.class_names[other]}; "
        f"{get_versions()}."
    )


def check(real: RealImages) -> None:
    """Print the equivalent degradations of real images that no ruler has seen."""
    features, side = fit_imagenet_features(real.encoder_set[0]), real.train.images.shape[1]
    sigma, spread = 5.0, 6.0
    for known, images in {
        "nothing": real.remaining.images,
        f"blur {sigma * side / REFERENCE_SIDE:g} pixels": blur(real.remaining.images, sigma),
        f"noise {spread:g} gray levels": add_noise(real.remaining.images, spread),
    }.items():
        score = measure_space(features, images, real.sides)["kernel_distance"]
        found = measure_equivalent(score, features, real, cache_dir=CACHE)
        assert found is not None
        print(f"{known}: {found['sentence']}. {found['degradations']}")


def create_rulers(images: np.ndarray, labels: np.ndarray) -> dict[str, Features]:
    """Return the rulers by name, fitted to training images."""
    outside = {"outside": fit_imagenet_features(images)} if is_installed() else {}
    return {
        "encoder": create_encoder_features(images, labels, cache_dir=CACHE),
        **outside,
        "pyramid": fit_pyramid_features(images),
        "pixels": create_pixel_features(),
    }


def format_table(found: dict[str, Ranking]) -> list[str]:
    """Return a Markdown table: a row for each degradation and ruler, a column for each strength."""
    rows = [["degradation", "ruler", "1", "2", "3", "4", "5"]]
    for kind in DEGRADATIONS:
        strengths = ", ".join(f"{s:g}" for s in kind.strengths)
        for ruler, ranking in found.items():
            distances = ranking.distances[kind.name]
            cells = [f"{d / ranking.floor:.1f}" for d in distances]
            title = f"{kind.name}: {strengths} {kind.unit}" if ruler == "encoder" else ""
            rows.append([title, ruler, *cells])
    return format_markdown(rows)


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        raise SystemExit(f"Error: {error}") from None
