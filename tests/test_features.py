import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from jaxgan.core.errors import UserError
from jaxgan.evaluation import features
from jaxgan.evaluation.comparisons import measure_space
from jaxgan.evaluation.features import (
    choose_remaining,
    create_encoder_features,
    create_pixel_features,
    draw_thumbnails,
    hold_out_for_floor,
    read_exported_features,
    shrink,
)
from jaxgan.evaluation.real_images import NamedImages, Sides
from tests.helpers import draw_films

RNG = np.random.default_rng(0)
GRAY = RNG.integers(0, 256, (5, 32, 32, 1), dtype=np.uint8)


def means(images):
    return jnp.mean(images.astype(jnp.float32), axis=(1, 2))


def write(path, function=means, shape="n, 16, 16, 3", dtype=np.uint8):
    spec = jax.ShapeDtypeStruct(export.symbolic_shape(shape), dtype)
    path.write_bytes(export.export(jax.jit(function))(spec).serialize())
    return path


def test_pixels_are_averages():
    features = create_pixel_features(4)(GRAY)
    expected = GRAY.reshape(5, 4, 8, 4, 8).mean(axis=(2, 4)) / 127.5 - 1
    np.testing.assert_allclose(
        features, expected.reshape(5, 16), atol=1.01 / 127.5
    )  # rounded twice
    assert create_pixel_features(4).name == "pixels 4x4"


def test_shrink_leaves_small_images_alone():
    assert shrink(GRAY, 64).shape == (5, 32, 32, 1)
    assert shrink(GRAY, 64, enlarge=True).shape == (5, 64, 64, 1)
    assert shrink(GRAY, 16).shape == (5, 16, 16, 1)


@pytest.mark.parametrize("shape", ["n, 16, 16, 3", "2, 16, 16, 3", "n, 16, 16, 1"])
def test_an_exported_function_sees_its_size_and_channels(tmp_path, shape):
    features = read_exported_features(write(tmp_path / "means.jax", shape=shape))
    found = features(GRAY)
    channels = int(shape[-1])
    assert found.shape == (5, channels)
    expected = shrink(GRAY, 16).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(found, np.repeat(expected[:, None], channels, axis=1), atol=1e-3)
    assert features.name == "means.jax"


def test_a_float_function_is_given_minus_one_to_one(tmp_path):
    features = read_exported_features(write(tmp_path / "f", shape="n, 32, 32, 1", dtype=np.float32))
    expected = GRAY.mean(axis=(1, 2)) / 127.5 - 1
    np.testing.assert_allclose(features(GRAY), expected, atol=1e-5)


def test_what_can_not_be_used_is_said_in_one_sentence(tmp_path):
    (tmp_path / "text").write_text("no function")
    write(tmp_path / "flat", function=lambda x: x, shape="n, 9", dtype=np.float32)
    write(tmp_path / "ints", dtype=np.int32)
    for name, words in (
        ("absent", "can not be read"),
        ("text", "is not an exported JAX function"),
        ("flat", "maps"),
        ("ints", "int32"),
    ):
        with pytest.raises(UserError, match=words) as error:
            read_exported_features(tmp_path / name)
        assert "expected" in str(error.value)
        assert "\n" not in str(error.value)


def test_features_that_are_not_finite_are_refused(tmp_path):
    path = write(tmp_path / "nan", function=lambda x: means(x) * jnp.nan)
    features = read_exported_features(path)
    with pytest.raises(UserError, match="not all finite"):
        features(GRAY)


def test_the_floor_gets_as_many_images_as_are_held_out_but_at_most_half():
    labels = np.repeat([0, 1], [30, 10])
    patients = [f"{label}-{i // 2}" for i, label in enumerate(labels)]  # two films each
    unseen = hold_out_for_floor(labels, patients, [8, 9])
    assert np.bincount(labels[unseen]).tolist() == [8, 6]  # 5 of class 1, and the fifth's other
    whole = {patients[i] for i in np.flatnonzero(unseen)}
    assert whole.isdisjoint(patients[i] for i in np.flatnonzero(~unseen))
    assert not hold_out_for_floor(labels, patients, [0, 0]).any()
    assert (unseen == hold_out_for_floor(labels, patients, [8, 9])).all()
    assert (unseen != hold_out_for_floor(labels, patients, [8, 9], seed=1)).any()


def test_images_that_the_encoder_knows_fill_up():
    unseen = np.array([False, True, False, True, False, False])
    assert choose_remaining(unseen, 0).tolist() == [1, 3]
    assert choose_remaining(unseen, 4).tolist() == [1, 3, 0, 2]


@pytest.mark.parametrize("channels", [1, 3])
def test_thumbnails_are_gray(channels, monkeypatch):
    images = np.repeat(GRAY, channels, axis=-1)
    with monkeypatch.context() as patch:
        patch.setattr(features, "MEMORISATION_SIDE", 8)
        thumbnails = draw_thumbnails(images)
    assert thumbnails.dtype == np.float32
    expected = GRAY.reshape(5, 8, 4, 8, 4).mean(axis=(2, 4)) / 127.5 - 1
    np.testing.assert_allclose(thumbnails, expected, atol=1.01 / 127.5)
    assert draw_thumbnails(images[:, :16, :16]).shape == (5, 16, 16)


@pytest.mark.slow
def test_the_floor_is_that_of_new_images():
    """And not that of images that the encoder has learnt from."""
    held_out, new = draw_films("normal", 22, 1000), draw_films("normal", 400, 2000)
    train = np.concatenate([draw_films("normal", 100, 0), draw_films("covid", 100, 5000)])
    labels = np.repeat([0, 1], 100)
    unseen = hold_out_for_floor(labels, [str(i) for i in range(200)], [22, 22])
    features = create_encoder_features(train[~unseen], labels[~unseen], cache_dir=None)
    floors = {
        name: measure_space(
            features, new[:22], Sides(NamedImages("", held_out), NamedImages("", others))
        )["kernel_distance"]["floor"]
        for name, others in {
            "unseen": train[choose_remaining(unseen[:100], 22)],
            "known": train[:100][~unseen[:100]],
            "new": new[22:],
        }.items()
    }
    assert floors["unseen"] == pytest.approx(floors["new"], rel=0.35), floors
    assert floors["known"] < floors["unseen"]
