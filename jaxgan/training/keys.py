"""The random keys of a run. None is saved: all of them follow from the seed."""

from dataclasses import dataclass

import jax

from jaxgan.core.seeds import wrap_seed
from jaxgan.core.types import Key


@dataclass(frozen=True)
class Keys:
    """The run's keys, each for one purpose."""

    init: Key
    data: Key
    steps: Key
    latents: Key


def create_keys(seed: int) -> Keys:
    """Derive the run's keys from its seed."""
    return Keys(*jax.random.split(jax.random.key(wrap_seed(seed)), 4))
