"""How good a generator is while it trains, and which moment of a run was the best.

The kernel distance from a few hundred generated images to the class's *training* images, in the
features of a pixel pyramid: no network, no held-out image. Held-out images are for judging what
was chosen, so they must not choose. The images are those of the same latents every time, which
makes two moments comparable.

A run is said to have **collapsed** where its last generator's images vary less than a tenth as much
as real ones (the sum of the features' variances), or are more than twice as far from the real ones
as at the best moment, by more than real images are from one another by chance.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxgan import gan
from jaxgan.metrics.kernel_distance import create_kernel_comparison
from jaxgan.metrics.measure import LEVEL
from jaxgan.metrics.pyramid import fit_pyramid_features
from jaxgan.pixels import scale_to_bytes
from jaxgan.types import Array, Key, Params

METRIC = "kernel_distance"
NUM_IMAGES = 256
MAX_REAL = 1000  # training images compared with
LEAST_VARIANCE = 0.1
_FIRST_SEED = 2_000_000_000  # of latents that no image of a run is made from
_NUM_DIVISIONS = 100


class QualityMeter:
    """Measure a generator against the real images uint8 [num, h, w, c] of its class."""

    def __init__(
        self, images: np.ndarray, generator: nn.Module, *, key: Key, latent_size: int, batch: int
    ):
        images = images[np.random.default_rng(0).permutation(len(images))[:MAX_REAL]]
        self._features = fit_pyramid_features(images)
        self._real = self._features(images)
        self._batch = batch
        self._latents = functools.partial(gan.draw_latents, key, latent_size=latent_size)
        self._generate = jax.jit(functools.partial(_generate, generator=generator))

    def measure(self, variables: Params) -> dict[str, float]:
        """Return `kernel_distance` and `variance_ratio` of the generator with these variables."""
        starts = range(_FIRST_SEED, _FIRST_SEED + NUM_IMAGES, self._batch)
        parts = [
            np.asarray(self._generate(variables, self._latents(jnp.arange(self._batch) + start)))
            for start in starts
        ]
        made = self._features(np.concatenate(parts)[:NUM_IMAGES])
        compare = create_kernel_comparison(np.concatenate([made, self._real]))
        everything = np.arange(len(made) + len(self._real))
        distance = compare(everything[: len(made)], everything[len(made) :])["kernel_distance"]
        ratio = float(made.var(axis=0).sum() / max(self._real.var(axis=0).sum(), 1e-12))
        return {METRIC: distance, "variance_ratio": ratio}

    def compute_floor(self) -> float:
        """Return what 19 of 20 halves of the real images stay within, one against the other."""
        rng, num = np.random.default_rng(0), len(self._real)
        if num < 4:
            return 0.0
        compare = create_kernel_comparison(self._real)
        orders = (rng.permutation(num) for _ in range(_NUM_DIVISIONS))
        values = [compare(o[: num // 2], o[num // 2 :])["kernel_distance"] for o in orders]
        return float(np.quantile(values, LEVEL))


def _generate(variables: Params, latents: Array, *, generator: nn.Module) -> Array:
    images: Any = generator.apply(variables, latents, train=False)
    return scale_to_bytes(images)


def summarise(
    records: Sequence[Mapping[str, Any]], *, floor: float, selected_epoch: int
) -> dict[str, Any] | None:
    """Return the best and the last measured moment of a run, and its collapse; None unmeasured.

    `records` are the lines of `metrics.jsonl`; `collapse` is a sentence, or None.
    """
    measured = [record for record in records if METRIC in record]
    if not measured:
        return None
    moments = [
        {name: record[name] for name in ("epoch", METRIC, "variance_ratio")} for record in measured
    ]
    best, last = min(moments, key=lambda moment: moment[METRIC]), moments[-1]
    return {
        "features": "pixel pyramid",
        "floor": floor,
        "best": best,
        "last": last,
        "selected_epoch": selected_epoch,
        "collapse": _describe_collapse(best, last, floor),
    }


def _describe_collapse(
    best: Mapping[str, float], last: Mapping[str, float], floor: float
) -> str | None:
    if last["variance_ratio"] < LEAST_VARIANCE:
        return (
            f"The run has collapsed, or has hardly begun: at epoch {last['epoch']} the generated "
            f"images vary {last['variance_ratio']:.1%} as much as the real ones."
        )
    if last[METRIC] > 2 * max(best[METRIC], 0.0) and last[METRIC] > best[METRIC] + floor:
        return (
            f"The run has collapsed: its images' distance to the real ones is {last[METRIC]:.3g} "
            f"at epoch {last['epoch']} and was {best[METRIC]:.3g} at epoch {best['epoch']}."
        )
    return None
