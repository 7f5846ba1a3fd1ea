"""Differentiable augmentation (DiffAugment, Zhao et al. 2020), applied to real and fake alike.

Every function maps images [batch, height, width, channels] in [-1, 1] to the same shape, with one
key an image, so that the result does not depend on how a batch lies over devices.
"""

import functools

import jax
import jax.numpy as jnp

from jaxgan.types import Array, Key

MAX_BRIGHTNESS = 0.5  # of the range [-1, 1], either way
MAX_CONTRAST = 0.5  # contrast is multiplied by 0.5 to 1.5
MAX_SHIFT = 1 / 8  # of the side, either way
CUTOUT_SIDE = 3 / 8  # of the side; radiographs lose their one subject with DiffAugment's 1/2


def diffaugment(images: Array, keys: Key) -> Array:
    """Change brightness and contrast, shift, and cut a square out of each image.

    `keys` is one key an image, [batch].
    """
    return jax.vmap(_diffaugment_one)(images, keys)


def _diffaugment_one(image: Array, key: Key) -> Array:
    colour_key, shift_key, cutout_key = jax.random.split(key, 3)
    image = change_brightness_contrast(image, colour_key)
    image = shift(image, shift_key)
    return cut_out(image, cutout_key)


def change_brightness_contrast(image: Array, key: Key) -> Array:
    """Add a random offset, then scale the distance to the image's mean, of one image [h, w, c]."""
    offset, contrast = jax.random.uniform(key, (2,), minval=-1.0, maxval=1.0)
    image = image + MAX_BRIGHTNESS * offset
    mean = jnp.mean(image)
    return mean + (image - mean) * (1.0 + MAX_CONTRAST * contrast)


def shift(image: Array, key: Key) -> Array:
    """Move one image [h, w, c] by up to an eighth of its side; what comes in is black (-1)."""
    height, width, channels = image.shape
    reach_y, reach_x = round(height * MAX_SHIFT), round(width * MAX_SHIFT)
    offset_y, offset_x = jax.random.randint(
        key, (2,), 0, jnp.array([2 * reach_y + 1, 2 * reach_x + 1])
    )
    padding = ((reach_y, reach_y), (reach_x, reach_x), (0, 0))
    padded = jnp.pad(image, padding, constant_values=-1.0)
    return jax.lax.dynamic_slice(padded, (offset_y, offset_x, 0), (height, width, channels))


def cut_out(image: Array, key: Key) -> Array:
    """Set a random square of one image [h, w, c] to mid-gray (0); it may reach over the edge."""
    height, width, _ = image.shape
    centre_y, centre_x = jax.random.randint(key, (2,), 0, jnp.array([height, width]))
    inside = functools.partial(_within, reach=height * CUTOUT_SIDE / 2)
    hole = inside(jnp.arange(height), centre_y)[:, None] & inside(jnp.arange(width), centre_x)
    return jnp.where(hole[:, :, None], 0.0, image)


def _within(positions: Array, centre: Array, *, reach: float) -> Array:
    return jnp.abs(positions - centre) < reach
