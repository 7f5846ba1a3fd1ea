"""What training changes in a network: how it begins, one step of it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgan.classifiers.gmd import Gmd
from jaxgan.networks.state import NetworkState, apply_gradients, create_network_state
from tests.helpers import compute_difference
from tests.toy_classifier import Toy

IMAGES = jax.ShapeDtypeStruct((1, 24, 24, 1), jnp.float32)


@pytest.mark.parametrize("network", [Gmd(num_outputs=2, width=8), Toy(num_outputs=2, rate=0.5)])
def test_it_begins_as_linen_would_have_it_begin(network):
    """Parameters that only training uses are among them; no input has made any statistic."""
    state = create_network_state(jax.random.key(5), network, optax.adam(1.0), IMAGES)
    init = jax.jit(lambda key: network.init(key, jnp.zeros(IMAGES.shape), train=False))
    variables = {"batch_stats": {}, **init(jax.random.key(5))}
    assert compute_difference(state.variables, variables) == 0.0
    assert compute_difference(state.opt_state, optax.adam(1.0).init(state.params)) == 0.0


def test_a_step_takes_the_new_statistics_and_counts():
    optimizer = optax.sgd(0.5, momentum=0.5)
    params = {"w": jnp.array([1.0, 2.0])}
    state = NetworkState(params, {"mean": jnp.float32(0)}, optimizer.init(params))
    for mean, expected in ((1.0, [0.0, 2.0]), (2.0, [-1.5, 2.0])):
        stats = {"mean": jnp.float32(mean)}
        state = apply_gradients(state, {"w": jnp.array([2.0, 0.0])}, stats, optimizer)
        np.testing.assert_allclose(state.params["w"], expected)
        assert float(state.batch_stats["mean"]) == mean


def test_a_step_descends_the_mean_gradient_of_all_devices():
    optimizer = optax.sgd(1.0)
    state = NetworkState({"w": jnp.zeros(1)}, {}, optimizer.init({"w": jnp.zeros(1)}))
    new = jax.pmap(
        lambda g: apply_gradients(state, {"w": g}, {}, optimizer, "device").params["w"],
        axis_name="device",
    )(jnp.array([[1.0], [3.0]]))
    np.testing.assert_array_equal(new, [[-2.0], [-2.0]])
