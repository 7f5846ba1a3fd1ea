"""The versions that a result was computed with."""

import platform
from importlib.metadata import PackageNotFoundError, version

_PACKAGES = ("jaxgan", "jax", "jaxlib", "flax", "optax", "numpy", "scipy", "scikit-learn", "pillow")


def get_versions() -> dict[str, str]:
    """Return the versions of Python, the system and the packages that numbers depend on."""
    versions = {"python": platform.python_version(), "platform": platform.platform()}
    for name in _PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "unknown"
    return versions
