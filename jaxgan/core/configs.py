"""What the files in `configs/` share. They are not a package: each is loaded by its path."""

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import TypeVar

Config = TypeVar("Config")


def choose_variant(file: str, variants: Mapping[str, Callable[[], Config]], name: str) -> Config:
    """Return the config of the variant `name`; raise `ValueError` if the file does not have it."""
    if name not in variants:
        raise ValueError(
            f"configs/{Path(file).name} has no variant {name!r}: expected one of "
            f"{', '.join(variants)}."
        )
    return variants[name]()


def find_shipped(folder: str) -> Path:
    """Return `configs` or `launch`: inside an installed package, next to it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    return next(p for p in (package / folder, package.parent / folder) if p.is_dir())


def load_beside(file: str, name: str) -> ModuleType:
    """Load and return the config file NAME.py from the folder that holds `file`."""
    path = Path(file).with_name(f"{name}.py")
    spec = importlib.util.spec_from_file_location(f"configs_{name}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
