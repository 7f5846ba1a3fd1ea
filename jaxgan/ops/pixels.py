"""Convert between stored pixels and the values that networks use."""

import jax.numpy as jnp

from jaxgan.core.types import Array


def scale_to_unit(images: Array) -> Array:
    """Map uint8 [0, 255] to float32 [-1, 1]."""
    return images.astype(jnp.float32) / 127.5 - 1.0


def scale_to_bytes(images: Array) -> Array:
    """Map float [-1, 1] to uint8 [0, 255] by one rule for every image, without stretching.

    See row 5 of the README's table of where the paper contradicts itself.
    """
    return jnp.round((jnp.clip(images, -1.0, 1.0) + 1.0) * 127.5).astype(jnp.uint8)


def stretch_to_bytes(images: Array) -> Array:
    """Map each image's own minimum to 0 and maximum to 255.

    This is `make_grid(..., normalize=True)` of the listing in section 4.1, used only by the rule
    `paper_code`: it gives generated images a contrast that real ones do not have.
    """
    axes = (-3, -2, -1)
    low = jnp.min(images, axis=axes, keepdims=True)
    high = jnp.max(images, axis=axes, keepdims=True)
    return jnp.round(255.0 * (images - low) / jnp.maximum(high - low, 1e-5)).astype(jnp.uint8)
