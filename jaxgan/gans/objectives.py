"""Per-example losses on logits: finite and with a finite gradient everywhere.

Logits are float [batch], one for each image, without limits. Losses are float [batch]; the step
takes their mean. D's loss has two parts: one of the real and one of the fake images.

With D(x) = sigmoid(logit), log D = -softplus(-logit) and log(1 - D) = -softplus(logit). The losses
after those of the paper use the output of D's last layer without a sigmoid.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxgan.core.types import Array


def discriminator_loss(*, real_logits: Array, fake_logits: Array) -> tuple[Array, Array]:
    """Return the binary cross-entropy of real images as 1 and fake ones as 0, each [batch].

    Their sum is the negative of eq. 2; the listing in section 4.1 calls them errD_real, errD_fake.
    """
    return jax.nn.softplus(-real_logits), jax.nn.softplus(fake_logits)


def non_saturating_generator_loss(*, fake_logits: Array) -> Array:
    """Return -log D(G(z)) [batch]: what the listing in section 4.1 minimises (errG)."""
    return jax.nn.softplus(-fake_logits)


def saturating_generator_loss(*, fake_logits: Array) -> Array:
    """Return log(1 - D(G(z))) [batch], eq. 3: its gradient vanishes where D wins."""
    return -jax.nn.softplus(fake_logits)


def smooth_discriminator_loss(
    *, real_logits: Array, fake_logits: Array, smoothing: float
) -> tuple[Array, Array]:
    """Return `discriminator_loss` with real images as 1 - smoothing, each [batch].

    One-sided, as Salimans et al. 2016, section 3.4: fake images stay 0.
    """
    real_loss, fake_loss = discriminator_loss(real_logits=real_logits, fake_logits=fake_logits)
    return real_loss + smoothing * real_logits, fake_loss


def least_squares_discriminator_loss(
    *, real_logits: Array, fake_logits: Array
) -> tuple[Array, Array]:
    """Return half the squared distances to 1 and to 0, each [batch] (Mao et al. 2017, eq. 9)."""
    return 0.5 * (real_logits - 1.0) ** 2, 0.5 * fake_logits**2


def least_squares_generator_loss(*, fake_logits: Array) -> Array:
    """Return half the squared distance to 1 [batch] (Mao et al. 2017, eq. 9)."""
    return 0.5 * (fake_logits - 1.0) ** 2


def hinge_discriminator_loss(*, real_logits: Array, fake_logits: Array) -> tuple[Array, Array]:
    """Return the distances below 1 and above -1, each [batch] (Miyato et al. 2018, eq. 16)."""
    return jax.nn.relu(1.0 - real_logits), jax.nn.relu(1.0 + fake_logits)


_LEAST_MARGIN = 0.8  # of the soft hinge; the greatest is 1


def soft_hinge_discriminator_loss(*, real_logits: Array, fake_logits: Array) -> tuple[Array, Array]:
    """Return the mean hinge loss over margins from 0.8 to 1, each [batch].

    FastGAN's code draws a margin for each logit (Liu et al. 2021). The mean over all margins has
    the gradient that theirs has on average, and needs no random numbers.
    """
    return _soften(real_logits), _soften(-fake_logits)


def _soften(x: Array) -> Array:
    """Return the mean of max(margin - x, 0): a parabola from 0.8 to 1, a line below."""
    width = 1.0 - _LEAST_MARGIN
    within = jnp.clip(1.0 - x, 0.0, width)
    return within**2 / (2.0 * width) + jax.nn.relu(_LEAST_MARGIN - x)


def wasserstein_discriminator_loss(
    *, real_logits: Array, fake_logits: Array
) -> tuple[Array, Array]:
    """Return the two halves of the critic's loss, each [batch] (Arjovsky et al. 2017, alg. 1)."""
    return -real_logits, fake_logits


def wasserstein_generator_loss(*, fake_logits: Array) -> Array:
    """Return -D(G(z)) [batch]; the hinge objectives use it too."""
    return -fake_logits


def relativistic_discriminator_loss(
    *, real_logits: Array, fake_logits: Array
) -> tuple[Array, Array]:
    """Return half the loss of each pair, twice, each [batch] (Jolicoeur-Martineau 2019, RpGAN).

    Image i of the real ones and image i of the fake ones are a pair. Its loss is -log of the
    probability that the real one is the real one. It belongs to both images alike.
    """
    half = 0.5 * jax.nn.softplus(fake_logits - real_logits)
    return half, half


def relativistic_generator_loss(*, real_logits: Array, fake_logits: Array) -> Array:
    """Return D's loss of each pair [batch] with real and fake swapped (Huang et al. 2024)."""
    return jax.nn.softplus(real_logits - fake_logits)


class Objective(NamedTuple):
    """The losses of D and G, as functions of logits named as in this module.

    With the cross-entropy the sigmoid of D's logit is a probability. With any other loss it is not,
    and D's score is the raw logit. With `is_relativistic`, G's loss takes `real_logits` too.
    """

    discriminator_loss: Callable[..., tuple[Array, Array]]
    generator_loss: Callable[..., Array]
    is_probability: bool = False
    meaning: str = "0.5: as likely real as not"
    is_relativistic: bool = False

    def score(self, logits: Array) -> Array:
        """Return D's score of each image [batch]."""
        return jax.nn.sigmoid(logits) if self.is_probability else logits

    @property
    def score_name(self) -> str:
        """The prefix of the names of metrics of D's score."""
        return PROBABILITY if self.is_probability else RAW_SCORE


PROBABILITY, RAW_SCORE = "d", "d_score"


OBJECTIVES = {
    "non_saturating": Objective(discriminator_loss, non_saturating_generator_loss, True),
    "saturating": Objective(discriminator_loss, saturating_generator_loss, True),
    "least_squares": Objective(
        least_squares_discriminator_loss,
        least_squares_generator_loss,
        meaning="least squares: 1 means real, 0 generated",
    ),
    "hinge": Objective(
        hinge_discriminator_loss,
        wasserstein_generator_loss,
        meaning="hinge: above 0 means real",
    ),
    "soft_hinge": Objective(
        soft_hinge_discriminator_loss,
        wasserstein_generator_loss,
        meaning="soft hinge: above 0 means real",
    ),
    "wasserstein": Objective(
        wasserstein_discriminator_loss,
        wasserstein_generator_loss,
        meaning="wasserstein: higher means more real, and it has no zero of its own",
    ),
    "relativistic": Objective(
        relativistic_discriminator_loss,
        relativistic_generator_loss,
        meaning="relativistic: higher means more real, and only differences have a meaning",
        is_relativistic=True,
    ),
}
CROSS_ENTROPY_OBJECTIVES = tuple(name for name, o in OBJECTIVES.items() if o.is_probability)
# With these, D's logit is above 0 if D takes an image for a real one.
SIGNED_OBJECTIVES = (*CROSS_ENTROPY_OBJECTIVES, "hinge", "soft_hinge")
