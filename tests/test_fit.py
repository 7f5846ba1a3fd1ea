import numpy as np
import pytest
from PIL import Image

from jaxgan.data.fit import FITS, compute_cut, describe_fit, fit_square


def make(height: int, width: int, mode: str = "L") -> Image.Image:
    """White at the left end, gray elsewhere."""
    pixels = np.full((height, width), 100, np.uint8)
    pixels[:, : width // 8] = 255
    return Image.fromarray(pixels).convert(mode)


def test_a_cropped_image_has_lost_its_ends():
    assert (np.asarray(fit_square(make(100, 200), 50, "crop")) == 100).all()


def test_a_padded_image_keeps_them_between_black_margins():
    shown = np.asarray(fit_square(make(100, 200), 48, "pad"))
    assert (shown[:12] == 0).all() and (shown[36:] == 0).all()
    assert (shown[12:36, :6] == 255).all() and (shown[12:36, 7:] == 100).all()
    tall = np.asarray(fit_square(make(200, 100), 48, "pad"))
    assert (tall[:, :12] == 0).all() and (tall[:, 12:36] >= 100).all() and (tall[:, 36:] == 0).all()


def test_a_stretched_image_keeps_them_and_fills_the_square():
    shown = np.asarray(fit_square(make(100, 200), 48, "stretch"))
    assert (shown[:, :6] == 255).all() and (shown[:, 7:] == 100).all()


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("size", [1, 7, 64, 300])
@pytest.mark.parametrize("shape", [(9, 9), (200, 64), (64, 200), (1, 500)])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_every_image_becomes_a_square(fit, size, shape, mode):
    square = fit_square(make(*shape, mode), size, fit)
    assert square.size == (size, size) and square.mode == mode
    assert np.asarray(square).max() > 0


@pytest.mark.parametrize("size", [4, 8, 16])
def test_a_square_image_is_the_same_under_every_fit(size):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8))
    crop, *others = (np.asarray(fit_square(image, size, fit)) for fit in FITS)
    for other in others:
        np.testing.assert_array_equal(other, crop)


def test_an_unknown_fit_is_a_mistake():
    with pytest.raises(ValueError, match="expected one of crop, pad, stretch"):
        fit_square(make(8, 8), 4, "squeeze")


def test_the_share_cut_off():
    assert compute_cut([1.0, 2.0, 0.5, 1.25]).tolist() == [0.0, 0.5, 0.5, pytest.approx(0.2)]


def test_what_is_cut_off_is_told_from_five_per_cent_on():
    assert describe_fit("crop", [1.0, 1.05, 0.96]) == []
    (notice,) = describe_fit("crop", [1.0, 2.0, 1.25, 1.0])
    assert "2 of 4 images" in notice and "up to 50% and 18% on average" in notice
    assert "--fit=pad" in notice and "--fit=stretch" in notice


def test_a_fit_that_changes_nothing_is_told():
    assert describe_fit("pad", [1.0, 2.0]) == []
    assert describe_fit("pad", [1.0, 1.0]) == ["All images are square: --fit=pad changes nothing."]
