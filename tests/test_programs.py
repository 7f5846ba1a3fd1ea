"""Exported programs: any number of images, both platforms, nothing of one machine inside."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from jaxgan.networks.programs import PLATFORMS, Argument, Program, to_stablehlo
from jaxgan.ops import conv, conv_transpose, max_pool_2x2
from jaxgan.ops.depthwise import depthwise_conv


def create_program():
    """One of each operation that has a form of its own on a CPU."""
    draw = np.random.default_rng(0).standard_normal
    first, each, back = (
        jnp.asarray(draw(shape, np.float32)) for shape in ((3, 3, 1, 8), (3, 3, 1, 8), (4, 4, 8, 8))
    )

    def compute(images):
        x = conv(images.astype(jnp.float32), first, strides=1, padding="VALID")
        x = max_pool_2x2(depthwise_conv(x, each, strides=1))
        return conv_transpose(x, back, strides=2, padding="SAME")

    return Program("compute", (Argument("images", (10, 10, 1), "uint8"),), "maps", compute)


@pytest.fixture(scope="module")
def exported():
    return export.deserialize(bytearray(to_stablehlo(create_program())))


@pytest.mark.parametrize("num", [1, 9])
def test_any_number_of_images_gives_what_the_function_gives(exported, num):
    images = np.random.default_rng(1).integers(0, 256, (num, 10, 10, 1), np.uint8)
    expected = np.asarray(create_program().create_function()(images))
    found = np.asarray(exported.call(images))
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


def test_it_is_for_cpu_and_cuda_and_calls_nothing_of_one_platform(exported):
    assert exported.platforms == PLATFORMS
    called = set(re.findall(r"custom_call @(\w+)", exported.mlir_module()))
    assert called == {"shape_assertion"}  # JAX removes it when it knows the batch
    assert exported.fun_name == "compute"


def test_the_shapes_have_a_symbol_as_batch():
    (shape,) = create_program().list_shapes()
    assert str(shape.shape) == "(batch, 10, 10, 1)" and shape.dtype == np.uint8


def test_a_bound_batch_and_a_symbol_choose_equal_values():
    """The forms for a known batch stay: only a symbol leaves them out."""
    program = create_program()
    traced = program.create_function().trace(jax.ShapeDtypeStruct((64, 10, 10, 1), np.uint8))
    symbolic = program.create_function().trace(*program.list_shapes())
    assert len(str(traced.jaxpr)) > len(str(symbolic.jaxpr))
