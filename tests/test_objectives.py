"""Losses against their closed forms, and at logits where a sigmoid is 0 or 1 in float32."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.gans import objectives

LOGITS = np.array([-3.0, -0.5, 0.0, 0.7, 4.0])
D = 1.0 / (1.0 + np.exp(-LOGITS))
EXTREME = jnp.array([-100.0, 100.0])


def test_discriminator_loss_is_the_listings_bce():
    real, fake = objectives.discriminator_loss(
        real_logits=jnp.array(LOGITS), fake_logits=jnp.array(LOGITS)
    )
    np.testing.assert_allclose(real, -np.log(D), rtol=1e-5)
    np.testing.assert_allclose(fake, -np.log(1 - D), rtol=1e-5)


def test_generator_losses_are_the_listings_and_equation_3():
    logits = jnp.array(LOGITS)
    non_saturating = objectives.non_saturating_generator_loss(fake_logits=logits)
    saturating = objectives.saturating_generator_loss(fake_logits=logits)
    np.testing.assert_allclose(non_saturating, -np.log(D), rtol=1e-5)
    np.testing.assert_allclose(saturating, np.log(1 - D), rtol=1e-5)


def test_where_d_wins_only_the_non_saturating_loss_has_a_gradient():
    def slope(loss):
        return float(jax.grad(lambda x: loss(fake_logits=x))(jnp.float32(-30.0)))

    assert slope(objectives.non_saturating_generator_loss) == pytest.approx(-1.0)
    assert abs(slope(objectives.saturating_generator_loss)) < 1e-12


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (lambda x: objectives.discriminator_loss(real_logits=x, fake_logits=x)[0], [100.0, 0.0]),
        (lambda x: objectives.discriminator_loss(real_logits=x, fake_logits=x)[1], [0.0, 100.0]),
        (lambda x: objectives.non_saturating_generator_loss(fake_logits=x), [100.0, 0.0]),
        (lambda x: objectives.saturating_generator_loss(fake_logits=x), [0.0, -100.0]),
    ],
)
def test_extreme_logits_stay_finite(loss, expected):
    np.testing.assert_allclose(loss(EXTREME), expected, atol=1e-6)
    assert np.isfinite(jax.grad(lambda x: jnp.sum(loss(x)))(EXTREME)).all()


def test_the_other_objectives_are_their_closed_forms():
    x = jnp.array(LOGITS)
    both = {"real_logits": x, "fake_logits": x}
    expected = {
        objectives.least_squares_discriminator_loss: ((LOGITS - 1) ** 2 / 2, LOGITS**2 / 2),
        objectives.hinge_discriminator_loss: (np.maximum(1 - LOGITS, 0), np.maximum(1 + LOGITS, 0)),
        objectives.wasserstein_discriminator_loss: (-LOGITS, LOGITS),
    }
    for loss, halves in expected.items():
        np.testing.assert_allclose(loss(**both), halves, rtol=1e-6)
    np.testing.assert_allclose(objectives.wasserstein_generator_loss(fake_logits=x), -LOGITS)
    np.testing.assert_allclose(
        objectives.least_squares_generator_loss(fake_logits=x), (LOGITS - 1) ** 2 / 2, rtol=1e-6
    )
    real, fake = objectives.smooth_discriminator_loss(**both, smoothing=0.1)
    np.testing.assert_allclose(real, -0.9 * np.log(D) - 0.1 * np.log(1 - D), rtol=1e-5)
    np.testing.assert_allclose(fake, -np.log(1 - D), rtol=1e-5)


@pytest.mark.parametrize("name", objectives.OBJECTIVES)
def test_every_objective_is_finite_where_d_is_certain(name):
    objective = objectives.OBJECTIVES[name]

    def total(x):
        real, fake = objective.discriminator_loss(real_logits=x, fake_logits=x)
        return jnp.sum(real + fake + objective.generator_loss(fake_logits=x))

    value, gradient = jax.value_and_grad(total)(EXTREME)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("name", objectives.OBJECTIVES)
def test_a_score_and_its_name_say_whether_it_is_a_probability(name):
    objective, logits = objectives.OBJECTIVES[name], jnp.array([-100.0, -1.0, 0.0, 100.0])
    if name in ("non_saturating", "saturating"):
        expected = [0.0, 1 / (1 + np.e), 0.5, 1.0]
        assert objective.score_name == "d"
        assert objective.meaning == "0.5: as likely real as not"
    else:
        expected = logits
        assert objective.score_name == "d_score"
        assert objective.meaning.startswith(f"{name.replace('_', ' ')}: ")
    np.testing.assert_allclose(objective.score(logits), expected, rtol=1e-6)
    assert (name in objectives.CROSS_ENTROPY_OBJECTIVES) is objective.is_probability
