"""One training step on the accelerator beside the same step in float64 on the CPU.

Both begin with the same numbers, see the same images and draw the same latents. Compared are the
losses, and the gradient of each network: how long the difference of two gradients is beside the
gradient itself. An activation within rounding of a ReLU's kink gives its unit's gradient here and
does not there, so that a few thousandths are no mistake; a wrong sum is a difference near 1.
"""

import functools
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxgan.benchmark import ours
from jaxgan.classifiers.gmd import Gmd
from jaxgan.classifiers.protocol import Classifier, InputForm
from jaxgan.classifiers.step import create_classifier_state, train_step
from jaxgan.core.types import Batch
from jaxgan.devices.parallel import AXIS, replicate
from jaxgan.networks.layers import DTYPES
from jaxgan.networks.state import NetworkState

# The momentum of the first step is the gradient itself.
_OPTIMIZER = optax.sgd(1e-3, momentum=0.9)

# Of losses and of gradients. Without `highest`, a GPU multiplies float32 with the 11 bits of TF32;
# bfloat16 has 8. Beside them float32 has 24.
BOUNDS = {"float32": (1e-2, 0.2), "float32 highest": (1e-3, 0.05), "bfloat16": (5e-2, 0.5)}


class Step(NamedTuple):
    """A training step of one kind: what takes it, its first state, its batch.

    `create` takes the name of the mapped axis; `get_networks` are what it trains, of a state.
    """

    create: Callable[[str | None], Callable[..., Any]]
    state: Any
    batch: Batch
    get_networks: Callable[[Any], tuple[NetworkState, ...]]


class Result(NamedTuple):
    """What a step has left: its losses, and each network's gradient as one vector."""

    losses: np.ndarray
    gradients: tuple[np.ndarray, ...]


def make_dcgan_step(small: bool, dtype: str) -> Step:
    """The paper's DCGAN, or a tiny one, with plain gradient descent."""
    gan = ours.create_dcgan(4 if small else 64, image_size=32 if small else 64, dtype=dtype)

    def create(axis_name: str | None) -> Callable[..., Any]:
        step: Any = gan.stages[0].create_step(axis_name, 0)
        names = "generator", "discriminator"
        players = {name: step.keywords[name]._replace(optimizer=_OPTIMIZER) for name in names}
        return functools.partial(step.func, **{**step.keywords, **players})

    state = gan.create_state(jax.random.key(0))
    networks = {name: _rest(getattr(state, name)) for name in ("generator", "discriminator")}
    batch = ours.draw_batch(8 if small else 16, 32 if small else 64)
    return Step(
        create, state.replace(**networks), batch, lambda new: (new.generator, new.discriminator)
    )


def _rest(network: NetworkState) -> NetworkState:
    """The network before its first step by `_OPTIMIZER`."""
    return network.replace(opt_state=_OPTIMIZER.init(network.params))


def make_gmd_step(small: bool, dtype: str) -> Step:
    """The paper's GMD, or a tiny one."""
    size, width, batch_size = (24, 8, 8) if small else (150, 256, 4)
    model = Gmd(width=width, dtype=DTYPES[dtype])
    classifier = Classifier(lambda axis_name: model, InputForm(size, channels=3))
    bound = {"classifier": classifier, "optimizer": _OPTIMIZER}
    return Step(
        lambda axis_name: functools.partial(train_step, **bound, axis_name=axis_name),
        create_classifier_state(jax.random.key(0), **bound),
        ours.draw_batch(batch_size, size),
        lambda state: (state,),
    )


KINDS = {"DCGAN": make_dcgan_step, "GMD": make_gmd_step}


def take_step(step: Step, devices: list[Any]) -> Result:
    """Take one step, its batch shared by the devices."""
    key = jax.random.key(1)
    with _drawing_float32():
        if len(devices) == 1:
            placed = jax.device_put((step.state, step.batch, key), devices[0])
            state, metrics = jax.jit(step.create(None))(*placed)
        else:
            parts = jax.tree.map(lambda x: x.reshape(len(devices), -1, *x.shape[1:]), step.batch)
            run = jax.pmap(step.create(AXIS), AXIS, in_axes=(0, 0, None), devices=devices)
            state, metrics = run(replicate(step.state, devices), parts, key)
            state, metrics = jax.tree.map(lambda leaf: leaf[0], (state, metrics))
    losses = [float(value) for name, value in metrics.items() if name.startswith("loss")]
    return Result(np.array(losses), tuple(map(_flatten_gradient, step.get_networks(state))))


def _flatten_gradient(network: NetworkState) -> np.ndarray:
    trace: Any = network.opt_state
    leaves = [np.asarray(leaf, np.float64).ravel() for leaf in jax.tree.leaves(trace[0].trace)]
    return np.concatenate(leaves)


def _drawing_float32() -> Any:
    """Draw latents in float32 wherever arrays are float64: those would be other numbers."""
    normal = jax.random.normal
    return mock.patch.object(
        jax.random, "normal", lambda key, shape, dtype=None: normal(key, shape, jnp.float32)
    )


def take_reference_step(kind: str, small: bool) -> Result:
    """Take the step in float64 on the CPU."""
    step, cpu = KINDS[kind](small, "float32"), jax.devices("cpu")[0]
    with jax.enable_x64(True), jax.default_device(cpu):
        wide = jax.tree.map(_widen, jax.device_put(step.state, cpu))
        return take_step(step._replace(state=wide), [cpu])


def _widen(leaf: Any) -> Any:
    return leaf.astype(jnp.float64) if leaf.dtype == jnp.float32 else leaf


def compare(one: Result, other: Result) -> tuple[float, float]:
    """Return the largest relative difference of a loss, and of a network's gradient."""
    losses = np.abs(one.losses - other.losses) / np.maximum(np.abs(other.losses), 1e-9)
    gradients = [
        np.linalg.norm(a - b) / np.linalg.norm(b)
        for a, b in zip(one.gradients, other.gradients, strict=True)
    ]
    return float(losses.max()), float(max(gradients))


class Check(NamedTuple):
    """One line of the table: a step in this form, on so many devices, beside another's result."""

    kind: str
    form: str
    num_devices: int

    @property
    def name(self) -> str:
        """How the table says it."""
        beside = "float32" if self.form == "bfloat16" else "float64 on the CPU"
        where = "1 device" if self.num_devices == 1 else f"{self.num_devices} devices"
        return f"{self.kind} step, {self.form} on {where}, beside {beside}"


def list_checks(num_devices: int) -> list[Check]:
    """Return what is compared: what says most comes first."""
    counts = sorted({1, num_devices})
    forms = [("float32", num) for num in counts] + [("bfloat16", 1)]
    if jax.default_backend() != "cpu":  # which has no shorter numbers to multiply with
        forms += [("float32 highest", 1)]
    return [Check(kind, form, num) for form, num in forms for kind in KINDS]


def measure(check: Check, small: bool, results: dict[tuple[str, str], Result]) -> dict[str, Any]:
    """Return a line of the table; `results` are those of the steps that were taken before."""
    dtype, _, precision = check.form.partition(" ")
    wanted = "float32" if dtype == "bfloat16" else "float64"
    if (check.kind, "float64") not in results:
        results[check.kind, "float64"] = take_reference_step(check.kind, small)
    with jax.default_matmul_precision(precision or None):
        step, devices = KINDS[check.kind](small, dtype), jax.devices()[: check.num_devices]
        result = take_step(step, devices)
    results.setdefault((check.kind, check.form), result)
    found = compare(result, results[check.kind, wanted])
    bounds = BOUNDS[check.form]
    passed = all(value <= bound for value, bound in zip(found, bounds, strict=True))
    names = "losses", "gradients"
    return {
        "name": check.name,
        "difference": dict(zip(names, found, strict=True)),
        "bound": dict(zip(names, bounds, strict=True)),
        "passed": passed,
    }


def find_num_devices(batch_size: int) -> int:
    """Return how many devices can share a batch in equal parts: all, if so many divide it."""
    num = len(jax.devices())
    return num if batch_size % num == 0 else 1


def run(file: Path, small: bool) -> Iterator[None]:
    """Write the names of all checks to `file`, then a line as each is done."""
    checks = list_checks(find_num_devices(8 if small else 4))
    results: dict[tuple[str, str], Result] = {}
    with file.open("w") as lines:
        print(json.dumps([check.name for check in checks]), file=lines, flush=True)
        for check in checks:
            print(json.dumps(measure(check, small, results)), file=lines, flush=True)
            yield


if __name__ == "__main__":
    for _ in run(Path(sys.argv[1]), small="--small" in sys.argv):
        pass
