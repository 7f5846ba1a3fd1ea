"""Convolutions whose gradients are fast inside a loop.

XLA's CPU compiler brings a convolution into the form that its fast library takes (NHWC images,
HWIO kernels) only in a program's entry computation. The gradients that JAX derives are in another
form, so inside `lax.fori_loop`, where training runs, they fall to a path 20 to 60 times slower.
Here they are written in that form to begin with.
"""

import functools

import jax
import jax.numpy as jnp

from jaxgan.types import Array

Padding = tuple[tuple[int, int], tuple[int, int]]

_DIMENSIONS = ("NHWC", "HWIO", "NHWC")


def conv(x: Array, kernel: Array, *, strides: int = 1, padding: str | Padding = "VALID") -> Array:
    """Convolve x [batch, h, w, in] with kernel [kh, kw, in, out], as `flax.linen.Conv` does."""
    if isinstance(padding, str):
        low_high = jax.lax.padtype_to_pads(x.shape[1:3], kernel.shape[:2], (strides,) * 2, padding)
        padding = (low_high[0], low_high[1])
    return _convolve(x, kernel, strides, 1, padding)


def conv_transpose(x: Array, kernel: Array, *, strides: int = 1, padding: str = "SAME") -> Array:
    """Convolve transposed, kernel [kh, kw, in, out], as `flax.linen.ConvTranspose` does.

    'SAME' gives `strides` times the size; 'VALID' all positions that the kernel can reach.
    """
    pads = [_compute_transpose_padding(size, strides, padding) for size in kernel.shape[:2]]
    return _convolve(x, kernel, 1, strides, (pads[0], pads[1]))


def _compute_transpose_padding(size: int, strides: int, padding: str) -> tuple[int, int]:
    if padding == "VALID":
        return size - 1, strides - 1 + max(size - strides, 0)
    total = size + strides - 2
    before = size - 1 if strides > size - 1 else -(-total // 2)
    return before, total - before


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _convolve(x: Array, kernel: Array, strides: int, dilation: int, padding: Padding) -> Array:
    """Convolve with `strides` an x that has `dilation` - 1 zeros put between its pixels."""
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (strides, strides),
        padding,
        lhs_dilation=(dilation, dilation),
        dimension_numbers=_DIMENSIONS,
    )


def _convolve_forward(
    x: Array, kernel: Array, strides: int, dilation: int, padding: Padding
) -> tuple[Array, tuple[Array, Array]]:
    return _convolve(x, kernel, strides, dilation, padding), (x, kernel)


def _convolve_backward(
    strides: int, dilation: int, padding: Padding, saved: tuple[Array, Array], cotangent: Array
) -> tuple[Array, Array]:
    x, kernel = saved
    sizes = [
        _Sizes(x.shape[axis], kernel.shape[axis - 1], cotangent.shape[axis], *padding[axis - 1])
        for axis in (1, 2)
    ]
    x_padding = tuple(s.compute_x_padding(strides, dilation) for s in sizes)
    flipped = kernel[::-1, ::-1].swapaxes(2, 3)
    x_cotangent = _convolve(cotangent, flipped, dilation, strides, x_padding)
    kernel_padding = [s.compute_kernel_padding(strides, dilation) for s in sizes]
    # The batch is summed over: it takes the place of the input features.
    kernel_cotangent = jax.lax.conv_general_dilated(
        jnp.transpose(x, (3, 1, 2, 0)),
        jnp.transpose(cotangent, (1, 2, 0, 3)),
        (1, 1),
        kernel_padding,
        lhs_dilation=(dilation, dilation),
        rhs_dilation=(strides, strides),
        dimension_numbers=_DIMENSIONS,
    )
    return x_cotangent, jnp.transpose(kernel_cotangent, (1, 2, 0, 3))


_convolve.defvjp(_convolve_forward, _convolve_backward)


class _Sizes:
    """One spatial axis of a convolution: pixels in, of the kernel, out, and padded."""

    def __init__(self, x: int, kernel: int, out: int, low: int, high: int):
        self.x, self.kernel, self.out, self.low, self.high = x, kernel, out, low, high

    def compute_x_padding(self, strides: int, dilation: int) -> tuple[int, int]:
        """Return what makes the gradient with respect to x come out with x's size."""
        low = self.kernel - 1 - self.low
        spread = (self.out - 1) * strides + 1
        return low, (self.x - 1) * dilation + self.kernel - spread - low

    def compute_kernel_padding(self, strides: int, dilation: int) -> tuple[int, int]:
        """Return what makes the gradient with respect to the kernel come out with its size."""
        spread = (self.out - 1) * strides + 1
        return self.low, self.kernel - 2 - (self.x - 1) * dilation - self.low + spread
