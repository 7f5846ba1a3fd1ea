"""GMD: parameter counts, sizes, padding."""

import jax
import jax.numpy as jnp
import pytest

from jaxgan.classifiers.gmd import Gmd


def count_parameters(model, size, channels=3):
    variables = jax.eval_shape(
        lambda: model.init(jax.random.key(0), jnp.zeros((1, size, size, channels)))
    )
    return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))


def test_parameter_counts_of_the_paper():
    assert count_parameters(Gmd(), 150) == 4_033_252
    assert count_parameters(Gmd(padding="SAME"), 150) == 4_929_252


@pytest.mark.parametrize(("size", "channels"), [(24, 1), (33, 3), (64, 1)])
def test_any_size_and_channels(size, channels):
    model = Gmd(num_outputs=3, width=8)
    images = jnp.ones((2, size, size, channels))
    variables = model.init(jax.random.key(0), images)
    assert model.apply(variables, images).shape == (2, 3)
