"""Optimizers: what they do with a gradient, what they may be told."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.core.errors import UserError
from jaxgan.networks.optimizers import OptimizerSettings
from tests.helpers import make_gmd_settings


def take_steps(settings, num_steps):
    """The moves of a parameter whose gradient is 10 in every step."""
    optimizer, params = settings.create(), {"w": jnp.array([1.0, 2.0])}
    state, moves = optimizer.init(params), []
    for _ in range(num_steps):
        updates, state = optimizer.update({"w": jnp.array([10.0, -10.0])}, state, params)
        moves.append(np.asarray(updates["w"]))
    return np.stack(moves)


def test_the_paper_s_is_plain_gradient_descent():
    moves = take_steps(OptimizerSettings(name="sgd", learning_rate=1e-3, momentum=0.0), 3)
    np.testing.assert_allclose(moves, [[-0.01, 0.01]] * 3, rtol=1e-6)


def test_momentum_adds_what_was_moved_before():
    moves = take_steps(OptimizerSettings(name="sgd", learning_rate=1e-3, momentum=0.5), 3)
    np.testing.assert_allclose(moves[:, 0], [-0.01, -0.015, -0.0175], rtol=1e-6)


def test_adam_moves_by_its_rate_whatever_the_gradient():
    moves = take_steps(OptimizerSettings(name="adam", learning_rate=1e-3, momentum=0.0), 2)
    np.testing.assert_allclose(moves, [[-1e-3, 1e-3]] * 2, rtol=1e-4)


def test_equal_settings_give_one_optimizer():
    """What is compiled for it belongs to that very object."""
    rule = {"name": "adam", "learning_rate": 1e-3, "momentum": 0.0}
    assert OptimizerSettings(**rule).create() is OptimizerSettings(**rule).create()
    other = OptimizerSettings(**{**rule, "learning_rate": 2e-3})
    assert other.create() is not OptimizerSettings(**rule).create()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"optimizer": "lion"},
            "config.optimizer.name is 'lion', expected one of adam, sgd, adagrad",
        ),
        ({"learning_rate": 0.0}, "config.optimizer.learning_rate is 0.0, expected above 0"),
        ({"momentum": 1.0}, "config.optimizer.momentum is 1.0, expected 0 to below 1"),
    ],
)
def test_a_wrong_field_is_named(changes, sentence):
    with pytest.raises(UserError, match=sentence):
        make_gmd_settings(**changes)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("adam", "config.name is adam, which has its own moments"),
        ("rmsprop", "config.name is rmsprop, which has no momentum"),
        ("sgd", None),
    ],
)
def test_sgd_alone_has_use_for_a_momentum(name, reason):
    settings = OptimizerSettings(name=name, learning_rate=1e-3, momentum=0.5)
    assert settings.find_unused().get("momentum") == reason


# The first moves of a parameter whose gradient is 10 in every step, by hand.
ADAPTIVE = {
    "adagrad": [0.01 * 10 / (0.1 + 100 * n) ** 0.5 for n in (1, 2, 3)],
    "rmsprop": [0.01 / (1 - 0.9**n) ** 0.5 for n in (1, 2, 3)],
}


@pytest.mark.parametrize("name", ADAPTIVE)
def test_an_adaptive_rate_by_hand(name):
    moves = take_steps(OptimizerSettings(name=name, learning_rate=0.01, momentum=0.0), 3)
    np.testing.assert_allclose(-moves[:, 0], ADAPTIVE[name], rtol=1e-5)


def test_adadelta_forgets_with_0_95():
    """Its step is the root of the mean of squared moves over that of squared gradients."""
    moves = take_steps(OptimizerSettings(name="adadelta", learning_rate=1.0, momentum=0.0), 2)
    first = (1e-7 / (0.05 * 100 + 1e-7)) ** 0.5 * 10
    mean = 0.95 * 0.05 * 100 + 0.05 * 100
    second = ((0.05 * first**2 + 1e-7) / (mean + 1e-7)) ** 0.5 * 10
    np.testing.assert_allclose(-moves[:, 0], [first, second], rtol=1e-5)
