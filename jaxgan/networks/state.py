"""The parts of a network that training changes, for a GAN or a classifier, and their update."""

import functools
from typing import Any, TypeVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax import struct

from jaxgan.core.types import Key, Params
from jaxgan.devices.parallel import average


class NetworkState(struct.PyTreeNode):
    """The parts of one network that training changes; `batch_stats` may be empty."""

    params: Params
    batch_stats: Params
    opt_state: optax.OptState

    @property
    def variables(self) -> Params:
        """The network's variables, as linen's `apply` takes them."""
        return {"params": self.params, "batch_stats": self.batch_stats}


Network = TypeVar("Network", bound=NetworkState)


def create_network_state(
    key: Key,
    network: nn.Module,
    optimizer: optax.GradientTransformation,
    *inputs: Any,
) -> NetworkState:
    """Draw the parameters of a network that takes these inputs and `train`.

    An input is a `jax.ShapeDtypeStruct` or a tuple of them.
    """
    # Lazily: only the parameters are computed, one by one (`layers.normal`). Without `train`, batch
    # norm would also compute with its first statistics. Without `disable_jit`, JAX would compile
    # the part of each jitted function that needs no input, although it is empty.
    with jax.disable_jit():
        params = network.lazy_init(key, *inputs, train=True)["params"]
    statistics = _create_statistics(key, network=network, inputs=inputs)
    return NetworkState(params, statistics, _init(params, optimizer=optimizer))


@functools.partial(jax.jit, static_argnames=("network", "inputs"))
def _create_statistics(key: Key, *, network: nn.Module, inputs: tuple[Any, ...]) -> Params:
    examples = jax.tree.map(lambda example: jnp.zeros(example.shape, example.dtype), inputs)
    return network.init(key, *examples, train=False).get("batch_stats", {})


@functools.partial(jax.jit, static_argnames="optimizer")
def _init(params: Params, *, optimizer: optax.GradientTransformation) -> optax.OptState:
    return optimizer.init(params)


def apply_gradients(
    state: Network,
    gradients: Params,
    batch_stats: Params,
    optimizer: optax.GradientTransformation,
    axis_name: str | None = None,
) -> Network:
    """Take one step of the optimizer with the mean gradients over devices."""
    gradients = average(gradients, axis_name)
    updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    return state.replace(params=params, batch_stats=batch_stats, opt_state=opt_state)
