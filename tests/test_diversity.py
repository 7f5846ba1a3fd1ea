import numpy as np
import pytest
from scipy import ndimage
from scipy.signal import convolve2d

from jaxgan.metrics.diversity import compute_similarities, create_diversity_comparison

EXPONENTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang et al. 2003, section 3.2


def compute_diversity(images):
    everything = np.arange(len(images))
    return create_diversity_comparison(images)(everything, everything)["diversity"]


def make_images(num, size=32, channels=1, seed=0, width=None):
    noise = np.random.default_rng(seed).normal(size=(num, size, width or size, channels))
    smooth = ndimage.gaussian_filter(noise, (0, 4, 4, 0))
    return np.clip(128 + 50 * smooth / smooth.std(), 0, 255).astype(np.uint8)


def compute_slowly(x, y, num_scales):
    """MS-SSIM of two images [h, w] straight from the paper."""
    offsets = np.arange(11) - 5
    window = np.exp(-(offsets[:, None] ** 2 + offsets[None, :] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    exponents = np.array(EXPONENTS[:num_scales]) / sum(EXPONENTS[:num_scales])
    result = 1.0
    x, y = x.astype(float), y.astype(float)
    for scale in range(num_scales):
        mx, my, xx, yy, xy = (
            convolve2d(z, window, mode="valid") for z in (x, y, x * x, y * y, x * y)
        )
        c1, c2 = 2.55**2, 7.65**2
        structure = (2 * (xy - mx * my) + c2) / (xx - mx**2 + yy - my**2 + c2)
        luminance = (2 * mx * my + c1) / (mx**2 + my**2 + c1)
        last = scale == num_scales - 1
        part = (luminance * structure if last else structure).mean()
        result *= max(part, 0.0) ** exponents[scale]
        x, y = (halve(z) for z in (x, y))
    return result


def halve(image):
    height, width = (side // 2 for side in image.shape)
    return image[: 2 * height, : 2 * width].reshape(height, 2, width, 2).mean(axis=(1, 3))


@pytest.mark.parametrize(("size", "num_scales"), [(32, 2), (64, 3), (128, 4)])
def test_agrees_with_the_paper_written_out(size, num_scales):
    images = make_images(4, size)
    images[3] = np.clip(images[2] * 0.8 + 10, 0, 255)
    found = compute_similarities(images)
    for i in range(4):
        for j in range(i + 1, 4):
            expected = compute_slowly(images[i, ..., 0], images[j, ..., 0], num_scales)
            assert found[i, j] == found[j, i] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(("height", "width"), [(47, 97), (97, 47), (22, 50)])
def test_the_smaller_side_says_how_many_scales_and_an_odd_row_is_left_out(height, width):
    images = make_images(2, height, width=width)
    expected = compute_slowly(images[0, ..., 0], images[1, ..., 0], 3 if height > 22 else 2)
    assert compute_similarities(images)[0, 1] == pytest.approx(expected, abs=1e-4)


def test_agrees_with_pytorch_msssim():
    peer = pytest.importorskip("pytorch_msssim", reason="pytorch-msssim is not installed")
    torch = pytest.importorskip("torch", reason="torch is not installed")
    x, y = (make_images(1, 176, 3, seed)[0] for seed in (0, 1))
    tensors = [torch.tensor(z.transpose(2, 0, 1)[None].astype(np.float32)) for z in (x, y)]
    expected = float(peer.ms_ssim(*tensors, data_range=255))
    assert compute_similarities(np.stack([x, y]))[0, 1] == pytest.approx(expected, abs=1e-4)


def test_copies_are_not_diverse():
    images = make_images(6)
    copies = np.repeat(images[:1], 6, axis=0)
    half = np.concatenate([images[:3], copies[:3]])
    assert compute_diversity(copies) == pytest.approx(0.0, abs=1e-4)
    assert compute_diversity(copies) < compute_diversity(half) < compute_diversity(images)


def test_too_few_and_too_small_images_are_refused():
    with pytest.raises(ValueError, match="found 1"):
        compute_diversity(make_images(1))
    with pytest.raises(ValueError, match="smaller than a window"):
        compute_diversity(np.zeros((3, 8, 8, 1), np.uint8))
