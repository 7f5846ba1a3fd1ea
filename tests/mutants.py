"""Change the library one small thing at a time and count which changes its tests notice.

    python -m tests.mutants [--modules gans/objectives metrics/measure] [--most 40]

Each mutant (a comparison turned, an operator exchanged, a number raised, a condition denied, ...)
lives in a forked process of its own, where it takes the module's place before the module's tests
run. Packages are imported once, before the fork. What the tests do not notice is printed.

The tests' own helpers are changed as well: a check that can not fail lets everything pass. There a
function is emptied (it returns 0), an assertion is left out, and a check is changed as above.

Why not mutmut or cosmic-ray: they start Python, and with it JAX, anew for every mutant, or fork
after JAX has started its threads.
"""

import argparse
import ast
import copy
import importlib
import importlib.util
import os
import random
import resource
import sys
from pathlib import Path
from types import ModuleType

from tests.xla_flags import FAST_COMPILATION

ROOT = Path(__file__).resolve().parents[1]
MODULES = (
    "core/settings",
    "data/copies",
    "data/guard",
    "data/leaks",
    "data/split",
    "evaluation/pyramid",
    "evaluation/quality",
    "gans/objectives",
    "gans/penalties",
    "metrics/classification",
    "metrics/clustered",
    "metrics/diversity",
    "metrics/frechet_distance",
    "metrics/gan_train",
    "metrics/kernel_distance",
    "metrics/measure",
    "metrics/memorisation",
    "metrics/neighbours",
    "metrics/sliced_wasserstein",
    "networks/losses",
    "ops/augment",
    "ops/batches",
    "sampling/sampler",
    "sampling/selection",
    "training/epochs",
    "training/record",
    "tests/helpers",
)
_MOST_SECONDS = 300  # of a processor; a mutant that takes more is noticed: its tests hang

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
_OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.MatMult: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
_NAMES = {"min": "max", "max": "min", "any": "all", "all": "any", "argmin": "argmax"}
_NAMES |= {"argmax": "argmin", "sum": "mean", "mean": "sum", "minimum": "maximum"}
_NAMES |= {"maximum": "minimum", "sqrt": "square", "zeros": "ones", "floor": "ceil"}


def list_mutants(source: str, *, checks: bool = False) -> list[tuple[str, str]]:
    """Return each mutant of a source: where and what was changed, and the changed source.

    With `checks`, those without one of its assertions too.
    """
    tree = ast.parse(source)
    excluded, mutants = _find_excluded(tree), []
    for number, node in enumerate(ast.walk(tree)):
        if id(node) in excluded:
            continue
        changed = copy.deepcopy(tree)
        other = next(n for i, n in enumerate(ast.walk(changed)) if i == number)
        if _change(other) or (checks and _disarm(other)):
            what = f"line {getattr(node, 'lineno', 0)}: {_show(node)}  ->  {_show(other)}"
            mutants.append((what, ast.unparse(ast.fix_missing_locations(changed))))
    return mutants


def list_helper_mutants(source: str) -> list[tuple[str, str]]:
    """Return the mutants of helpers: functions emptied, and what checks, changed."""
    tree, mutants = ast.parse(source), []
    for number, function in enumerate(tree.body):
        if not isinstance(function, ast.FunctionDef):
            continue
        mutants.append(_replace(tree, number, _empty(function), f"{function.name} returns 0"))
        if any(isinstance(node, ast.Assert) for node in ast.walk(function)):
            mutants += [
                _replace(tree, number, ast.parse(changed).body[0], what)
                for what, changed in list_mutants(ast.unparse(function), checks=True)
            ]
    return mutants


def _empty(function: ast.FunctionDef) -> ast.stmt:
    return ast.parse(f"def {function.name}(*args, **kwargs):\n    return 0.0").body[0]


def _replace(tree: ast.Module, number: int, new: ast.stmt, what: str) -> tuple[str, str]:
    """Return `what` and the source of a module with another statement `number`."""
    body = [*tree.body[:number], new, *tree.body[number + 1 :]]
    return what, ast.unparse(ast.Module(body=body, type_ignores=[]))


def _show(node: ast.AST) -> str:
    return ast.unparse(node).splitlines()[0][:90]


def _find_excluded(tree: ast.AST) -> set[int]:
    """Return the nodes that no result depends on.

    Annotations, decorators, what an exception says, whether zip looks at lengths, seeds.
    """
    excluded: set[int] = set()
    for node in ast.walk(tree):
        parts: list[ast.AST | None] = []
        if isinstance(node, ast.FunctionDef):
            parts += [node.returns, *node.decorator_list, *_find_default_seeds(node.args)]
        elif isinstance(node, ast.ClassDef):
            parts += node.decorator_list
        elif isinstance(node, ast.arg | ast.AnnAssign):
            parts.append(node.annotation)
        elif isinstance(node, ast.Raise | ast.JoinedStr):
            parts.append(node)
        elif isinstance(node, ast.keyword) and node.arg == "strict":
            parts.append(node.value)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("default_rng"):
            parts += node.args
        for part in parts:
            excluded |= {id(inner) for inner in ast.walk(part)} if part else set()
    return excluded


def _find_default_seeds(arguments: ast.arguments) -> list[ast.expr]:
    pairs = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    return [default for argument, default in pairs if argument.arg == "seed" and default]


def _change(node: ast.AST) -> bool:
    """Change a node in place, where it is of a kind that can be; say whether it was."""
    if isinstance(node, ast.Compare):
        node.ops[0] = _COMPARISONS[type(node.ops[0])]()
    elif isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in _OPERATORS:
        node.op = _OPERATORS[type(node.op)]()
    elif isinstance(node, ast.BoolOp):
        node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
    elif isinstance(node, ast.UnaryOp):
        node.op = ast.UAdd() if isinstance(node.op, ast.USub) else ast.USub()
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float):
        node.value = not node.value if isinstance(node.value, bool) else node.value + 1
    elif isinstance(node, ast.Name) and node.id in _NAMES:
        node.id = _NAMES[node.id]
    elif isinstance(node, ast.Attribute) and node.attr in _NAMES:
        node.attr = _NAMES[node.attr]
    elif isinstance(node, ast.If | ast.IfExp | ast.While):
        node.test = ast.UnaryOp(ast.Not(), node.test)
    else:
        return False
    return True


def _disarm(node: ast.AST) -> bool:
    """Have an assertion hold whatever it is about; say whether the node is one."""
    if not isinstance(node, ast.Assert):
        return False
    node.test, node.msg = ast.Constant(True), None
    return True


def is_noticed(module: str, source: str) -> bool:
    """Return whether the tests of a module fail with `source` in its place."""
    child = os.fork()
    if child == 0:
        _run_tests(module, source)
    return os.waitpid(child, 0)[1] != 0


def _run_tests(module: str, source: str) -> None:
    """Put the mutant in the module's place, run the tests and end this process."""
    import pytest

    resource.setrlimit(resource.RLIMIT_CPU, (_MOST_SECONDS, _MOST_SECONDS))
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    try:
        _install(find_source(module).with_suffix("").relative_to(ROOT), source)
        tests = f"tests/test_{Path(module).name}.py"
        flags = ["-x", "-q", "-m", "not slow", "-p", "no:cacheprovider", "-p", "no:xdist"]
        code = int(pytest.main([*flags, str(ROOT / tests)]))
    except BaseException:
        code = 1
    os._exit(code)


def find_source(module: str) -> Path:
    """Return the file of a module of the library, or of the tests where its name says so."""
    return (ROOT if module.startswith("tests/") else ROOT / "jaxgan") / f"{module}.py"


def _install(path: Path, source: str) -> None:
    """Make the import of the module at `path` give the mutant."""
    name = ".".join(path.parts)
    spec = importlib.util.spec_from_loader(name, loader=None)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    module.__file__ = str(ROOT / path.with_suffix(".py"))
    sys.modules[name] = module
    package, _, last = name.rpartition(".")
    setattr(importlib.import_module(package), last, module)
    exec(compile(source, f"mutant of {name}", "exec"), module.__dict__)


def _import_packages() -> list[ModuleType]:
    """Import what is slow to import and is not jaxgan; nothing here may start JAX's threads."""
    names = [*("jax", "flax.linen", "optax", "scipy.stats", "scipy.linalg", "sklearn.linear_model")]
    names += ["pytest", "PIL.Image", "matplotlib.figure", "orbax.checkpoint", "tqdm"]
    return [importlib.import_module(name) for name in names]


def main() -> None:
    """Make the mutants, test them and print what survived."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--modules", nargs="*", default=list(MODULES))
    parser.add_argument("--most", type=int, default=0, help="of a module, drawn; 0: all")
    args = parser.parse_args()
    os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count=2 {FAST_COMPILATION}"
    _import_packages()
    totals = [0, 0]
    for module in args.modules:
        source = find_source(module).read_text()
        assert not is_noticed(module, source), f"the tests of {module} fail without a change"
        is_helper = module.startswith("tests/")
        mutants = list_helper_mutants(source) if is_helper else list_mutants(source)
        if args.most:
            mutants = random.Random(0).sample(mutants, min(args.most, len(mutants)))
        survived = [what for what, changed in mutants if not is_noticed(module, changed)]
        print(f"{module}: {len(mutants) - len(survived)} of {len(mutants)} noticed", flush=True)
        for what in survived:
            print(f"    {what}", flush=True)
        totals = [totals[0] + len(mutants) - len(survived), totals[1] + len(mutants)]
    print(f"in all: {totals[0]} of {totals[1]} noticed, {totals[0] / totals[1]:.1%}")


if __name__ == "__main__":
    main()
