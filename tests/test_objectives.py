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


def test_the_soft_hinge_is_the_mean_over_its_margins():
    """FastGAN's code: max(0, margin - x), with the margin from 0.8 to 1."""
    x = np.array([-3.0, 0.5, 0.8, 0.85, 0.9, 0.99, 1.0, 4.0])
    margins = np.linspace(0.8, 1.0, 20001)[:, None]
    expected = np.maximum(margins - x, 0).mean(axis=0)
    real, fake = objectives.soft_hinge_discriminator_loss(
        real_logits=jnp.array(x), fake_logits=jnp.array(-x)
    )
    np.testing.assert_allclose(real, expected, atol=1e-5)
    np.testing.assert_allclose(fake, expected, atol=1e-5)
    slope = jax.grad(lambda x: jnp.sum(objectives._soften(x)))(jnp.array([0.0, 0.85, 0.95, 2.0]))
    np.testing.assert_allclose(slope, [-1.0, -0.75, -0.25, 0.0], atol=1e-6)


# Three pairs: D prefers the real one, the fake one, and neither.
REAL, FAKE = np.array([2.0, -1.0, 0.5]), np.array([-1.0, 0.7, 0.5])
PREFERENCE = 1.0 / (1.0 + np.exp(FAKE - REAL))  # of the real one of each pair


def relativistic_d(real, fake):
    return sum(objectives.relativistic_discriminator_loss(real_logits=real, fake_logits=fake))


def relativistic_g(real, fake):
    return objectives.relativistic_generator_loss(real_logits=real, fake_logits=fake)


def test_the_relativistic_losses_are_those_of_pairs():
    real, fake = jnp.array(REAL), jnp.array(FAKE)
    halves = objectives.relativistic_discriminator_loss(real_logits=real, fake_logits=fake)
    for half in halves:
        np.testing.assert_allclose(half, -0.5 * np.log(PREFERENCE), rtol=1e-5)
    np.testing.assert_allclose(relativistic_g(real, fake), -np.log(1 - PREFERENCE), rtol=1e-5)
    # Only the difference counts, and with real and fake swapped one player's loss is the other's.
    np.testing.assert_allclose(relativistic_d(real + 3.0, fake + 3.0), relativistic_d(real, fake))
    np.testing.assert_array_equal(relativistic_g(real, fake), relativistic_d(fake, real))


def test_the_relativistic_gradients_vanish_where_a_player_wins():
    """One player's gradient by an image is the chance that it loses the pair."""
    real, fake = jnp.array(REAL), jnp.array(FAKE)
    for loss, chance, sign in (
        (relativistic_d, 1 - PREFERENCE, -1.0),
        (relativistic_g, PREFERENCE, 1.0),
    ):
        slopes = jax.grad(lambda r, f, loss=loss: jnp.sum(loss(r, f)), argnums=(0, 1))(real, fake)
        np.testing.assert_allclose(slopes[0], sign * chance, rtol=1e-5)
        np.testing.assert_allclose(slopes[1], -sign * chance, rtol=1e-5)


@pytest.mark.parametrize("name", objectives.OBJECTIVES)
def test_every_objective_is_finite_where_d_is_certain(name):
    objective = objectives.OBJECTIVES[name]
    assert objective.is_relativistic is (name == "relativistic")

    def total(x):
        # The same image in a pair would hide that D is certain.
        both = {"real_logits": x, "fake_logits": x[::-1] if objective.is_relativistic else x}
        real, fake = objective.discriminator_loss(**both)
        taken = both if objective.is_relativistic else {"fake_logits": x}
        return jnp.sum(real + fake + objective.generator_loss(**taken))

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
