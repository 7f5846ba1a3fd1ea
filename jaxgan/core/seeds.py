"""Seeds of random numbers: which values are allowed, and which values are the same seed.

A JAX key is made from 32 bits. A larger number would silently be the same seed as a smaller one.
No code adds to a seed or multiplies it. Numbers are folded into keys with `jax.random.fold_in`.
"""

from jaxgan.core.errors import UserError

NUM_SEEDS = 2**32
LOWEST_SEED = -(2**31)  # JAX takes negative numbers too: -1 is the seed 4294967295


def check_seed(name: str, seed: int) -> None:
    """Raise `UserError` if JAX can not distinguish a seed from all others."""
    if not LOWEST_SEED <= seed < NUM_SEEDS:
        raise UserError(
            f"{name} is {seed}, expected a whole number from {LOWEST_SEED} to {NUM_SEEDS - 1}."
        )


def wrap_seed(seed: int) -> int:
    """Return the 32 bits that JAX uses of a seed, as a number from 0 on, which numpy needs."""
    return seed % NUM_SEEDS


def check_latents(first: int, num: int) -> None:
    """Raise `UserError` if `num` latents from number `first` on are not all different."""
    if first < 0 or first + num > NUM_SEEDS:
        raise UserError(
            f"{num} image(s) from seed {first} on were requested. Each image has its own seed, "
            f"from 0 to {NUM_SEEDS - 1}. Start with a seed from 0 to {max(NUM_SEEDS - num, 0)}."
        )
