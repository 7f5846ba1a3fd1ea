"""Convolutions by XLA's own operation: for accelerators, and for shapes with no faster form.

All three are written as NHWC images and HWIO kernels. XLA's CPU compiler brings other orders into
this form only outside of loops; inside `lax.fori_loop` they would take a far slower path.
"""

from jax import Array, lax

from jaxgan.ops.geometry import Geometry

_ORDER = ("NHWC", "HWIO", "NHWC")


def forward(x: Array, kernel: Array, g: Geometry) -> Array:
    """Convolve: [b, *g.size, i], [k, k, i, o] -> [b, *g.out, o]."""
    return lax.conv_general_dilated(x, kernel, (g.stride,) * 2, g.padding, dimension_numbers=_ORDER)


def input_gradient(dy: Array, kernel: Array, g: Geometry) -> Array:
    """Transpose the convolution: [b, *g.out, o], [k, k, i, o] -> [b, *g.size, i]."""
    return transposed(dy, kernel[::-1, ::-1].swapaxes(2, 3), g)


def transposed(dy: Array, kernel: Array, g: Geometry) -> Array:
    """Convolve the dilated image: [b, *g.out, o], [k, k, o, i] -> [b, *g.size, i]."""
    padding = [(k - 1 - lo, k - 1 - hi) for k, (lo, hi) in zip(g.kernel, g.padding, strict=True)]
    return lax.conv_general_dilated(
        dy,
        kernel,
        (1, 1),
        padding,
        lhs_dilation=(g.stride,) * 2,
        dimension_numbers=_ORDER,
    )


def kernel_gradient(x: Array, dy: Array, g: Geometry) -> Array:
    """Differentiate by the kernel: [b, *g.size, i], [b, *g.out, o] -> [k, k, i, o]."""
    # channels are convolved as a batch, the batch as channels
    dk = lax.conv_general_dilated(
        x.transpose(3, 1, 2, 0),
        dy.transpose(1, 2, 0, 3),
        (1, 1),
        g.padding,
        rhs_dilation=(g.stride,) * 2,
        dimension_numbers=_ORDER,
    )
    return dk.transpose(1, 2, 0, 3)
