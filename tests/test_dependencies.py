"""Licences of everything that an installation brings along, read from the installed metadata."""

import tomllib
from email.message import Message
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]

# Permissive, or copyleft by file (MPL), as all that is meant to be combined with Apache-2.0.
ALLOWED = {
    "0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "HPND", "ISC",
    "LicenseRef-BSD", "MIT", "MIT-CMU", "MPL-2.0", "PSF-2.0", "Python-2.0", "Unlicense", "Zlib",
}  # fmt: skip

# What packages write instead of an SPDX expression, word for word.
CLASSIFIERS = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "LicenseRef-BSD",  # of two or three clauses
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
OSI = "OSI Approved"
SPELLINGS = {"Apache 2.0": "Apache-2.0", "3-Clause BSD License": "BSD-3-Clause"}

# Metadata that says nothing usable; read in the package's own licence file.
BY_HAND = {"simple-parsing": "MIT"}


def read_requirements():
    """The project's own requirements: those of every user, optional readers and writers."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    return [*project["dependencies"], *extras["dicom"], *extras["onnx"]]


def find_installed(requirements):
    """Yield each distribution that is needed, once, with all that it needs in turn."""
    seen, waiting = set(), [(Requirement(line), "") for line in requirements]
    while waiting:
        requirement, extra = waiting.pop()
        name = canonicalize_name(requirement.name)
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        extras = ("", *requirement.extras)
        if all((name, e) in seen for e in extras):
            continue
        try:
            found = distribution(name)
        except PackageNotFoundError:
            continue  # an optional one, or a fork under another name
        if not any(n == name for n, _ in seen):
            yield name, found
        seen |= {(name, e) for e in extras}
        waiting += [(Requirement(line), e) for line in found.requires or () for e in extras]


def read_licence(name, metadata):
    """The SPDX expression of a distribution's licence; what is none, as it stands there."""
    if name in BY_HAND:
        return BY_HAND[name]
    if expression := metadata.get("License-Expression"):
        return expression
    named = [c.split(" :: ") for c in metadata.get_all("Classifier", [])]
    named = [parts[-1] for parts in named if parts[0] == "License" and parts[1:] != [OSI]]
    if named:
        return " AND ".join(f"({CLASSIFIERS.get(text, text)})" for text in named)
    said = (metadata.get("License") or "nothing").strip()
    return SPELLINGS.get(said, said)


def is_allowed(expression):
    """Whether all that an expression demands, one side of each OR, is allowed."""
    try:
        canonical = canonicalize_license_expression(expression)
    except InvalidLicenseExpression:
        return False
    return _holds(canonical.replace("(", "( ").replace(")", " )").split())


def _holds(tokens):
    """Whether valid tokens hold: OR binds less than AND, and both less than WITH."""
    for operator, combine in (("OR", any), ("AND", all)):
        parts, depth = [[]], 0
        for token in tokens:
            depth += (token == "(") - (token == ")")
            if token == operator and depth == 0:
                parts.append([])
            else:
                parts[-1].append(token)
        if len(parts) > 1:
            return combine(map(_holds, parts))
    return _holds(tokens[1:-1]) if tokens[0] == "(" else " ".join(tokens) in ALLOWED


def test_every_licence_may_be_combined_with_ours():
    licences = {
        name: read_licence(name, found.metadata)
        for name, found in find_installed(read_requirements())
    }
    assert {"jax", "numpy", "onnx", "pillow", "pydicom"} <= licences.keys()
    refused = {name: found for name, found in licences.items() if not is_allowed(found)}
    assert refused == {}


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("License-Expression", "MIT", True),
        ("License-Expression", "MIT AND GPL-3.0-only", False),
        ("License-Expression", "MIT OR GPL-3.0-only", True),
        ("License-Expression", "(MIT OR GPL-3.0-only) AND Apache-2.0", True),
        ("License-Expression", "(MIT AND GPL-3.0-only) OR AGPL-3.0-only", False),
        ("License-Expression", "MIT AND GPL-2.0-only OR Apache-2.0", True),
        ("License-Expression", "Apache-2.0 WITH LLVM-exception", False),
        ("License", "AGPL-3.0 (bundles Apache-2.0 code)", False),
        ("License", "Proprietary; not MIT", False),
        ("License", "Apache 2.0", True),
        ("Classifier", "License :: OSI Approved :: MIT License", True),
        ("Classifier", "License :: OSI Approved", False),
        ("Classifier", "License :: Other/Proprietary License", False),
        ("Classifier", "License :: OSI Approved :: GNU Affero General Public License v3", False),
        ("Summary", "MIT", False),
    ],
)
def test_a_foreign_licence_would_be_noticed(field, value, allowed):
    metadata = Message()
    metadata[field] = value
    assert is_allowed(read_licence("x", metadata)) is allowed


def test_all_classifiers_count():
    metadata = Message()
    metadata["Classifier"] = "License :: OSI Approved :: MIT License"
    assert is_allowed(read_licence("x", metadata))
    metadata["Classifier"] = "License :: Other/Proprietary License"
    assert not is_allowed(read_licence("x", metadata))
