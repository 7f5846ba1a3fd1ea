"""Convolutions against a plain float64 sum, and against linen.

Error bounds are relative to the same product of absolute values, the scale at which rounding acts.
Winograd's F(4x4, 3x3) may lose a factor of 40 over direct summation, all other forms less than 10.
"""

import functools
import itertools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jaxgan import ops
from jaxgan.ops import choice, convolution, direct, library, pointwise, pooling, winograd
from jaxgan.ops.geometry import conv_geometry, conv_transpose_geometry
from tests.xla_flags import EMITTED_AS_AT_USERS

FLOAT32_BOUND = 4e-6  # 34 roundings
FLOAT64_BOUND = 1e-14


# --- the reference: sums over kernel places, in float64


def pad(x, pads):
    x = np.pad(x, [(0, 0), *((max(lo, 0), max(hi, 0)) for lo, hi in pads), (0, 0)])
    cuts = [slice(max(-lo, 0), x.shape[i + 1] - max(-hi, 0)) for i, (lo, hi) in enumerate(pads)]
    return x[:, cuts[0], cuts[1]]


def places(g):
    for p, q in itertools.product(*map(range, g.kernel)):
        rows, columns = (
            slice(a, a + g.stride * (n - 1) + 1, g.stride)
            for a, n in zip((p, q), g.out, strict=True)
        )
        yield p, q, rows, columns


def reference_forward(x, k, g):
    x = pad(x, g.padding)
    return sum(x[:, rows, columns] @ k[p, q] for p, q, rows, columns in places(g))


def reference_input_gradient(dy, k, g):
    spans = [g.stride * (n - 1) + size for n, size in zip(g.out, g.kernel, strict=True)]
    dx = np.zeros((dy.shape[0], *spans, k.shape[2]))
    for p, q, rows, columns in places(g):
        dx[:, rows, columns] += dy @ k[p, q].T
    return pad(dx, [(-lo, -hi) for lo, hi in g.padding])


def reference_kernel_gradient(x, dy, g):
    x = pad(x, g.padding)
    dk = np.zeros((*g.kernel, x.shape[3], dy.shape[3]))
    for p, q, rows, columns in places(g):
        dk[p, q] = np.tensordot(x[:, rows, columns], dy, ((0, 1, 2), (0, 1, 2)))
    return dk


REFERENCES = {
    "forward": reference_forward,
    "input_gradient": reference_input_gradient,
    "kernel_gradient": reference_kernel_gradient,
}


def operands(product, g, batch, inputs, outputs, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(batch, *g.size, inputs))
    k = rng.normal(size=(*g.kernel, inputs, outputs))
    dy = rng.normal(size=(batch, *g.out, outputs))
    return {"forward": (x, k), "input_gradient": (dy, k), "kernel_gradient": (x, dy)}[product]


def assert_close(found, product, a, b, g, bound):
    expected = REFERENCES[product](a, b, g)
    scale = REFERENCES[product](np.abs(a), np.abs(b), g)
    assert found.shape == expected.shape
    assert np.abs(np.asarray(found) - expected).max() <= bound * scale.max()


# --- every form of every product


@st.composite
def layers(draw):
    kernel, stride = draw(st.sampled_from([(3, 1), (4, 2)]))
    size = draw(st.tuples(st.integers(1, 20), st.integers(1, 20)))
    pads = st.tuples(st.integers(0, 3), st.integers(0, 3))
    padding = draw(st.one_of(st.sampled_from(["SAME", "VALID"]), st.tuples(pads, pads)))
    resolve = draw(st.sampled_from([conv_geometry, conv_transpose_geometry]))
    g = resolve(size, (kernel, kernel), stride, padding)
    return g, draw(st.integers(1, 5)), draw(st.integers(1, 9)), draw(st.integers(1, 9))


forms = st.one_of(
    st.just(None),
    st.builds(
        choice.Winograd,
        m=st.sampled_from([2, 4]),
        images=st.one_of(st.none(), st.integers(1, 3)),
        rows=st.one_of(st.none(), st.integers(1, 3)),
    ),
)


@pytest.mark.parametrize("product", REFERENCES)
@settings(max_examples=12, suppress_health_check=list(HealthCheck))
@given(layer=layers(), form=forms)
def test_every_form_equals_the_sum(product, layer, form):
    g, batch, *channels = layer
    if min(*g.size, *g.out) < 1:
        return
    if form is None:
        compute = getattr(direct, product)
    else:
        # XLA of jax 0.10.2 miscompiles some products of fewer channels in float64, where the same
        # code uncompiled is right; `choice` takes no Winograd form for them
        channels = [7 + num for num in channels]
        compute = functools.partial(getattr(winograd, product), form=form)
    a, b = operands(product, g, batch, *channels)
    with jax.enable_x64(True):
        assert_close(
            jax.jit(functools.partial(compute, g=g))(a, b), product, a, b, g, FLOAT64_BOUND
        )


@pytest.mark.parametrize("product", REFERENCES)
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (4, 2)])
def test_chosen_form_is_exact_in_float32_at_many_channels(product, kernel, stride):
    g = conv_geometry((19, 16), (kernel, kernel), stride, "SAME")
    a, b = operands(product, g, 6, 96, 40)
    form = choice.choose(product, g, 6, 96, 40)
    assert isinstance(form, choice.Winograd)
    compute = functools.partial(getattr(winograd, product), g=g, form=form)
    found = jax.jit(compute)(a.astype(np.float32), b.astype(np.float32))
    assert_close(found, product, a, b, g, FLOAT32_BOUND)


@pytest.mark.parametrize("product", REFERENCES)
def test_library_form_equals_the_sum(product):
    for g in (
        conv_geometry((9, 7), (5, 3), 2, ((1, 2), (0, 1))),
        conv_transpose_geometry((4, 6), (4, 4), 2, "SAME"),
    ):
        a, b = operands(product, g, 2, 3, 4)
        with jax.enable_x64(True):
            found = jax.jit(functools.partial(getattr(library, product), g=g))(a, b)
        assert_close(found, product, a, b, g, FLOAT64_BOUND)


# --- the public functions


def normal(seed, *shape):
    """Draw by numpy: XLA takes up to half a minute to compile jax.random for some shapes."""
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


CASES: dict[str, tuple[Any, ...]] = {
    "3x3 same": (ops.conv, 3, 1, "SAME", (9, 10), 8, 9),
    "3x3 valid": (ops.conv, 3, 1, "VALID", (11, 8), 9, 8),
    "4x4/2": (ops.conv, 4, 2, ((1, 1), (1, 1)), (16, 8), 8, 12),
    "4x4/2 odd": (ops.conv, 4, 2, "SAME", (9, 7), 8, 8),
    "thin": (ops.conv, 4, 2, "SAME", (8, 8), 3, 8),
    "head": (ops.conv, 4, 1, "VALID", (4, 4), 16, 1),
    "no fast form": (ops.conv, 5, 2, "SAME", (9, 9), 3, 4),
    "transpose 4x4/2": (ops.conv_transpose, 4, 2, "SAME", (4, 8), 12, 8),
    "transpose 4x4/2 valid": (ops.conv_transpose, 4, 2, "VALID", (3, 5), 8, 8),
    "transpose explicit": (ops.conv_transpose, 4, 2, ((2, 1), (1, 3)), (5, 4), 8, 8),
    "transpose 3x3": (ops.conv_transpose, 3, 1, "SAME", (7, 6), 8, 8),
    "transpose thin": (ops.conv_transpose, 4, 2, "SAME", (8, 8), 8, 3),
    "stem": (ops.conv_transpose, 4, 1, "VALID", (1, 1), 10, 16),
}


def linen_module(fn, kernel, stride, padding, outputs):
    module = nn.Conv if fn is ops.conv else nn.ConvTranspose
    return module(outputs, (kernel, kernel), (stride, stride), padding=padding, use_bias=False)


@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients_equal_linen_on_the_same_parameters(case):
    fn, kernel, stride, padding, size, inputs, outputs = CASES[case]
    module = linen_module(fn, kernel, stride, padding, outputs)
    x = normal(0, 3, *size, inputs)
    variables = {"params": {"kernel": normal(1, kernel, kernel, inputs, outputs)}}
    shapes = functools.partial(jax.tree.map, lambda leaf: (leaf.shape, leaf.dtype))
    assert shapes(jax.eval_shape(module.init, jax.random.key(0), x)) == shapes(variables)
    # an argument, not a constant: XLA would fold the transforms of a constant, slowly
    g = normal(2, *jax.eval_shape(module.apply, variables, x).shape)

    def both(variables, x, g):
        results = []
        for convolve in (
            lambda v, x: module.apply(v, x),
            lambda v, x: fn(x, v["params"]["kernel"], strides=stride, padding=padding),
        ):
            y, vjp = jax.vjp(convolve, variables, x)
            results.append((y, vjp(g)))
        return results

    expected, found = jax.jit(both)(variables, x, g)
    for a, b in zip(jax.tree.leaves(expected), jax.tree.leaves(found), strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(b, a, atol=2e-5 * float(jnp.abs(a).max()) + 1e-12, rtol=0)


@pytest.mark.parametrize("case", ["stem", "transpose 4x4/2"])
@pytest.mark.parametrize("num", [1, 7, 9])
def test_few_images_and_many_are_transposed_alike(case, num):
    """Few have a form of their own: one product a tap, on the kernel as it lies."""
    _, size, stride, padding, (h, w), inputs, outputs = CASES[case]
    x, kernel = normal(0, num, h, w, inputs), normal(1, size, size, inputs, outputs)
    found = ops.conv_transpose(x, kernel, strides=stride, padding=padding)
    expected = jax.lax.conv_transpose(x, kernel, (stride, stride), padding)
    np.testing.assert_allclose(found, expected, atol=2e-5 * float(jnp.abs(expected).max()), rtol=0)


@pytest.mark.parametrize("case", ["3x3 same", "4x4/2", "transpose 4x4/2", "stem", "thin"])
def test_second_derivatives_equal_the_library(case):
    """A gradient penalty: differentiate the norm of a gradient."""
    fn, kernel, stride, padding, size, inputs, outputs = CASES[case]
    module = linen_module(fn, kernel, stride, padding, outputs)
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        x = rng.normal(size=(2, *size, inputs))
        k = rng.normal(size=(kernel, kernel, inputs, outputs))

        def penalty(convolve, x, k):
            def loss(x, k):
                return jnp.sum(jnp.tanh(convolve(x, k)))

            dx, dk = jax.grad(loss, (0, 1))(x, k)
            return jnp.sum(dx**2) + jnp.sum(dk**3)

        ours = functools.partial(fn, strides=stride, padding=padding)
        module = module.clone(param_dtype=jnp.float64)
        theirs = lambda x, k: module.apply({"params": {"kernel": k}}, x)  # noqa: E731
        found = jax.jit(jax.grad(functools.partial(penalty, ours), (0, 1)))(x, k)
        expected = jax.jit(jax.grad(functools.partial(penalty, theirs), (0, 1)))(x, k)
    for a, b in zip(expected, found, strict=True):
        np.testing.assert_allclose(b, a, atol=1e-11 * float(np.abs(a).max()), rtol=0)


def test_vmap_scan_and_pmap_equal_a_plain_call():
    x = normal(0, 2, 3, 8, 8, 8)
    k = normal(1, 2, 4, 4, 8, 8)

    def value_and_gradients(x, k):
        def loss(x, k):
            y = ops.conv_transpose(
                ops.conv(x, k, strides=2, padding="SAME"), k, strides=2, padding="SAME"
            )
            return jnp.sum(jnp.sin(y))

        return jax.value_and_grad(loss, (0, 1))(x, k)

    plain = jax.jit(value_and_gradients)
    expected = jax.tree.map(lambda *leaves: jnp.stack(leaves), *map(plain, x, k))
    scanned = jax.jit(
        lambda x, k: jax.lax.scan(lambda c, xk: (c, value_and_gradients(*xk)), 0, (x, k))[1]
    )
    for transformed in (
        jax.jit(jax.vmap(value_and_gradients)),
        scanned,
        jax.pmap(value_and_gradients),
    ):
        for a, b in zip(jax.tree.leaves(expected), jax.tree.leaves(transformed(x, k)), strict=True):
            np.testing.assert_allclose(b, a, atol=1e-5 * float(jnp.abs(a).max()), rtol=0)


def test_half_precision_is_computed_in_float32():
    x = normal(0, 4, 12, 12, 16).astype(jnp.bfloat16)
    k = normal(1, 3, 3, 16, 16).astype(jnp.bfloat16)
    # As users compile: the tests' quicker emitter may add in another order in the two programs.
    conv = jax.jit(
        functools.partial(ops.conv, strides=1, padding="SAME"),
        compiler_options=EMITTED_AS_AT_USERS,
    )
    found = conv(x, k)
    assert found.dtype == jnp.bfloat16
    expected = conv(x.astype(jnp.float32), k.astype(jnp.float32))
    np.testing.assert_array_equal(found, expected.astype(jnp.bfloat16))


def test_one_platform_compiles_one_form():
    """XLA's convolution is for accelerators; its code must not be compiled beside ours on a CPU."""
    x, k = jnp.ones((8, 8, 8, 8)), jnp.ones((3, 3, 8, 8))
    conv = jax.jit(functools.partial(ops.conv, strides=1, padding="SAME"))
    assert "convolution(" not in conv.lower(x, k).as_text()
    exported = jax.export.export(conv, platforms=["cuda"])(x, k)
    assert "convolution(" in exported.mlir_module()


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="found \\(2, 8, 8, 3\\) and \\(3, 3, 4, 8\\)"):
        ops.conv(jnp.ones((2, 8, 8, 3)), jnp.ones((3, 3, 4, 8)), strides=1, padding="SAME")
    with pytest.raises(ValueError, match="'CIRCULAR'"):
        ops.conv(jnp.ones((2, 8, 8, 3)), jnp.ones((3, 3, 3, 8)), strides=1, padding="CIRCULAR")


@pytest.mark.parametrize("product", REFERENCES)
@pytest.mark.parametrize(("size", "stride"), [((3, 4), 1), ((5, 4), 2), ((7, 8), 3)])
def test_a_kernel_of_one_pixel_equals_the_sum(product, size, stride):
    g = conv_geometry(size, (1, 1), stride, "VALID")
    assert choice.choose(product, g, 2, 3, 5) == choice.Pointwise()
    a, b = operands(product, g, 2, 3, 5)
    with jax.enable_x64(True):
        found = getattr(pointwise, product)(jnp.asarray(a), jnp.asarray(b), g)
        assert_close(found, product, a, b, g, FLOAT64_BOUND)


@pytest.mark.parametrize("size", [(4, 4), (3, 4)])
def test_tiny_maps_of_a_kernel_with_stride_equal_the_sum(size):
    """By a kernel with one more row and column of zeros."""
    product, g = "input_gradient", conv_geometry(size, (3, 3), 2, ((1, 1), (1, 1)))
    assert choice.choose(product, g, 2, 9, 10) == choice.Direct()
    a, b = operands(product, g, 2, 9, 10)
    with jax.enable_x64(True):
        found = convolution._dispatch(product, jnp.asarray(a), jnp.asarray(b), g, (9, 10))
        assert_close(found, product, a, b, g, FLOAT64_BOUND)


def test_a_kernel_of_one_pixel_with_padding_is_left_to_the_library():
    g = conv_geometry((4, 4), (1, 1), 1, ((1, 1), (1, 1)))
    assert choice.choose("forward", g, 2, 3, 5) == choice.Library()


# --- pooling


@pytest.mark.parametrize(
    ("size", "strides", "pads"),
    [
        (3, 2, ((1, 1), (1, 1))),
        (3, 1, ((1, 1), (1, 1))),
        (3, 2, ((0, 1), (0, 2))),
        (2, 2, ((0, 0), (0, 1))),
    ],
)
def test_pooling_of_any_window_equals_linen_even_for_ties(size, strides, pads):
    x = np.round(normal(0, 2, 6, 7, 3))
    theirs = functools.partial(
        nn.max_pool, window_shape=(size, size), strides=(strides, strides), padding=pads
    )
    expected, pull = jax.vjp(theirs, x)
    found, ours = jax.vjp(lambda x: pooling.max_pool(x, size, strides, pads), x)
    np.testing.assert_array_equal(found, expected)
    g = normal(1, *found.shape)
    np.testing.assert_allclose(ours(g)[0], pull(g)[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [(4, 6), (5, 7), (73, 2)])
def test_max_pool_equals_linen_even_for_ties(size):
    # few distinct values, so that most windows hold their maximum more than once
    x = np.round(normal(0, 2, *size, 3))
    expected, theirs = jax.vjp(lambda x: nn.max_pool(x, (2, 2), (2, 2)), x)
    found, ours = jax.vjp(ops.max_pool_2x2, x)
    np.testing.assert_array_equal(found, expected)
    g = normal(1, *found.shape)
    np.testing.assert_array_equal(ours(g)[0], theirs(g)[0])
