"""Imports run one way (see the README's map): read from the source, nothing imported."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Each room, and what of jaxgan it may not see.
FORBIDDEN = {
    "ops": ("models", "gan", "classifier", "data", "loop", "train_dcgan", "train_gmd"),
    "models": ("gan", "classifier", "data", "loop", "parallel"),
    "losses": ("models", "gan", "classifier", "data"),
    "gan": ("classifier", "data", "models", "loop"),
    "classifier": ("gan", "data", "models", "loop"),
    "loop": ("gan", "classifier", "models", "data", "losses"),
    "data": ("gan", "classifier", "models", "loop", "losses"),
    "metrics": ("gan", "classifier", "models", "loop", "data", "encoder", "features"),
    "encoder": ("gan", "classifier", "data", "loop", "metrics"),
    "features": ("gan", "classifier", "models", "loop", "metrics"),
}


def read_imports(path):
    """Yield the full names of the modules that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def list_files(room):
    files = list((ROOT / room).rglob("*.py"))
    assert files  # or the tests here would look at nothing
    return files


@pytest.mark.parametrize("room", FORBIDDEN)
def test_no_room_imports_what_stands_above_it(room):
    path = ROOT / "jaxgan" / room
    files = list(path.glob("*.py")) if path.is_dir() else [path.with_suffix(".py")]
    assert files
    for file in files:
        for name in read_imports(file):
            parts = name.split(".")
            assert parts[0] != "jaxgan" or len(parts) < 2 or parts[1] not in FORBIDDEN[room], (
                f"{file.name} imports {name}"
            )


def test_the_library_does_not_know_the_launchers_or_their_flags():
    for file in list_files("jaxgan"):
        for name in read_imports(file):
            assert name.split(".")[0] not in ("launch", "configs", "ml_collections"), file.name
            assert name not in ("absl.flags", "absl.app"), file.name


def test_only_the_phantom_knows_the_words_of_the_paper():
    for file in list_files("jaxgan"):
        if file.stem.startswith("phantom"):
            continue
        strings = {
            node.value
            for node in ast.walk(ast.parse(file.read_text()))
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        assert not strings & {"covid", "pneumonia", "normal"}, file.name


def test_launchers_are_short():
    for file in list_files("launch"):
        if file.stem != "cli":
            assert len(file.read_text().splitlines()) <= 60, file.name


def list_sources():
    return [p for room in ("jaxgan", "launch", "configs", "tests") for p in list_files(room)]


def test_nothing_is_unpickled():
    """A pickle runs what it holds: no file that is read may be one."""
    for file in list_sources():
        modules = {name.split(".")[0] for name in read_imports(file)}
        assert not modules & {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}, file


def test_every_array_is_loaded_without_pickles():
    """NumPy's default says so too, which is not for us to rely on; a variable would hide a True."""
    num_loads = 0
    for file in list_sources():
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                of_numpy = isinstance(node.func.value, ast.Name) and node.func.value.id == "np"
                if of_numpy and node.func.attr == "load":
                    num_loads += 1
                    given = {k.arg: getattr(k.value, "value", None) for k in node.keywords}
                    assert given.get("allow_pickle") is False, f"{file.name}, line {node.lineno}"
    assert num_loads >= 3
