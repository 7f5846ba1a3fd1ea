"""Classic augmentation of training images: rotation, zoom, shift, brightness and contrast.

The usual changes in radiology papers, in ranges that keep a chest film realistic. No flip: the
heart is on the left.
"""

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates

from jaxgan.core.types import Array, Key

MAX_ANGLE = jnp.pi / 18  # 10 degrees either way
MAX_ZOOM = 0.15  # magnified by 0.85 to 1.15
MAX_SHIFT = 0.08  # of the side, either way
MAX_BRIGHTNESS = 25.5  # of 255, either way
MAX_CONTRAST = 0.2  # contrast is multiplied by 0.8 to 1.2


def augment_classic(images: Array, keys: Key) -> Array:
    """Return uint8 images [batch, height, width, channels] as float32 in [0, 255], each changed.

    `keys` is one key per image [batch]; new pixels repeat the edge.
    """
    return jax.vmap(_augment_one)(images.astype(jnp.float32), keys)


def _augment_one(image: Array, key: Key) -> Array:
    angle, zoom, shift_y, shift_x, brightness, contrast = jax.random.uniform(
        key, (6,), minval=-1.0, maxval=1.0
    )
    height, width, _ = image.shape
    shift = jnp.array([shift_y * height, shift_x * width]) * MAX_SHIFT
    image = _move(image, angle * MAX_ANGLE, 1.0 + zoom * MAX_ZOOM, shift)
    mean = jnp.mean(image)
    image = mean + (image - mean) * (1.0 + MAX_CONTRAST * contrast)
    return jnp.clip(image + MAX_BRIGHTNESS * brightness, 0.0, 255.0)


def _move(image: Array, angle: Array, zoom: Array, shift: Array) -> Array:
    """Rotate by `angle`, magnify by `zoom` about the centre, then shift [2] by pixels."""
    height, width, _ = image.shape
    centre = jnp.array([(height - 1) / 2, (width - 1) / 2])
    grid = jnp.stack(jnp.meshgrid(jnp.arange(height), jnp.arange(width), indexing="ij"), axis=-1)
    cosine, sine = jnp.cos(angle), jnp.sin(angle)
    turn = jnp.array([[cosine, -sine], [sine, cosine]])
    source = (grid - centre - shift) @ turn.T / zoom + centre
    coordinates = [source[..., 0], source[..., 1]]
    return jax.vmap(
        lambda channel: map_coordinates(channel, coordinates, order=1, mode="nearest"),
        in_axes=2,
        out_axes=2,
    )(image)
