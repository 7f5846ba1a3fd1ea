"""Describe the classifier of all arms for the page: its network, weights and images."""

from collections.abc import Mapping
from typing import Any

from jaxgan.classifiers.weight_packages import IMAGENET
from jaxgan.core.settings import to_dict
from jaxgan.core.untrusted import printable
from jaxgan.study.results import StudyResults
from jaxgan.study.settings import StudySettings

_FROZEN = {
    "none": "all layers learn",
    "features": "frozen features",
    "early": "frozen features except the last stage",
}


def describe_network(results: StudyResults) -> dict[str, Any]:
    """Return the classifier's network, sizes and initial weights, and sentences about them."""
    settings, weights = results.settings, results.weights
    classifier, transfer = settings.classifier, settings.transfer
    source = None if weights is None else name_weights(transfer.weights, weights)
    return {
        "architecture": classifier.title,
        "image_size": classifier.image_size,
        "channels": classifier.channels,
        "width": to_dict(classifier).get("width"),
        "weights": source,
        "sha256": None if weights is None else weights["sha256"],
        "frozen": transfer.frozen,
        "sentence": _describe(settings, source),
        "size_note": describe_sizes(settings),
    }


def name_weights(asked: str, weights: Mapping[str, Any]) -> str:
    """Return a name for the weights of `config.transfer.weights`; `weights` is their record."""
    return "ImageNet" if asked == IMAGENET else printable(str(weights["file"]))


def _describe(settings: StudySettings, weights: str | None) -> str:
    classifier = settings.classifier
    width = to_dict(classifier).get("width")
    narrow = "" if width in (None, 1.0) else f" of width {width:g}"
    parts = [f"{classifier.title}{narrow} at {classifier.image_size} pixels"]
    if weights is None:
        parts.append("trained from random weights")
    else:
        parts += [f"{weights} weights", _FROZEN[settings.transfer.frozen]]
    return f"Classifier: {', '.join(parts)}."


def describe_sizes(settings: StudySettings) -> str | None:
    """Return a sentence if generated images are enlarged for the classifier, otherwise None."""
    arms = [arm.name for arm in settings.create_arms() if arm.needs_generator]
    generated, real = settings.gan.image_size, settings.classifier.image_size
    if not arms or generated >= real:
        return None
    return (
        f"The classifier sees real images at {real} pixels, and generated images that are enlarged "
        f"from {generated} pixels. So the generated images of {', '.join(arms)} are less sharp "
        "than real images. A classifier can learn that difference."
    )
