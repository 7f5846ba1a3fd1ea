"""docs/notebook.ipynb: it is written for the API as it is, and it runs."""

import ast
import builtins
import json
import resource
from pathlib import Path

import pytest

import jaxgan

NOTEBOOK = Path(__file__).resolve().parents[1] / "docs" / "notebook.ipynb"
MOST_WORK = 2 * 240  # seconds of processors: four minutes on two cores
LONGEST = 1800  # seconds of a cell, on a machine with other work


def read_code():
    """Return the source of each code cell."""
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    return ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]


def find_unknown(sources):
    """Return the names of jaxgan that are not there, and names that no cell defines."""
    unknown, known = [], set(dir(builtins))
    for source in sources:
        tree = ast.parse(source)
        for node in ast.walk(tree):
            stored = isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
            known |= {node.id} if stored else set()
            if isinstance(node, ast.Import):
                known |= {alias.name for alias in node.names}
            if isinstance(node, ast.ExceptHandler):
                known.add(node.name)
        for node in ast.walk(tree):
            if isinstance(node, ast.Name) and node.id not in known:
                unknown.append(node.id)
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "jaxgan":
                is_known = node.attr in (*jaxgan.__all__, "__version__")
                unknown += [] if is_known else [f"jaxgan.{node.attr}"]
    return unknown


def test_the_notebook_has_ten_cells_that_compile_and_no_output():
    document = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert (document["nbformat"], document["nbformat_minor"]) == (4, 5)
    assert len(read_code()) == 10
    for source in read_code():
        compile(source, "cell", "exec")
    code = [cell for cell in document["cells"] if cell["cell_type"] == "code"]
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in code)
    assert NOTEBOOK.stat().st_size < 300_000


def test_the_notebook_names_what_is_there():
    assert find_unknown(read_code()) == []
    assert find_unknown(["import jaxgan\njaxgan.load(x)"]) == ["jaxgan.load", "x"]


def test_the_fields_that_the_notebook_changes_are_there():
    """A wrong one would be found only after minutes."""
    loaders = {
        "train_gan": jaxgan.load_gan_settings,
        "train_classifier": jaxgan.load_classifier_settings,
        "run_study": jaxgan.load_study_settings,
    }
    groups, found = {}, []
    for source in read_code():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
                groups[ast.unparse(node.targets[0])] = ast.literal_eval(node.value)
        for node in ast.walk(ast.parse(source)):
            name = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            load = loaders.get(name.removeprefix("jaxgan."))
            if load is not None:
                changes = {k.arg: ast.literal_eval(k.value) for k in node.keywords if k.arg}
                for keyword in node.keywords:
                    if keyword.arg is None:
                        text = ast.unparse(keyword.value)
                        changes |= groups.get(text) or ast.literal_eval(text)
                found.append(load(ast.literal_eval(node.args[0]), changes))
    assert len(found) == 3


@pytest.mark.slow
def test_the_notebook_runs(tmp_path, monkeypatch):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(NOTEBOOK.parents[1]))
    monkeypatch.delenv("XLA_FLAGS")  # one device, and programs as a user has them
    document = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(document)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    client = nbclient.NotebookClient(
        document, timeout=LONGEST, resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)  # the kernel has ended
    assert 10 < after.ru_utime - before.ru_utime < MOST_WORK
    shown = [out for cell in document.cells for out in cell.get("outputs", ())]
    pages = [out["data"]["text/html"] for out in shown if "text/html" in out.get("data", {})]
    assert len(pages) == 7
    assert all("jaxgan" in page for page in pages)
    assert not [out for out in shown if out["output_type"] == "error"]
    assert not [out for out in shown if out.get("name") == "stderr" and "epoch" not in out["text"]]
