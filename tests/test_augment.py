"""DiffAugment: what each part does, that gradients pass, and that it is one draw an image."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.ops import augment

SIZE = 32


def make_image(seed=0):
    return jax.random.uniform(jax.random.key(seed), (SIZE, SIZE, 1), minval=-1.0, maxval=1.0)


DIFFAUGMENT = jax.jit(augment.diffaugment, static_argnames="policy")


def make_keys(num):
    return jax.random.split(jax.random.key(5), num)


def test_brightness_and_contrast_are_affine_and_within_their_range():
    image = make_image()
    for key in make_keys(20):
        changed = augment.change_brightness_contrast(image, key)
        slope, offset = np.polyfit(np.ravel(image), np.ravel(changed), 1)
        assert 1 - augment.MAX_CONTRAST <= slope <= 1 + augment.MAX_CONTRAST
        mean_shift = float(jnp.mean(changed) - jnp.mean(image))
        assert abs(mean_shift) <= augment.MAX_BRIGHTNESS
        np.testing.assert_allclose(np.ravel(changed), slope * np.ravel(image) + offset, atol=1e-5)


def test_shift_moves_up_to_an_eighth_and_fills_with_black():
    image = make_image() * 0.5
    offsets = set()
    for key in make_keys(60):
        moved = np.asarray(augment.shift(image, key))[:, :, 0]
        filled = moved == -1.0
        rows, columns = int(filled.all(axis=1).sum()), int(filled.all(axis=0).sum())
        assert max(rows, columns) <= SIZE // 8
        inside = moved[~filled.all(axis=1)][:, ~filled.all(axis=0)]
        assert np.isin(inside, np.asarray(image)).all()
        offsets.add((rows, columns))
    assert len(offsets) > 10


def test_every_shift_of_the_range_is_as_likely():
    num, reach, middle = 900, SIZE // 8, SIZE // 2
    places = jnp.arange(SIZE * SIZE, dtype=jnp.float32).reshape(SIZE, SIZE, 1)
    moved = jax.vmap(augment.shift, (None, 0))(places, make_keys(num))
    for offsets in np.divmod(np.asarray(moved)[:, middle, middle, 0], SIZE):
        found, counts = np.unique(offsets - middle, return_counts=True)
        assert found.tolist() == [*range(-reach, reach + 1)]
        assert np.abs(counts - num / len(found)).max() < 40  # four standard deviations


def test_a_cut_has_its_centre_anywhere():
    """So every row and column is in the hole as often as centres reach it, the edges less."""
    num = 900
    holes = jax.vmap(augment.cut_out, (None, 0))(jnp.ones((SIZE, SIZE, 1)), make_keys(num)) == 0.0
    for axis in (1, 2):
        share = np.asarray(holes.any(axis=axis)).mean(axis=0)[:, 0]
        reach = SIZE * augment.CUTOUT_SIDE / 2
        # A pixel is in the hole of the centres that are less than `reach` away.
        expected = [
            sum(abs(centre - place) < reach for centre in range(SIZE)) / SIZE
            for place in range(SIZE)
        ]
        np.testing.assert_allclose(share, expected, atol=0.07)  # four standard errors


def test_a_zoom_keeps_proportions():
    ticks = jnp.arange(SIZE) - (SIZE - 1) / 2

    def compute_radius(y, x, key):
        disc = jnp.where(jnp.hypot(ticks[:, None] - y, ticks[None] - x) < 2, 1.0, -1.0)
        weights = augment.rotate_zoom(disc[:, :, None], key)[:, :, 0] + 1.0
        far = (jnp.sum(weights * t) / weights.sum() for t in (ticks[:, None], ticks[None]))
        return float(jnp.hypot(*far))

    for key in make_keys(5):
        below, beside = compute_radius(10, 0, key), compute_radius(0, 10, key)
        assert below == pytest.approx(beside, abs=0.15)


def test_cutout_removes_at_most_its_square():
    image = make_image() + 2.0
    areas = [float(np.sum(np.asarray(augment.cut_out(image, key)) == 0.0)) for key in make_keys(60)]
    side = SIZE * augment.CUTOUT_SIDE
    assert max(areas) <= (side + 1) ** 2
    assert min(areas) >= (side / 2) ** 2 - 1
    assert np.median(areas) > side**2 / 2


def test_every_image_has_its_own_draw_whatever_its_neighbours():
    images = jnp.stack([make_image()] * 6)
    keys = make_keys(6)
    changed = DIFFAUGMENT(images, keys)
    assert len({np.asarray(image).tobytes() for image in changed}) == 6
    np.testing.assert_allclose(DIFFAUGMENT(images[2:3], keys[2:3])[0], changed[2], atol=1e-6)


def test_gradients_pass_through():
    images, keys = jnp.stack([make_image()] * 4), make_keys(4)
    gradient = jax.jit(jax.grad(lambda x: jnp.sum(augment.diffaugment(x, keys) ** 2)))(images)
    assert np.isfinite(gradient).all()
    # The mean of every image reaches all pixels, so that even those cut out have a gradient.
    assert np.mean(np.asarray(gradient) != 0.0) > 0.9


@pytest.mark.parametrize("part", augment.PARTS)
def test_every_part_passes_the_gradient_of_every_region(part):
    """What the discriminator asks of each pixel arrives, and not its mean alone."""
    num, field = 40, SIZE // 4
    images, keys = jnp.stack([make_image()] * num), make_keys(num)
    wanted = jax.random.normal(jax.random.key(1), images.shape)

    @jax.jit
    def change(images):
        return DIFFAUGMENT(images, keys, policy=(part,))

    gradient = jax.grad(lambda x: jnp.sum(wanted * change(x)))(images)
    fields = np.abs(gradient).reshape(num, 4, field, 4, field).mean(axis=(0, 2, 4))
    assert fields.min() > 0.35 * np.abs(wanted).mean()
    # Every part is affine in the image: the gradient says exactly what a change of it does.
    direction = jax.random.normal(jax.random.key(2), images.shape)
    effect = jnp.sum(wanted * (change(images + direction) - change(images)), axis=(1, 2, 3))
    np.testing.assert_allclose(
        jnp.sum(gradient * direction, axis=(1, 2, 3)), effect, rtol=1e-3, atol=0.02
    )


def test_rotation_turns_a_disc_by_no_more_than_its_range():
    ticks = jnp.arange(SIZE) - (SIZE - 1) / 2
    disc = jnp.where(jnp.hypot(ticks[:, None], ticks[None, :] - 10) < 2, 1.0, -1.0)[:, :, None]
    angles, radii = [], []
    for key in make_keys(60):
        weights = np.asarray(augment.rotate_zoom(disc, key))[:, :, 0] + 1.0
        y, x = (float((weights * t).sum() / weights.sum()) for t in (ticks[:, None], ticks[None]))
        angles.append(np.degrees(np.arctan2(y, x)))
        radii.append(np.hypot(y, x))
    assert np.abs(angles).max() <= augment.MAX_ANGLE + 0.5
    assert np.abs(angles).max() > augment.MAX_ANGLE / 2
    assert 10 / (1 + augment.MAX_ZOOM) - 0.3 <= min(radii) < 9.7
    assert 10.3 < max(radii) <= 10 / (1 - augment.MAX_ZOOM) + 0.3


def test_strength_is_the_chance_of_every_change():
    images, keys = jnp.stack([make_image()] * 400), make_keys(400)
    still = DIFFAUGMENT(images, keys, jnp.float32(0.0), policy=tuple(augment.PARTS))
    np.testing.assert_array_equal(still, images)
    shifted = DIFFAUGMENT(images, keys, jnp.float32(0.25), policy=("shift",))
    share = np.mean([not np.array_equal(a, b) for a, b in zip(shifted, images, strict=True)])
    assert 0.17 < share < 0.33  # four standard errors
    always = DIFFAUGMENT(images[:8], keys[:8], jnp.float32(1.0))
    np.testing.assert_allclose(always, DIFFAUGMENT(images[:8], keys[:8]), atol=1e-6)
