"""Imports run one way (see docs/map.md), and what documents name is there.

Read from the source, nothing imported.
"""

import ast
import graphlib
import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# The floors of the house, from below: a room may import what lies on lower floors, and itself.
# Rooms on one floor do not know one another.
_FLOORS = """
core metrics
ops devices data
networks reports
training
classifiers
gans
sampling
evaluation benchmark
study
experiments
api
"""
FLOORS = {room: floor for floor, line in enumerate(_FLOORS.split("\n")) for room in line.split()}


def read_imports(path):
    """Yield the full names of the modules that a file imports, wherever in it."""
    yield from read_text_imports(path.read_text())


def read_text_imports(text):
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def list_modules():
    """Yield every module of jaxgan without that name in front, and its file."""
    for file in sorted((ROOT / "jaxgan").rglob("*.py")):
        if file.stem == "__main__":  # starts a launcher, and imports nothing of the house
            continue
        parts = file.relative_to(ROOT / "jaxgan").with_suffix("").parts
        if name := ".".join(parts).removesuffix("__init__").rstrip("."):
            yield name, file


def find_imported(names, known):
    """Return which of the modules `known` these imports are of, each as near as it is named."""
    own = {name.removeprefix("jaxgan.") for name in names if name.startswith("jaxgan.")}
    # "from a import b" is read as a and as a.b: where a.b is a module it is that alone.
    packages = {name.rpartition(".")[0] for name in own & set(known)}
    found = {name if name in known else name.rpartition(".")[0] for name in own - packages}
    return {name for name in found if name in known}


def find_room(name):
    """Return the package that a module is in, or the module itself where it is in none."""
    return name.partition(".")[0]


def test_every_room_has_a_floor():
    rooms = {find_room(name) for name, _ in list_modules()}
    assert rooms - set(FLOORS) == set(), "give it a floor above all that it imports"
    assert set(FLOORS) - rooms == set(), "FLOORS names what is not there"


def test_every_file_imports_from_lower_floors_alone():
    modules = dict(list_modules())
    for name, file in modules.items():
        room = find_room(name)
        for imported in find_imported(read_imports(file), modules):
            other = find_room(imported)
            is_lower = FLOORS[other] < FLOORS[room]
            assert other == room or is_lower, f"{name} imports {imported}, which is not below it"


def test_no_files_import_one_another_in_a_circle():
    modules = dict(list_modules())
    graph = {name: find_imported(read_imports(file), modules) for name, file in modules.items()}
    # A package itself is what its files are imported through: it has no imports but of its files.
    packages = {name for name in modules if any(m.startswith(f"{name}.") for m in modules)}
    graph = {name: found - packages - {name} for name, found in graph.items()}
    order = graphlib.TopologicalSorter(graph)
    order.prepare()  # raises CycleError with the names


def test_a_circle_and_a_climb_are_seen(monkeypatch):
    circle = {"a": {"b"}, "b": {"a"}}
    with pytest.raises(graphlib.CycleError):
        graphlib.TopologicalSorter(circle).prepare()
    monkeypatch.setitem(FLOORS, "gans", 0)
    with pytest.raises(AssertionError, match="which is not below it"):
        test_every_file_imports_from_lower_floors_alone()
    monkeypatch.delitem(FLOORS, "ops")
    with pytest.raises(AssertionError, match="give it a floor"):
        test_every_room_has_a_floor()


def test_imports_are_found_wherever_and_however_they_are_written():
    known = {"losses", "figures", "gan", "data", "data.sets", "ops", "ops.plane"}
    for text, expected in (
        ("import jaxgan.losses", {"losses"}),
        ("from jaxgan import figures, gan as g", {"figures", "gan"}),
        ("def f():\n    from jaxgan.data.sets import Dataset", {"data.sets"}),
        ("from jaxgan.ops import conv", {"ops"}),
        ("from jaxgan.ops import plane", {"ops.plane"}),
        ("import numpy as np\nfrom gan import x", set()),
    ):
        assert find_imported(read_text_imports(text), known) == expected, text


def test_the_picture_of_the_house_is_drawn_from_the_imports():
    """python docs/draw_house.py draws it anew."""
    drawing = runpy.run_path(str(ROOT / "docs" / "draw_house.py"))
    house = drawing["read_house"]()
    assert set(house) == set(FLOORS)
    assert drawing["PICTURE"].read_text(encoding="utf-8") == drawing["draw"](house)


def test_the_map_names_what_is_there():
    """Its table leaves `jaxgan/` out; its line of floors is that of this file."""
    text = (ROOT / "docs" / "map.md").read_text(encoding="utf-8")
    rows = [line for line in text.split("\n") if line.startswith("|")]
    named = re.findall(r"`(\w+/(?:\w+\.py)?)`", "\n".join(rows[1:]))
    assert len(named) > 25
    assert [name for name in named if not (ROOT / "jaxgan" / name).exists()] == []
    floors = [line for line in _FLOORS.split("\n") if line]
    assert " | ".join(f"`{line}`" for line in floors) in " ".join(text.split())


def test_the_page_on_a_new_gan_shows_the_file_as_it_is():
    page = (ROOT / "docs" / "add-a-gan.md").read_text()
    assert (ROOT / "jaxgan" / "gans" / "mlp.py").read_text() in page


def test_no_function_has_more_than_twelve_parameters():
    for file in list_files("jaxgan") + list_files("launch"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef):
                given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                num = len([a for a in given if a.arg not in ("self", "cls")])
                assert num <= 12, f"{file.name}: {node.name} has {num}"


def test_few_modules_lie_beside_the_rooms():
    assert len(list((ROOT / "jaxgan").glob("*.py"))) <= 3
    assert len(list((ROOT / "jaxgan").glob("*/__init__.py"))) <= 16


def list_files(room):
    files = list((ROOT / room).rglob("*.py"))
    assert files  # or the tests here would look at nothing
    return files


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
        if file.stem not in ("cli", "helping"):  # what launchers share
            assert len(file.read_text().splitlines()) <= 80, file.name


DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "SECURITY.md")),
    *(ROOT / "docs").glob("*.md"),
    *(p for room in ("jaxgan", "launch", "configs") for p in (ROOT / room).rglob("*.py")),
]
_MODULE = re.compile(r"`(jaxgan(?:\.\w+)+)`")
_FILE = re.compile(r"\b((?:jaxgan|launch|configs|tests|docs)/[\w/]+\.(?:py|md|sh|png))")
_TEST = re.compile(r"(tests/test_\w+\.py)`?::(test_\w+)|`::(test_\w+)")


def list_public():
    """Return the names that `import jaxgan` offers."""
    tree = ast.parse((ROOT / "jaxgan" / "__init__.py").read_text())
    lists = [node.value for node in tree.body if isinstance(node, ast.Assign)]
    found = [ast.literal_eval(value) for value in lists if isinstance(value, ast.List)]
    return [*found[0], "__version__"]


def is_defined(name):
    """Whether `jaxgan.a.b` is a module, or b is at the top of the module a, or public."""
    known = dict(list_modules())
    parts = name.split(".")[1:]
    if parts[0] in list_public():
        return len(parts) == 1
    if ".".join(parts) in known or (ROOT / "jaxgan").joinpath(*parts).is_dir():
        return True
    file = known.get(".".join(parts[:-1]))
    return (
        file is not None
        and re.search(
            rf"^(?:def|class) {parts[-1]}\b|^{parts[-1]}\b", file.read_text(), re.MULTILINE
        )
        is not None
    )


@pytest.mark.parametrize("file", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_what_documents_name_is_there(file):
    text, test_file = file.read_text(), ""
    assert [name for name in _MODULE.findall(text) if not is_defined(name)] == []
    assert [name for name in _FILE.findall(text) if not (ROOT / name).exists()] == []
    for named, first, more in _TEST.findall(text):
        test_file = named or test_file
        assert f"def {first or more}(" in (ROOT / test_file).read_text(), first or more


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
