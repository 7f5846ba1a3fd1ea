"""Run training steps on one device or several.

A step is written for one device's part of the batch. It takes the name of the mapped axis. With one
device, that name is None and the step is compiled with jit. With several, the step runs under
`jax.pmap` over the axis 'device', with the state replicated. The devices may belong to several
processes (see `jaxgan.devices.distributed`). Each process holds the data of its own devices. Many
steps run in one dispatch.
"""

import functools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

import flax.jax_utils
import jax
import jax.numpy as jnp

from jaxgan.core.errors import UserError
from jaxgan.core.types import Array, Batch, Key, Metrics

AXIS = "device"

State = TypeVar("State")
Tree = TypeVar("Tree")
StepFn = Callable[[Any, Batch, Key], tuple[Any, Metrics]]


class Feed(Protocol):
    """Where the batches of a dispatch come from (see `jaxgan.training.feed`)."""

    def load(self, begin: int, end: int) -> Any:
        """Return what steps `begin` to `end` need; with several devices, stacked, one part each.

        With several processes, each loads only the parts of its own devices.
        """

    def prepare(self, data: Any) -> Any:
        """Compute what `gather` reads, on the device and once per dispatch."""

    def gather(self, prepared: Any, offset: Array, axis_name: str | None) -> Batch:
        """Return this device's part of the batch of step `begin + offset`."""


def choose_devices(num_devices: int = 0) -> list[jax.Device]:
    """Return each process's first `num_devices` devices of JAX's default backend, all for 0."""
    processes: dict[int, list[jax.Device]] = {}
    for device in jax.devices():
        processes.setdefault(device.process_index, []).append(device)
    counts = [len(devices) for devices in processes.values()]
    fewest, platform = min(counts), jax.devices()[0].platform
    if num_devices < 0 or num_devices > fewest:
        raise UserError(
            f"{num_devices} devices were requested, but JAX sees {fewest} ({platform}): "
            f"give --num_devices a number from 1 to {fewest}, or 0 for all."
        )
    if not num_devices and fewest < max(counts):
        raise UserError(
            f"The processes of this run see {counts} devices ({platform}): expected the same "
            f"number on each. --num_devices={fewest} uses this number on every process."
        )
    return [d for _, devices in sorted(processes.items()) for d in devices[: num_devices or fewest]]


def find_own_parts(devices: Sequence[jax.Device]) -> list[int]:
    """Return the indices of the batch's parts, one per device, that belong to this process."""
    return [i for i, d in enumerate(devices) if d.process_index == jax.process_index()]


def check_batch_size(batch_size: int, num_devices: int) -> None:
    """Raise `UserError` if a batch can not be cut into equal parts."""
    if batch_size % num_devices:
        raise UserError(
            f"A batch of {batch_size} can not be divided into {num_devices} equal parts, one per "
            "device: "
            f"make config.batch_size a multiple of {num_devices}, or choose another --num_devices."
        )


def replicate(tree: Tree, devices: Sequence[jax.Device]) -> Tree:
    """Place a tree on one device, or copies on all of this process's devices along a new axis 0."""
    if len(devices) == 1:
        # Do not name the default device: JAX compiles another program for arrays that are bound
        # to a device, so it would compile again for arrays from a checkpoint.
        is_default = devices[0] == jax.local_devices()[0]
        return jax.device_put(tree, None if is_default else devices[0])
    # Use the name of pmap's own axis: with any other name its program would be compiled twice.
    own = [devices[i] for i in find_own_parts(devices)]
    return flax.jax_utils.replicate(tree, own, axis_name=AXIS)


@jax.jit
def _copy(tree: Tree) -> Tree:
    return jax.tree.map(jnp.copy, tree)


def average(tree: Tree, axis_name: str | None) -> Tree:
    """Return the mean over devices; without an axis, the tree itself."""
    return tree if axis_name is None else jax.lax.pmean(tree, axis_name)


def take_part(array: Array, axis_name: str | None) -> Array:
    """Return this device's part, along axis 0, of an array that is complete on every device."""
    if axis_name is None:
        return array
    part = array.shape[0] // jax.lax.axis_size(axis_name)
    start = jax.lax.axis_index(axis_name) * part
    return jax.lax.dynamic_slice_in_dim(array, start, part)


def compute_whole_batch_size(local_batch_size: int, axis_name: str | None) -> int:
    """Return the batch size over all devices."""
    return local_batch_size * (1 if axis_name is None else jax.lax.axis_size(axis_name))


class Dispatcher:
    """Run many steps in one call: `state, metrics = dispatcher(state, begin, end)`.

    Step `s` is `step_fn(state, batch of s, fold_in(key, s))`. The given state is donated. Metrics
    are arrays [max_steps, ...]; only their first `end - begin` rows count. The number of steps is
    an argument of the compiled program, so any number up to `max_steps` shares one compilation.
    `meanwhile` is called once, in a thread, while the first call is compiled and run.
    """

    def __init__(
        self,
        make_step: Callable[[str | None], StepFn],
        feed: Feed,
        key: Key,
        *,
        devices: Sequence[jax.Device],
        max_steps: int,
        meanwhile: Callable[[], None] | None = None,
    ):
        self._feed, self._key, self._devices = feed, key, list(devices)
        self.max_steps = max_steps
        self._make_step, self._meanwhile = make_step, meanwhile
        self._several = len(self._devices) > 1

    def to_devices(self, state: State) -> State:
        """Return a copy of the state on the devices, as `__call__` takes it."""
        # Copy it: the first dispatch donates it, and other code may still hold the original.
        return replicate(_copy(state), self._devices)

    def to_host(self, state: State) -> State:
        """Return one copy of the state, in the form that `to_devices` takes."""
        return flax.jax_utils.unreplicate(state) if self._several else state

    def __call__(self, state: State, begin: int, end: int) -> tuple[State, Metrics]:
        """Run steps `begin` to `end`, at most `max_steps` of them."""
        if not 0 < end - begin <= self.max_steps:
            raise ValueError(f"{end - begin} steps asked of a dispatch of 1 to {self.max_steps}")
        arguments = state, self._feed.load(begin, end), self._key, begin, end - begin
        meanwhile, self._meanwhile = self._meanwhile, None
        run = self._program if meanwhile is None else functools.partial(self._run_first, meanwhile)
        state, metrics = run(*arguments)
        return state, jax.tree.map(lambda m: m[0], metrics) if self._several else metrics

    def _run_first(self, meanwhile: Callable[[], None], *arguments: Any) -> tuple[Any, Metrics]:
        # Lower first: this is Python work, where two threads would block each other. XLA's
        # compilation leaves Python to the other thread.
        self._program.lower(*arguments)
        with ThreadPoolExecutor(1, thread_name_prefix="jaxgan-meanwhile") as thread:
            done = thread.submit(meanwhile)
            result = self._program(*arguments)
        done.result()
        return result

    @functools.cached_property
    def _program(self) -> Any:
        run = functools.partial(
            _run_steps, feed=self._feed, make_step=self._make_step, max_steps=self.max_steps
        )
        if not self._several:
            return jax.jit(functools.partial(run, axis_name=None), donate_argnums=0)
        return jax.pmap(
            functools.partial(run, axis_name=AXIS),
            axis_name=AXIS,
            in_axes=(0, 0, None, None, None),
            devices=self._devices,
            donate_argnums=0,
        )


def _run_steps(
    state: Any,
    data: Any,
    key: Key,
    begin: Array,
    num_steps: Array,
    *,
    feed: Feed,
    make_step: Callable[[str | None], StepFn],
    max_steps: int,
    axis_name: str | None,
) -> tuple[Any, Metrics]:
    prepared = feed.prepare(data)
    step_fn = make_step(axis_name)

    @functools.partial(jax.jit, inline=True)  # traced once, for the shapes and for the loop
    def run_one(offset: Array, state: Any) -> tuple[Any, Metrics]:
        batch = feed.gather(prepared, offset, axis_name)
        return step_fn(state, batch, jax.random.fold_in(key, begin + offset))

    def body(offset: Array, carry: tuple[Any, Metrics]) -> tuple[Any, Metrics]:
        state, rows = carry
        state, metrics = run_one(offset, state)
        return state, jax.tree.map(lambda row, m: row.at[offset].set(m), rows, metrics)

    shapes = jax.eval_shape(run_one, 0, state)[1]
    rows = jax.tree.map(lambda s: jnp.zeros((max_steps, *s.shape), s.dtype), shapes)
    return jax.lax.fori_loop(0, num_steps, body, (state, rows))
