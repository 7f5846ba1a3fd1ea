"""The numbers that everything random follows from: which are allowed, and what they count as.

A key of JAX is made of 32 bits: a larger number would silently be the same seed as a smaller one.
Nothing adds to a seed or multiplies it: numbers are folded into keys, `jax.random.fold_in`.
"""

from jaxgan.core.errors import UserError

NUM_SEEDS = 2**32
LOWEST_SEED = -(2**31)  # JAX takes negative numbers too: -1 is the seed 4294967295


def check_seed(name: str, seed: int) -> None:
    """Raise `UserError` where a seed is none that JAX tells from all others."""
    if not LOWEST_SEED <= seed < NUM_SEEDS:
        raise UserError(
            f"{name} is {seed}, expected a whole number from {LOWEST_SEED} to {NUM_SEEDS - 1}."
        )


def wrap_seed(seed: int) -> int:
    """Return the seed as the 32 bits that JAX takes it for, from 0 on: numpy takes no other."""
    return seed % NUM_SEEDS


def check_latents(first: int, num: int) -> None:
    """Raise `UserError` where `num` latents from number `first` on are not all different."""
    if first < 0 or first + num > NUM_SEEDS:
        raise UserError(
            f"{num} image(s) from seed {first} on were asked for: each has a seed of its own, from "
            f"0 to {NUM_SEEDS - 1}. Begin with a seed from 0 to {max(NUM_SEEDS - num, 0)}."
        )
