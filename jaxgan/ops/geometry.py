"""Where a convolution's windows lie: sizes, stride and padding, resolved once."""

import dataclasses
import math

Sizes = tuple[int, ...]
Pads = tuple[tuple[int, int], ...]
Padding = str | tuple[tuple[int, int], tuple[int, int]]


@dataclasses.dataclass(frozen=True)
class Geometry:
    """A convolution's sizes: `size` of the image, `out` of the result, `kernel`, each (h, w).

    `low` is the padding before the image. The padding after it follows from the other fields, and
    is negative if no window contains the last rows.
    """

    size: Sizes
    out: Sizes
    kernel: Sizes
    stride: int
    low: Sizes

    def padding_to(self, out: Sizes) -> Pads:
        """Padding with which the windows of `out` results cover the image exactly."""
        return tuple(
            (low, self.stride * (n - 1) + k - low - size)
            for size, n, k, low in zip(self.size, out, self.kernel, self.low, strict=True)
        )

    @property
    def padding(self) -> Pads:
        """Padding with which the windows cover the image exactly."""
        return self.padding_to(self.out)


def widen(g: Geometry) -> Geometry:
    """Return a 3x3 convolution of stride 2 as a 4x4 convolution; others are unchanged.

    The kernel gets one more row and column of zeros. Then it covers equally many pixels of every
    phase.
    """
    is_odd = (g.kernel, g.stride) == ((3, 3), 2)
    return dataclasses.replace(g, kernel=(4, 4)) if is_odd else g


def conv_geometry(size: Sizes, kernel: Sizes, stride: int, padding: Padding) -> Geometry:
    """Resolve the padding of `flax.linen.Conv` on an image of `size`."""
    axes = list(zip(size, kernel, strict=True))
    if padding == "SAME":
        out = tuple(math.ceil(n / stride) for n in size)
        spans = [stride * (n - 1) + k for n, k in zip(out, kernel, strict=True)]
        low = tuple(max(span - n, 0) // 2 for span, n in zip(spans, size, strict=True))
        return Geometry(size, out, kernel, stride, low)
    pads = ((0, 0), (0, 0)) if padding == "VALID" else _explicit(padding)
    low = tuple(lo for lo, _ in pads)
    out = tuple(
        max((n + lo + hi - k) // stride + 1, 0) for (n, k), (lo, hi) in zip(axes, pads, strict=True)
    )
    return Geometry(size, out, kernel, stride, low)


def conv_transpose_geometry(size: Sizes, kernel: Sizes, stride: int, padding: Padding) -> Geometry:
    """Resolve the padding of `flax.linen.ConvTranspose`; give the convolution it transposes."""
    if padding == "SAME":
        pads: Pads = tuple(_same_transposed(k, stride) for k in kernel)
    elif padding == "VALID":
        pads = tuple((k - 1, stride - 1 + max(k - stride, 0)) for k in kernel)
    else:
        pads = _explicit(padding)
    axes = list(zip(size, kernel, pads, strict=True))
    large = tuple(stride * (n - 1) + 2 - k + lo + hi for n, k, (lo, hi) in axes)
    low = tuple(k - 1 - lo for _, k, (lo, _) in axes)
    return Geometry(large, size, kernel, stride, low)


def _same_transposed(kernel: int, stride: int) -> tuple[int, int]:
    """Give lax.conv_transpose's padding of the dilated image, one axis."""
    total = kernel + stride - 2
    low = kernel - 1 if stride > kernel - 1 else math.ceil(total / 2)
    return low, total - low


def _explicit(padding: Padding) -> Pads:
    if isinstance(padding, str):
        raise ValueError(
            f"padding must be 'SAME', 'VALID' or ((top, bottom), (left, right)), not {padding!r}"
        )
    (top, bottom), (left, right) = padding
    return (top, bottom), (left, right)
