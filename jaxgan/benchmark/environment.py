"""The machine and the software of a benchmark."""

import importlib.metadata
import importlib.util
import os
import platform
from pathlib import Path
from typing import Any

import jax

_PACKAGES = ("jaxgan", "jax", "jaxlib", "flax", "numpy", "torch")


def describe_environment() -> dict[str, Any]:
    """Return the machine, the device and the versions of what was measured."""
    device = jax.devices()[0]
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": _read_processor(),
        "num_cpus": os.cpu_count(),
        "malloc": os.environ.get("GLIBC_TUNABLES", "as it comes"),
        "device": f"{device.platform}: {device.device_kind}",
        "num_devices": len(jax.devices()),
        "versions": {
            name: _read_version(name) for name in _PACKAGES if importlib.util.find_spec(name)
        },
    }


def _read_version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed, from a folder of sources"


def _read_processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
