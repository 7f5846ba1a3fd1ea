"""Licences of everything that an installation brings along, read from the installed metadata."""

import re
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]

# Permissive, or copyleft by file (MPL), as all that is meant to be combined with Apache-2.0.
ALLOWED = {
    "0BSD", "Apache-2.0", "BSD", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "HPND", "ISC", "MIT",
    "MIT-CMU", "MPL-2.0", "PSF-2.0", "Python-2.0", "Unlicense", "Zlib",
}  # fmt: skip

# What packages write instead of an SPDX expression, by a pattern, in order.
SPELLINGS = (
    (r"apache", "Apache-2.0"),
    (r"bsd.3|3.clause", "BSD-3-Clause"),
    (r"bsd", "BSD"),
    (r"mozilla|mpl", "MPL-2.0"),
    (r"\bmit\b", "MIT"),
    (r"python software foundation|\bpsf", "PSF-2.0"),
    (r"\bisc\b", "ISC"),
    (r"hpnd|historical permission", "HPND"),
    (r"unlicense", "Unlicense"),
)

# Metadata that says nothing usable; read in the package's own licence file.
BY_HAND: dict[str, str] = {}


def read_requirements():
    """The project's own requirements: those of every user, and the optional readers."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [*project["dependencies"], *project["optional-dependencies"]["dicom"]]


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


def read_licences(name, metadata):
    """The SPDX names of a distribution's licences."""
    if name in BY_HAND:
        return [BY_HAND[name]]
    if expression := metadata.get("License-Expression"):
        return re.findall(r"[\w.+-]+", re.sub(r"\b(AND|OR|WITH [\w.-]+)\b|[()]", " ", expression))
    classifiers = [c for c in metadata.get_all("Classifier", []) if c.startswith("License ::")]
    said = [c.rpartition(":: ")[2] for c in classifiers] or [(metadata.get("License") or "")[:200]]
    return [
        next((spdx for pattern, spdx in SPELLINGS if re.search(pattern, text.lower())), text)
        for text in said
        if text != "OSI Approved"
    ] or ["nothing"]


def test_every_licence_may_be_combined_with_ours():
    licences = {
        name: read_licences(name, found.metadata)
        for name, found in find_installed(read_requirements())
    }
    assert {"jax", "numpy", "pillow", "pydicom"} <= licences.keys()
    refused = {name: found for name, found in licences.items() if not set(found) <= ALLOWED}
    assert refused == {}


def test_a_foreign_licence_would_be_noticed():
    from email.message import Message

    metadata = Message()
    metadata["License-Expression"] = "MIT AND GPL-3.0-only"
    assert read_licences("x", metadata) == ["MIT", "GPL-3.0-only"]
    assert not set(read_licences("x", Message())) <= ALLOWED
