"""ONNX: every family and every operation gives what JAX gives, by ONNX Runtime."""

import dataclasses
import functools
import typing

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import onnxruntime
import optax
import pytest
from jax import lax

from jaxgan.classifiers.step import create_classifier_state
from jaxgan.core.errors import UserError
from jaxgan.core.settings import read_settings, to_dict
from jaxgan.gans import families
from jaxgan.gans.protocol import Given, describe_shapes
from jaxgan.networks import onnx_writer
from jaxgan.networks.onnx_writer import OPSET, to_onnx
from jaxgan.networks.programs import Argument, Program
from jaxgan.ops.pixels import scale_to_bytes
from tests.helpers import make_dcgan_settings
from tests.test_classifiers import VALUES, make_settings
from tests.test_protocol import make_settings as make_family_settings


def run_onnx(content, program, arrays):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    named = {a.name: array for a, array in zip(program.arguments, arrays, strict=True)}
    (found,) = session.run([program.output], named)
    return found


def draw_variables(shapes):
    """Return variables of these shapes, variances above 0; this compiles nothing."""
    draw = np.random.default_rng(0)

    def draw_one(path, shape):
        values = draw.standard_normal(shape.shape) / max(np.prod(shape.shape[:-1]), 1.0) ** 0.5
        is_variance = jax.tree_util.keystr(path).endswith("['var']")
        return jnp.asarray(np.abs(values) + 0.1 if is_variance else values, shape.dtype)

    return jax.tree_util.tree_map_with_path(draw_one, shapes)


def compare(program, draw, tolerance=1e-4):
    """Compare batches of five and of one; what is computed for an image depends on it alone."""
    content, arrays = to_onnx(program, {}), draw(5)
    expected = np.asarray(program.create_function()(*arrays), np.float64)
    assert np.ptp(expected) > 0.0
    for num in (5, 1):
        found = run_onnx(content, program, [array[:num] for array in arrays])
        assert found.shape == (num, *expected.shape[1:])
        limit = tolerance * np.abs(expected).max()
        np.testing.assert_allclose(found, expected[:num], rtol=0.0, atol=limit)


# Single operations -------------------------------------------------------------------------------

AXES = ("NHWC", "HWIO", "NHWC")
KERNEL = np.random.default_rng(0).standard_normal((3, 3, 2, 4)).astype(np.float32)
GROUPED = KERNEL.reshape(3, 3, 1, 8)[..., :2]
TABLE = np.random.default_rng(0).standard_normal((7, 5)).astype(np.float32)


def convolve(x, kernel, strides, padding, **options):
    return lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=AXES, **options)


OPERATIONS = {
    "same": lambda x: convolve(x, KERNEL, (1, 1), "SAME"),
    "strides": lambda x: convolve(x, KERNEL, (2, 1), ((1, 0), (2, 1))),
    "cut off": lambda x: convolve(x, KERNEL, (2, 2), ((0, -1), (-2, 1))),
    "dilated kernel": lambda x: convolve(x, KERNEL, (1, 1), "SAME", rhs_dilation=(2, 2)),
    "groups": lambda x: convolve(x, GROUPED, (1, 1), "SAME", feature_group_count=2),
    "transposed": lambda x: convolve(x, KERNEL, (1, 1), ((1, 2), (2, 0)), lhs_dilation=(2, 3)),
    "maximum of windows": lambda x: lax.reduce_window(
        x, -jnp.inf, lax.max, (1, 3, 2, 1), (1, 2, 1, 1), ((0, 0), (1, 0), (0, 1), (0, 0))
    ),
    "sum of windows": lambda x: lax.reduce_window(
        x, 0.0, lax.add, (1, 3, 3, 1), (1, 1, 2, 1), ((0, 0), (1, 1), (1, 0), (0, 0))
    ),
    "slices": lambda x: lax.slice(x, (0, 1, 0, 0), (x.shape[0], 6, 7, 2), (1, 2, 1, 1)),
    "sums": lambda x: jnp.sum(x, axis=(1, 2)) - jnp.max(x, axis=(1, 3)).sum(1, keepdims=True),
    "batched product": lambda x: jnp.einsum("bhwc,bhvc->bhwv", x, 2 * x),
    "expanded": lambda x: x.mean(axis=(1, 2), keepdims=True) + jnp.ones((3, 2, 1)),
    "expanded batch": lambda x: jnp.concatenate(
        [
            lax.slice_in_dim(x, 0, 1, axis=-1),
            jnp.broadcast_to(jnp.arange(7.0)[:, None], (*x.shape[:-1], 1)),
        ],
        axis=-1,
    ),
    "curves": lambda x: jnp.tanh(x) + lax.erf(x) + jax.nn.sigmoid(x) + jnp.exp(-(x * x)),
    "choice": lambda x: jnp.where(x < 0.1, jnp.round(x * 3), x.transpose(0, 2, 1, 3)),
    "vectors": lambda x: x.reshape(x.shape[0], -1),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_gives_what_jax_gives(name):
    program = Program("f", (Argument("x", (7, 7, 2), "float32"),), "y", OPERATIONS[name])
    compare(program, lambda num: [np.random.default_rng(num).standard_normal((num, 7, 7, 2), "f")])


def test_rows_of_a_table_are_taken():
    program = Program("f", (Argument("i", (), "int32"),), "y", lambda i: jnp.asarray(TABLE)[i])
    compare(program, lambda num: [np.arange(num, dtype=np.int32) + 1])


def test_the_file_is_of_the_promised_version_and_holds_the_notes():
    program = Program("f", (Argument("x", (3,), "float32"),), "y", lambda x: x + 1.0)
    model = onnx.load_from_string(to_onnx(program, {"notice": "synthetic"}))
    assert [o.version for o in model.opset_import] == [OPSET]
    assert {p.key: p.value for p in model.metadata_props} == {"notice": "synthetic"}
    (entry,) = model.graph.input
    assert entry.type.tensor_type.shape.dim[0].dim_param == "batch"


REFUSED = {
    "'sort'": lambda x: jnp.sort(x),
    "kernel of a convolution": lambda x: convolve(x, x.sum(0)[..., None], (1, 1), "SAME"),
    "wide margins": lambda x: convolve(x, KERNEL, (1, 1), ((3, 3), (0, 0)), lhs_dilation=(2, 2)),
    "other axes than height and width": lambda x: lax.reduce_window(
        x, -jnp.inf, lax.max, (1, 1, 1, 2), (1, 1, 1, 1), "VALID"
    ),
}


@pytest.mark.parametrize("words", REFUSED)
def test_what_is_not_known_is_a_sentence_that_names_the_other_format(words):
    program = Program("f", (Argument("x", (7, 7, 2), "float32"),), "y", REFUSED[words])
    with pytest.raises(UserError, match=rf"{words}.*give --format=stablehlo"):
        to_onnx(program, {})


def test_without_the_package_the_sentence_names_the_extra(monkeypatch):
    monkeypatch.setattr(onnx_writer, "is_installed", lambda: False)
    program = Program("f", (Argument("x", (3,), "float32"),), "y", lambda x: x)
    with pytest.raises(UserError, match=r"pip install -e '\.\[onnx\]'"):
        to_onnx(program, {})


def test_weights_beyond_the_limit_of_the_format_are_a_sentence(monkeypatch):
    monkeypatch.setattr(onnx_writer, "_BYTES_LIMIT", 10)
    program = Program("f", (Argument("x", (3,), "float32"),), "y", lambda x: x + np.ones(3, "f"))
    with pytest.raises(UserError, match="an ONNX file holds at most 10"):
        to_onnx(program, {})


# Families ----------------------------------------------------------------------------------------


def create_classifier_program(name):
    """The logits of a family, with variables of its shapes: probabilities may be all 0 and 1."""
    classifier = make_settings(name).classifier.create(2)
    create = functools.partial(create_classifier_state, classifier=classifier)
    bound = functools.partial(create, optimizer=optax.sgd(0.1))
    variables = draw_variables(jax.eval_shape(bound, jax.random.key(0)).variables)
    side = classifier.input.image_size

    def compute(images):
        seen = classifier.input.scale(images)
        return classifier.module.apply(variables, seen, train=False).logits

    shape = (side, side, classifier.input.channels)
    return Program("classify", (Argument("images", shape, "uint8"),), "logits", compute)


# The fast tests of tests/test_export.py have GMD and DCGAN.
@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in VALUES if name != "toy"])
def test_every_family_of_classifiers_gives_the_same_logits(name):
    program = create_classifier_program(name)
    shape = program.arguments[0].shape
    compare(program, lambda n: [np.random.default_rng(n).integers(0, 256, (n, *shape), np.uint8)])


def create_gan_settings(name):
    dcgan = make_dcgan_settings().gan
    if name == "conditional":
        return dataclasses.replace(dcgan, num_classes=3)
    if name == "mlp":
        own = {"pixel_dropout": 0.2, "unit_dropout": 0.5, "maxout_pieces": 2}
        values = {**to_dict(dcgan), "family": "mlp", **own}
        del values["discriminator_norm"]
        return read_settings(families.MlpSettings, values)
    if name == "projected":
        own = {"eye_variant": 0, "eye_weights": "random", "eye_size": 64, "projection_width": 4}
        values = {**to_dict(dcgan), "family": name, **own}
        del values["discriminator_norm"]
        return read_settings(families.ProjectedSettings, values)
    return dcgan if name == "dcgan" else make_family_settings(name).gan


def list_gans():
    """Every family, and DCGAN of several classes; only the smallest is fast."""
    names = [member.family for member in typing.get_args(families.GanSettings)]
    slow = [name for name in (*names, "conditional") if name != "mlp"]
    return ["mlp", *(pytest.param(name, marks=pytest.mark.slow) for name in slow)]


@pytest.mark.parametrize("name", list_gans())
def test_every_family_of_gans_gives_the_same_pixels(name):
    settings = create_gan_settings(name)
    gan = settings.create(2)
    variables = draw_variables(gan.get_networks(describe_shapes(gan)).generator)
    seeds = jnp.arange(1, dtype=jnp.uint32)
    num_latents = jax.eval_shape(gan.draw_latents, jax.random.key(0), seeds).shape[1]
    arguments = [Argument("latents", (num_latents,), "float32")]
    if settings.num_classes:
        arguments.append(Argument("labels", (), "int32"))

    def compute(latents, labels=None):
        return scale_to_bytes(gan.generate(variables, latents, Given(labels)))

    def draw(num):
        latents = np.random.default_rng(num).standard_normal((num, num_latents), "f")
        return [latents, np.arange(num, dtype=np.int32) % 3][: len(arguments)]

    # A pixel at the border between two grays may fall to either side.
    compare(Program("draw", tuple(arguments), "images", compute), draw, tolerance=1.01 / 255)


def test_bfloat16_is_computed_in_float32():
    kernel = jnp.asarray(KERNEL, jnp.bfloat16)

    def compute(x):
        return convolve(x.astype(jnp.bfloat16), kernel, (1, 1), "SAME").astype(jnp.float32)

    program = Program("f", (Argument("x", (7, 7, 2), "float32"),), "y", compute)
    draw = np.random.default_rng
    compare(program, lambda n: [draw(n).standard_normal((n, 7, 7, 2), "f")], tolerance=2e-2)
