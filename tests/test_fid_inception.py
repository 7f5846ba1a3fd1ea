"""The network of FID: its pools, by hand; its file, and the files that are taken for it."""

import functools

import numpy as np
import pytest

from jaxgan.classifiers import fid_inception, weights
from jaxgan.classifiers.fid_inception import (
    average_without_padding,
    create_fid_inception,
    read_fid_weights,
    scale_about_128,
    take_maximum,
)
from jaxgan.classifiers.inception import average_with_padding
from jaxgan.classifiers.torch_names import name_arrays
from jaxgan.core.errors import UserError
from tests import weight_samples

WIDTH = 0.05
NARROW = create_fid_inception(WIDTH)


@functools.cache
def name_places(width):
    classifier = create_fid_inception(width)
    assert classifier.torch_names is not None
    return name_arrays(classifier.torch_names, weights.create_shapes(classifier))


def draw_arrays(width=WIDTH):
    """All arrays of a file, drawn so that a swap of any two of batch norm would be seen."""
    rng = np.random.default_rng(0)
    ranges = {"weight": (0.7, 1.3), "bias": (-0.3, 0.3)}
    ranges |= {"running_mean": (-0.1, 0.1), "running_var": (0.6, 1.4)}
    arrays = {}
    for name, place in name_places(width).items():
        if len(place.shape) == 1:
            array = rng.uniform(*ranges[name.rpartition(".")[2]], place.shape)
        else:
            array = rng.normal(size=place.shape) * np.sqrt(2 / np.prod(place.shape[1:]))
        arrays[name] = array.astype(np.float32)
    return arrays


def write(path, arrays, pack=weight_samples.pack_torch):
    path.write_bytes(pack(arrays))
    return path


def make_maps():
    return np.arange(1.0, 17.0, dtype=np.float32).reshape(1, 4, 4, 1)


def test_an_average_is_of_the_pixels_in_the_maps():
    x = make_maps()
    found = np.asarray(average_without_padding(x))[0, ..., 0]
    assert found[0, 0] == (1 + 2 + 5 + 6) / 4
    assert found[0, 1] == (1 + 2 + 3 + 5 + 6 + 7) / 6
    assert found[1, 1] == 6.0
    counted = np.asarray(average_with_padding(x))[0, ..., 0]
    assert counted[0, 0] == pytest.approx((1 + 2 + 5 + 6) / 9)
    assert counted[1, 1] == 6.0


def test_the_maximum_of_negative_maps_is_no_padding():
    found = np.asarray(take_maximum(-make_maps()))[0, ..., 0]
    assert found.shape == (4, 4)
    assert found[0, 0] == -1.0 and found[3, 3] == -11.0 and found[1, 1] == -1.0


def test_the_last_block_alone_takes_the_maximum():
    module = NARROW.module
    pools = {name: module.choose_pool(name) for name in ("Mixed_5b", "Mixed_6e", "Mixed_7b")}
    assert set(pools.values()) == {average_without_padding}
    assert module.choose_pool("Mixed_7c") is take_maximum


def test_levels_are_scaled_about_128():
    found = scale_about_128(np.array([0, 128, 255], np.uint8))
    np.testing.assert_array_equal(found, [-1.0, 0.0, 127 / 128])


def test_the_published_network_has_the_arrays_of_its_file():
    """Five of each of 94 convolutions, two of the head: 95.5 MB, as the file has."""
    places = name_places(1.0)
    assert len(places) == 94 * 5 + 2
    assert sum(4 * np.prod(place.shape) for place in places.values()) == 95_541_568
    assert places["fc.weight"].shape == (1008, 2048)


@pytest.mark.parametrize("pack", [weight_samples.pack_torch, weight_samples.pack_torch_legacy])
def test_each_array_is_read_once_and_the_head_is_left_out(tmp_path, pack):
    arrays = draw_arrays()
    start = read_fid_weights(write(tmp_path / "w.pth", arrays, pack), NARROW)
    assert start.drawn == ()
    assert sorted(start.left_out) == ["fc.bias", "fc.weight"]
    assert len(start.arrays) == len(arrays) - 2
    kernel = start.arrays["params", "Mixed_7c", "branch_pool", "conv", "kernel"]
    expected = arrays["Mixed_7c.branch_pool.conv.weight"].transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(kernel, expected)
    variance = start.arrays["batch_stats", "Conv2d_1a_3x3", "bn", "var"]
    np.testing.assert_array_equal(variance, arrays["Conv2d_1a_3x3.bn.running_var"])


def test_counters_of_batches_are_left_out(tmp_path):
    counter = {"Conv2d_1a_3x3.bn.num_batches_tracked": np.array(0)}
    start = read_fid_weights(write(tmp_path / "w.pth", draw_arrays() | counter), NARROW)
    assert set(start.left_out) == {"fc.bias", "fc.weight", *counter}


def cut_head(arrays):
    return {**arrays, "fc.weight": arrays["fc.weight"][:1000], "fc.bias": arrays["fc.bias"][:1000]}


def without(arrays, name):
    return {key: array for key, array in arrays.items() if key != name}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (cut_head, r"torchvision's Inception v3: it has 1000 outputs\. FID has .* 1008 outputs"),
        (
            lambda arrays: cut_head(arrays) | {"AuxLogits.fc.bias": arrays["fc.bias"]},
            r"it has 1000 outputs and an auxiliary head \(AuxLogits\)",
        ),
        (
            lambda arrays: arrays | {"AuxLogits.fc.bias": arrays["fc.bias"]},
            r"it has 1008 outputs and an auxiliary head",
        ),
        (lambda arrays: without(arrays, "fc.weight"), r"it does not have fc\.weight"),
        (lambda arrays: without(arrays, "Mixed_6a.branch3x3.bn.bias"), "it does not have Mixed_6a"),
        (
            lambda arrays: arrays | {"fc2.bias": arrays["fc.bias"]},
            r"has no place for its fc2\.bias",
        ),
        (lambda arrays: arrays | {"fc.bias": arrays["fc.bias"][:5]}, "of other shapes: fc.bias"),
    ],
)
def test_another_network_is_refused(tmp_path, change, sentence):
    path = write(tmp_path / "w.pth", change(draw_arrays()))
    with pytest.raises(UserError, match=sentence):
        read_fid_weights(path, NARROW)


def test_the_sha256_begins_as_the_name_of_the_file_says():
    assert len(fid_inception.SHA256) == 64 and fid_inception.SHA256.startswith("6726825d")
