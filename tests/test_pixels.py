"""Between bytes and [-1, 1]."""

import jax.numpy as jnp
import numpy as np

from jaxgan.ops.pixels import scale_to_bytes, scale_to_unit, stretch_to_bytes


def test_every_byte_comes_back():
    images = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    unit = scale_to_unit(jnp.asarray(images))
    assert float(unit.min()) == -1.0
    assert float(unit.max()) == 1.0
    np.testing.assert_array_equal(scale_to_bytes(unit), images)


def test_a_flat_image_stays_as_flat_as_it_was():
    """The paper's listing stretches generated images and not real ones; we stretch none."""
    gray = jnp.full((1, 4, 4, 1), 0.1).at[0, 0, 0, 0].set(0.2)
    assert np.ptp(np.asarray(scale_to_bytes(gray)).astype(int)) == 13
    assert np.ptp(np.asarray(stretch_to_bytes(gray)).astype(int)) == 255


def test_the_listings_stretch_is_of_each_image_on_its_own():
    images = jnp.stack([jnp.linspace(-0.1, 0.1, 4).reshape(2, 2, 1), jnp.full((2, 2, 1), 0.5)])
    stretched = np.asarray(stretch_to_bytes(images))
    assert (stretched[0].min(), stretched[0].max()) == (0, 255)
    assert not stretched[1].any()
