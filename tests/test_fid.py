"""FID and KID: resizing and the block of an evaluation by hand; all against torch-fidelity."""

import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import unflatten_dict

from jaxgan.classifiers.fid_inception import (
    SHA256,
    FidInceptionV3,
    average_without_padding,
    create_fid_inception,
    read_fid_weights,
)
from jaxgan.classifiers.inception import average_with_padding
from jaxgan.classifiers.weight_files import WeightFile
from jaxgan.classifiers.weights import Start
from jaxgan.core.errors import UserError
from jaxgan.evaluation import fid
from jaxgan.evaluation.fid import (
    InceptionFeatures,
    describe_inception,
    measure_inception,
    read_inception_features,
    resize_as_tensorflow,
)
from jaxgan.evaluation.real_images import NamedImages, RealImages
from jaxgan.metrics.frechet_distance import compute_frechet_distance
from jaxgan.metrics.kernel_distance import compute_subset_distance
from tests import test_fid_inception, twins

# Resizing --------------------------------------------------------------------------------------


def test_two_pixels_become_four():
    """Pixel i is at i / 2: behind the last pixel there is no other one."""
    row = np.array([0.0, 10.0], np.float32).reshape(1, 1, 2, 1)
    found = resize_as_tensorflow(row, 4)
    np.testing.assert_array_equal(found[0, 0, :, 0], [0, 5, 10, 10])
    np.testing.assert_array_equal(found[0, :, 1, 0], [5, 5, 5, 5])


def test_four_pixels_become_two_without_an_average():
    column = np.array([1.0, 50.0, 3.0, 70.0], np.float32).reshape(1, 4, 1, 1)
    np.testing.assert_array_equal(resize_as_tensorflow(column, 2)[0, :, 0, 0], [1, 3])


@pytest.mark.parametrize("size", [16, 64, 299, 300])
def test_places_begin_at_the_corner(size):
    image = np.random.default_rng(0).integers(0, 256, (size, size)).astype(np.float64)
    places = np.arange(299) * (size / 299)
    columns = np.stack([np.interp(places, np.arange(size), row) for row in image])
    expected = np.stack([np.interp(places, np.arange(size), row) for row in columns.T]).T
    found = resize_as_tensorflow(image.astype(np.float32)[None, ..., None], 299)
    # A place of 300 is known to 3e-5 in float32, and neighbours differ by up to 255.
    np.testing.assert_allclose(found[0, ..., 0], expected, atol=0.02)


# A narrow network of the same form ---------------------------------------------------------------


@pytest.fixture(scope="module")
def narrow(tmp_path_factory):
    """The features of a file of the narrow network."""
    path = tmp_path_factory.mktemp("fid") / "narrow.pth"
    test_fid_inception.write(path, test_fid_inception.draw_arrays())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fid, "create_fid_inception", lambda: test_fid_inception.NARROW)
        return read_inception_features(path)


def draw_blobs(num, seed, channels=1, side=32):
    """Blobs in random places on noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side]
    cy, cx, radius = (rng.uniform(0.1, 0.9, (num, 1, 1, channels)) * side for _ in range(3))
    blobs = np.exp(-((y[..., None] - cy) ** 2 + (x[..., None] - cx) ** 2) / (2 * radius**2))
    return (200 * blobs + rng.integers(0, 50, blobs.shape)).astype(np.uint8)


def test_gray_is_repeated_and_no_image_depends_on_another(narrow):
    gray = draw_blobs(3, 0)
    found = narrow(gray)
    assert found.shape == (3, 128) and found.dtype == np.float64
    np.testing.assert_allclose(narrow(np.repeat(gray, 3, axis=-1)), found, rtol=1e-5)
    np.testing.assert_allclose(narrow(gray[1:2])[0], found[1], rtol=1e-5)
    assert np.ptp(found, axis=0).max() > 0.02 * found.max()


def test_the_file_is_on_the_record(narrow):
    assert narrow.name == "Inception v3 of narrow.pth"
    assert not narrow.is_published
    record = narrow.weights.describe()
    assert record["file"] == "narrow.pth" and len(record["sha256"]) == 64
    assert set(record["left_out"]) == {"fc.weight", "fc.bias"} and record["drawn"] == []


def test_features_that_are_not_finite_are_refused(narrow, tmp_path, monkeypatch):
    def extract(classifier, variables, images):
        return jnp.full((len(images), 4), jnp.nan)

    path = test_fid_inception.write(tmp_path / "w.pth", test_fid_inception.draw_arrays())
    monkeypatch.setattr(fid, "create_fid_inception", lambda: test_fid_inception.NARROW)
    monkeypatch.setattr(fid, "extract_features", extract)
    with pytest.raises(UserError, match=r"by w\.pth are not all finite"):
        read_inception_features(path)(draw_blobs(1, 0))


# The block of an evaluation ----------------------------------------------------------------------


def make_features(sha256):
    weights = Start(WeightFile("w.pth", "PyTorch", sha256, {}), {}, (), ())
    return InceptionFeatures("Inception v3 of w.pth", lambda x: x.reshape(len(x), -1) / 9, weights)


def name(images):
    return NamedImages("images", images)


def make_sets(num_held_out=20):
    rng = np.random.default_rng(0)
    generated, train, held_out = (
        rng.integers(0, high, (num, 2, 2, 1), dtype=np.uint8)
        for num, high in ((24, 9), (40, 6), (num_held_out, 6))
    )
    none = train[:0]
    return name(generated), RealImages(name(train), name(held_out), name(none), (none, none[:, 0]))


def test_published_weights_give_fid_and_kid_of_whole_sets():
    generated, real = make_sets()
    features = make_features(SHA256)
    block = measure_inception(features, generated, real)
    assert block["is_published"]
    x, train, held_out = map(features, (generated.images, real.train.images, real.held_out.images))
    for side, y in (("against_train", train), ("against_held_out", held_out)):
        assert block[side].keys() == {"fid", "kid"}
        assert block[side]["fid"] == {
            "value": compute_frechet_distance(x, y),
            "n": [24, len(y)],
        }
        kid = compute_subset_distance(x, y)
        assert block[side]["kid"] == {
            "value": kid.mean,
            "deviation": kid.deviation,
            "subset_size": min(24, len(y)),
            "n": [24, len(y)],
        }
    assert block["real_against_real"]["fid"]["n"] == [24, 20]  # as many as are generated
    assert block["real_against_real"]["fid"]["value"] < block["against_held_out"]["fid"]["value"]
    source, bias = describe_inception(block)
    assert source.startswith("FID and KID: w.pth holds the published weights") and SHA256 in source
    assert bias.startswith("FID in w.pth: computed from 20, 24, 40 images")
    assert "same n. Below 2,048 images its covariances are singular." in bias
    assert bias.endswith("one value, of 24 training images and the held-out ones.")


def test_other_weights_never_give_fid_and_kid():
    generated, real = make_sets(num_held_out=3)
    block = measure_inception(make_features("ab" * 32), generated, real)
    assert block["against_held_out"] is None and block["real_against_real"] is None
    assert block["against_train"].keys() == {"frechet_distance", "kernel_distance"}
    words = json.dumps(block).lower()
    assert "fid" not in words and "kid" not in words
    source, bias = describe_inception(block)
    assert f"its sha256 is {'ab' * 32}, theirs is {SHA256}" in source
    assert source.endswith("So these numbers are not FID and KID.")
    assert bias.startswith("Frechet distance in w.pth: computed from 24, 40 images.")


# torch-fidelity, by random weights in the file's form ---------------------------------------------

SIZES = (24, 20)  # of two sets of images


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A file that PyTorch wrote, of the full width, and that torch-fidelity accepts."""
    torch, _ = twins.import_fidelity()
    path = tmp_path_factory.mktemp("fid") / "random.pth"
    arrays = test_fid_inception.draw_arrays(width=1.0)
    torch.save({name: torch.from_numpy(array) for name, array in arrays.items()}, path)
    return path


def draw_both():
    """Two sets of images [n, 64, 64, 3] of other kinds."""
    return draw_blobs(SIZES[0], 0, 3, 64), draw_blobs(SIZES[1], 1, 1, 64).repeat(3, axis=-1)


def to_torch(images):
    torch, _ = twins.import_fidelity()
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))


@functools.cache
def create_extractor(path, dtype):
    """torch-fidelity's network; it takes "float64" for float32 (0.4.0), so it is cast here."""
    torch, _ = twins.import_fidelity()
    extractors = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    extractor = extractors.FeatureExtractorInceptionV3(
        "inception-v3-compat", ["2048"], feature_extractor_weights_path=str(path)
    )
    extractor.feature_extractor_internal_dtype = getattr(torch, dtype)
    return extractor.to(getattr(torch, dtype))


@functools.cache
def extract_by_peer(path, dtype):
    """The features of a few images; the extractor itself returns them as float32."""
    extractor, found = create_extractor(path, dtype), []
    handle = extractor.AvgPool.register_forward_hook(lambda *results: found.append(results[-1]))
    extractor(to_torch(draw_few()))
    handle.remove()
    return found[0].numpy()[:, :, 0, 0]


def draw_few():
    return draw_blobs(2, 2, 3, 64)


def compute_difference(path, dtype="float32", classifier=None):
    """The largest difference of a feature, as a part of the largest feature."""
    expected = extract_by_peer(path, dtype)
    assert expected.dtype == dtype
    assert np.ptp(expected, axis=0).max() > 0.02 * expected.max(), "the images look equal"
    classifier = classifier or create_fid_inception()
    with jax.enable_x64(dtype == "float64"):
        arrays = read_fid_weights(path, classifier).arrays
        variables = unflatten_dict({place: array.astype(dtype) for place, array in arrays.items()})
        extract = functools.partial(fid.extract_features, classifier, dtype=np.dtype(dtype))
        found = np.asarray(jax.jit(extract)(variables, draw_few()))
    difference = float(np.abs(found - expected).max() / np.abs(expected).max())
    print(f"{dtype}: features differ by {difference:.1e} of the largest")
    return difference


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-4), ("float64", 1e-9)])
def test_features_are_those_of_torch_fidelity(file, dtype, tolerance):
    assert compute_difference(file, dtype) < tolerance


@pytest.mark.parametrize("size", [64, 299, 300])
def test_resizing_is_that_of_torch_fidelity(size):
    twins.import_fidelity()
    peer = pytest.importorskip("torch_fidelity.interpolate_compat_tensorflow")
    images = draw_blobs(2, 3, 3, size)
    found = resize_as_tensorflow(images.astype(np.float32), 299)
    resized = peer.interpolate_bilinear_2d_like_tensorflow1x(
        to_torch(images).float(), size=(299, 299), align_corners=False
    )
    np.testing.assert_allclose(found, resized.numpy().transpose(0, 2, 3, 1), atol=1e-4)


@pytest.mark.slow
def test_fid_and_kid_are_those_of_torch_fidelity(file):
    torch, fidelity = twins.import_fidelity()

    class Images(torch.utils.data.Dataset):
        def __init__(self, images):
            self.images = to_torch(images)

        def __len__(self):
            return len(self.images)

        def __getitem__(self, index):
            return self.images[index]

    first, second = draw_both()
    expected = fidelity.calculate_metrics(
        input1=Images(first),
        input2=Images(second),
        fid=True,
        kid=True,
        kid_subset_size=min(SIZES),
        feature_extractor_weights_path=str(file),
        cuda=False,
        cache=False,
        save_cpu_ram=True,
        verbose=False,
    )
    features = read_inception_features(file)
    x, y = features(first), features(second)
    kid = compute_subset_distance(x, y)
    found = {
        "frechet_inception_distance": compute_frechet_distance(x, y),
        "kernel_inception_distance_mean": kid.mean,
        "kernel_inception_distance_std": kid.deviation,
    }
    print(found, expected)
    assert found.keys() == expected.keys()
    for key, value in found.items():
        assert value == pytest.approx(expected[key], rel=1e-3), key


# What the test of parity has to notice --------------------------------------------------------


class WithPadding(FidInceptionV3):
    """torchvision's averages, and the maximum at the end."""

    def choose_pool(self, name):
        pool = super().choose_pool(name)
        return average_with_padding if pool is average_without_padding else pool


class WithoutMaximum(FidInceptionV3):
    """An average in the last block too."""

    def choose_pool(self, name):
        return average_without_padding


@pytest.mark.slow
@pytest.mark.parametrize("kind", [WithPadding, WithoutMaximum])
def test_another_pool_would_be_noticed(file, kind):
    classifier = create_fid_inception()
    module = kind(1008, style=classifier.module.style)
    changed = dataclasses.replace(classifier, create_module=lambda axis_name: module)
    assert compute_difference(file, classifier=changed) > 1e-3


@pytest.mark.slow
def test_centers_of_pixels_in_the_resizing_would_be_noticed(file, monkeypatch):
    def resize(images, side):
        return jax.image.resize(images, (len(images), side, side, 3), "bilinear", antialias=False)

    monkeypatch.setattr(fid, "resize_as_tensorflow", resize)
    assert compute_difference(file) > 1e-3
