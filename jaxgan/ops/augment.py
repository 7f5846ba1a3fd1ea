"""Differentiable augmentation (DiffAugment, Zhao et al. 2020) of both real and fake images.

`diffaugment` maps images float [batch, height, width, channels] in [-1, 1] to the same shape and
dtype, with one key per image. So the result does not depend on how a batch is split over devices.
A part (`PARTS`) does this for one image and one key. Changed brightness and contrast may leave
[-1, 1]. The result is not clipped, because clipping would stop the gradient.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates

from jaxgan.core.types import Array, Key

MAX_BRIGHTNESS = 0.5  # of the range [-1, 1], either way
MAX_CONTRAST = 0.5  # contrast is multiplied by 0.5 to 1.5
MAX_SHIFT = 1 / 8  # of the side, either way
MAX_ANGLE = 8.0  # degrees, either way
MAX_ZOOM = 0.1  # larger or smaller by a tenth
CUTOUT_SIDE = 3 / 8  # of the side; radiographs lose their one subject with DiffAugment's 1/2

# DiffAugment's own; "rotate_zoom" is ours, for radiographs.
POLICY = ("colour", "shift", "cutout")


def diffaugment(
    images: Array, keys: Key, strength: Array | None = None, *, policy: Sequence[str] = POLICY
) -> Array:
    """Change each image by the policy's parts in turn, each with the chance `strength` (None: 1).

    `keys` is one key per image, [batch]; `strength` is a float [] from 0 to 1. There is no flip:
    left and right have a meaning in a radiograph.
    """
    return jax.vmap(functools.partial(_diffaugment_one, strength=strength, policy=policy))(
        images, keys
    )


def _diffaugment_one(
    image: Array, key: Key, *, strength: Array | None, policy: Sequence[str]
) -> Array:
    for part, part_key in zip(PARTS, jax.random.split(key, len(PARTS)), strict=True):
        if part not in policy:
            continue
        changed = PARTS[part](image, part_key)
        if strength is None:
            image = changed
        else:
            chance = jax.random.uniform(jax.random.fold_in(part_key, 1))
            image = jnp.where(chance < strength, changed, image)
    return image


def change_brightness_contrast(image: Array, key: Key) -> Array:
    """Add a random offset, then scale the distance to the image's mean, of one image [h, w, c]."""
    offset, contrast = jax.random.uniform(key, (2,), minval=-1.0, maxval=1.0)
    image = image + MAX_BRIGHTNESS * offset
    mean = jnp.mean(image)
    return mean + (image - mean) * (1.0 + MAX_CONTRAST * contrast)


def shift(image: Array, key: Key) -> Array:
    """Move one image [h, w, c] by up to an eighth of its side; new pixels are black (-1)."""
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


def rotate_zoom(image: Array, key: Key) -> Array:
    """Turn and zoom one image [h, w, c] about its centre; new pixels are black (-1)."""
    height, width, channels = image.shape
    angle, zoom = jax.random.uniform(key, (2,), minval=-1.0, maxval=1.0)
    angle, scale = jnp.deg2rad(MAX_ANGLE) * angle, 1.0 + MAX_ZOOM * zoom
    y = (jnp.arange(height) - (height - 1) / 2)[:, None] * scale
    x = (jnp.arange(width) - (width - 1) / 2)[None, :] * scale
    source_y = y * jnp.cos(angle) - x * jnp.sin(angle) + (height - 1) / 2
    source_x = y * jnp.sin(angle) + x * jnp.cos(angle) + (width - 1) / 2
    return jnp.stack(
        [
            map_coordinates(image[:, :, c], [source_y, source_x], order=1, cval=-1.0)
            for c in range(channels)
        ],
        axis=-1,
    )


# In the order in which they are applied. A part's key does not depend on which others are chosen.
PARTS: Mapping[str, Callable[[Array, Key], Array]] = MappingProxyType(
    {
        "colour": change_brightness_contrast,
        "rotate_zoom": rotate_zoom,
        "shift": shift,
        "cutout": cut_out,
    }
)
