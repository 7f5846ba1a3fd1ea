"""Images from a generator, always in batches of one size, with the discriminator's scores."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.stages import Wrapped

from jaxgan.core.seeds import NUM_SEEDS, check_latents
from jaxgan.core.types import Array, Key, Params
from jaxgan.gans.protocol import Gan, Given, Networks
from jaxgan.ops.batches import map_batches
from jaxgan.ops.pixels import scale_to_bytes, scale_to_unit
from jaxgan.sampling.selection import accept_by_probability


@dataclass(frozen=True)
class Sampler:
    """Draw images of a generator, with and without D's scores.

    `gan` is the GAN, and all latents follow from `key`. The paper's scores use the statistics of
    the image's batch. So they depend on the batch size, which is that of training. A
    class-conditional generator draws images of class `label`. `truncation` below 1 cuts the latents
    (see `two_player.draw_truncated`), and needs a `gan` that can do so: see `check_truncation`.
    """

    gan: Gan[Any]
    key: Key
    batch_size: int
    label: int | None = None
    truncation: float = 1.0

    def draw(self, networks: Networks, first_seed: int, num: int) -> np.ndarray:
        """Return images uint8 [num, h, w, c] of the latents `first_seed`, `first_seed` + 1, ...

        Raises `UserError` if there are fewer latents (`jaxgan.core.seeds`).
        """
        check_latents(first_seed, num)
        parts = [np.asarray(pixels) for _, pixels in self._draw_batches(networks, first_seed, num)]
        return np.concatenate(parts)[:num]

    def draw_scored(self, networks: Networks, first_seed: int, num: int) -> "Samples":
        """Return the same images with D's scores: probabilities if D gives them."""
        check_latents(first_seed, num)
        pixels, scores = [], []
        for images, of_batch in self._draw_batches(networks, first_seed, num):
            pixels.append(np.asarray(of_batch))
            scores.append(np.asarray(self._score_batch(networks.critic, images, self._given)))
        seeds = np.arange(first_seed, first_seed + num)
        return Samples(np.concatenate(pixels)[:num], np.concatenate(scores)[:num], seeds)

    def score(self, networks: Networks, images: np.ndarray) -> np.ndarray:
        """Return D's scores [num] of uint8 images [num, h, w, c], of each image separately.

        They use D's running statistics. Unlike the paper's scores, they do not depend on the other
        images of the batch.
        """
        score = functools.partial(self._score_alone, networks.critic, given=self._given)
        return map_batches(score, images, self.batch_size)

    def compile_ahead(self, networks: Networks) -> None:
        """Compile the drawing of images with scores, for networks of these shapes."""
        seeds = jax.ShapeDtypeStruct((self.batch_size,), np.uint32)
        inputs = (networks.generator, self.key, seeds, self._given)
        generate = self._generate.lower(*inputs, self.truncation)
        generate.compile()
        self._score_batch.lower(networks.critic, generate.out_info[0], self._given).compile()

    def vary(self, **changes: Any) -> "Sampler":
        """Return one with another `key`, `label` or `truncation`; it shares compiled functions."""
        other = dataclasses.replace(self, **changes)
        shared = ("_generate", "_score_batch", "_score_alone")
        vars(other).update({name: getattr(self, name) for name in shared})
        return other

    def _draw_batches(self, networks: Networks, first_seed: int, num: int) -> Any:
        """Yield batches of images as input of D and as bytes; at least one, to have a shape."""
        for start in range(first_seed, first_seed + max(num, 1), self.batch_size):
            # The seeds that fill up the last batch may wrap around.
            seeds = (np.arange(self.batch_size) + start) % NUM_SEEDS
            inputs = (networks.generator, self.key, seeds.astype(np.uint32), self._given)
            yield self._generate(*inputs, self.truncation)

    @functools.cached_property
    def _given(self) -> Given:
        return Given() if self.label is None else Given(jnp.full(self.batch_size, self.label))

    @functools.cached_property
    def _generate(self) -> Wrapped:
        """One program from seeds to bytes: separate programs are slow for a small batch."""

        def generate(
            variables: Params, key: Key, seeds: Array, given: Given, truncation: float
        ) -> tuple[Array, Array]:
            images = self.gan.generate(variables, self._draw_latents(key, seeds, truncation), given)
            return images, scale_to_bytes(images)

        return jax.jit(generate, static_argnums=4)

    def _draw_latents(self, key: Key, seeds: Array, truncation: float) -> Any:
        if truncation == 1.0:
            return self.gan.draw_latents(key, seeds)
        assert self.gan.draw_truncated is not None
        return self.gan.draw_truncated(key, seeds, truncation)

    @functools.cached_property
    def _score_batch(self) -> Wrapped:
        to_probability = self.gan.to_probability or (lambda scores: scores)

        def score(variables: Params, images: Array, given: Given) -> Array:
            return to_probability(self.gan.score_batch(variables, images, given))

        return jax.jit(score)

    @functools.cached_property
    def _score_alone(self) -> Callable[..., Array]:
        def score(variables: Params, images: Array, given: Given) -> Array:
            return self.gan.score(variables, scale_to_unit(images), given)

        return jax.jit(score)


@dataclass(frozen=True)
class Samples:
    """Images uint8 [num, h, w, c], D's score of each [num] and the seed of each [num]."""

    images: np.ndarray
    scores: np.ndarray
    seeds: np.ndarray

    def take(self, mask: np.ndarray) -> "Samples":
        """Return the samples where `mask` [num] is true, or the samples at these indices."""
        return Samples(self.images[mask], self.scores[mask], self.seeds[mask])


def join_samples(parts: Sequence[Samples]) -> Samples:
    """Return one or more draws as one."""
    images, scores, seeds = zip(*((s.images, s.scores, s.seeds) for s in parts), strict=True)
    return Samples(np.concatenate(images), np.concatenate(scores), np.concatenate(seeds))


def draw_accepted(
    sampler: Sampler,
    networks: Networks,
    *,
    num: int,
    threshold: float | None,
    first_seed: int,
    max_tries: int,
) -> tuple[Samples, int]:
    """Draw until `num` images have D(G(z)) >= `threshold`, at most `max_tries`.

    `threshold` None: all images pass, and the tries have no limit. Returns the images found
    (possibly fewer) and the number of tries.
    """
    if threshold is None:
        return sampler.draw_scored(networks, first_seed, num), num
    parts, num_found, tries = [sampler.draw_scored(networks, first_seed, 0)], 0, 0
    while num_found < num and tries < max_tries:
        samples = sampler.draw_scored(networks, first_seed + tries, sampler.batch_size)
        tries += sampler.batch_size
        parts.append(samples.take(accept_by_probability(samples.scores, threshold)))
        num_found += len(parts[-1].seeds)
    found = join_samples(parts)
    return found.take(np.arange(len(found.seeds)) < num), tries
