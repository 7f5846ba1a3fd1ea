"""Imports run one way (see the README's map), and what documents name is there.

Read from the source, nothing imported.
"""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Every module of jaxgan, each behind all that it may import: the README's map, from below. What two
# neighbours should not know of one another though the order would let them is in FORBIDDEN.
_ORDER = """
types untrusted errors seeds

ops.geometry ops.pooling ops.choice ops.library ops.plane ops.direct ops.winograd ops.convolution
ops models models.layers models.dcgan models.gmd models.encoder

losses penalties pixels augment augment_classic schedule parallel
data data.fit data.values
gan classifier selection listing settings unused dcgan

event_log console relay files run_folder distributed checkpoint

data.sets data.split data.limits data.headings data.compressed data.dicom_elements data.dicom
data.images data.phantom_anatomy
data.phantom data.tree data.folder data.copies data.tensorflow_free data.cache
data.builders data.guard
data.catalogue data.source data.feed data.loose

metrics metrics.classification metrics.clustered metrics.measure metrics.sliced_wasserstein
metrics.pyramid metrics.diversity metrics.frechet_distance metrics.gan_train
metrics.kernel_distance metrics.memorisation metrics.neighbours

statistics simulation report figures leaks encoder features quality

loop kept sampling class_run train_dcgan train_conditional train_gmd evaluate keep compare_rules

study study.arms study.settings study.unused study.jobs study.training study.memory study.sources
study.folds study.audit study.classifiers study.generators study.coverage study.run
study.analysis study.page

ablation ablation_classes

benchmark benchmark.count benchmark.environment benchmark.record benchmark.workload
benchmark.worker benchmark.alternate benchmark.chart benchmark.ours benchmark.several
benchmark.flax_peer benchmark.torch_peer benchmark.launched benchmark.suites benchmark.run
"""
ORDER = _ORDER.split()

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


def test_every_module_has_its_place_and_imports_what_stands_before_it():
    modules = dict(list_modules())
    assert len(ORDER) == len(set(ORDER))
    assert set(modules) - set(ORDER) == set(), "give it a place in ORDER, behind what it imports"
    assert set(ORDER) - set(modules) == set(), "ORDER names what is not there"
    for name, file in modules.items():
        allowed = set(ORDER[: ORDER.index(name)])
        imported = find_imported(read_imports(file), modules) - {name}
        assert imported <= allowed, f"{name} imports {imported - allowed}, which stand behind it"


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


DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "SECURITY.md")),
    *(ROOT / "docs").glob("*.md"),
    *(p for room in ("jaxgan", "launch", "configs") for p in (ROOT / room).rglob("*.py")),
]
_MODULE = re.compile(r"`(jaxgan(?:\.\w+)+)`")
_FILE = re.compile(r"\b((?:jaxgan|launch|configs|tests|docs)/[\w/]+\.(?:py|md|sh|png))")
_TEST = re.compile(r"(tests/test_\w+\.py)`?::(test_\w+)|`::(test_\w+)")


def is_defined(name):
    """Whether `jaxgan.a.b` is a module, or b is at the top of the module a."""
    known = dict(list_modules())
    parts = name.split(".")[1:]
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
