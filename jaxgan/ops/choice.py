"""Choose the form that computes a convolution on a CPU.

Measured on two cores of an AMD EPYC (AVX2, 0.5 MB of L2 each), jax 0.10.2, float32, on the layers
of DCGAN at 64x64 (batch 64) and of GMD at 150x150 (batch 8). Every alternative ran in turn in one
process, both single products and full training steps, inside `lax.fori_loop`:

- 3x3, stride 1: m = 4 was faster than m = 2 in every product (113 to 89, 112 to 92, 80 to 60
  effective GFLOP/s per core at 148x148x256 -> 128). Tiles should stay in cache: blocks of 4 MB
  against 14 MB ran at 140 to 121 there, and all at once was far slower. But an image of 6 MB is
  best not divided (184 to 152 at 71x71x128). A block should not be smaller than the transformed
  kernel, which is read for each block.
- 4x4, stride 2: all at once, although blocks are faster by up to a fifth in a single product. A
  forward product and the kernel gradient transform the same image, the two gradients the same
  cotangent. XLA finds the equal work and does it once if it is not inside its own loop. The full
  step took 750 ms with m = 4 (m = 2 at results of 4x4, where tiles of 4 are too few to fill a
  matrix product), 994 ms with m = 2 everywhere, 869 to 902 ms with the best form of each product
  in blocks.
- Fewer than 32 tiles in a batch: the transformed kernel costs more than the tiles save. Drawing one
  image took 16 ms by Winograd, 6 ms by XLA's convolution; four 18 and 10 ms.
- Layers of ResNet-18 at 64x64, batch 32, two cores of an Intel Xeon (CPU time, busy machine).
  With 2x2 results of 512 channels, XLA's convolution took seconds (forward, and the gradient by the
  image). Winograd's form with tiles of 4 took 61, 90 and 34 ms, gathered windows 11, 6 and 7 ms.
  A kernel of one pixel is one matrix product: it took 0.4 to 0.9 ms, by XLA 0.6 to 1.9 ms.
- Fewer than 8 channels: gathering windows is as fast forward and 5 times as fast in the kernel
  gradient (14 to 68 ms at 64x64x3 -> 64).
"""

import dataclasses
import math

from jaxgan.ops.geometry import Geometry
from jaxgan.ops.pointwise import is_pointwise

_MIN_CHANNELS = 8
_MIN_TILES = 32
_TINY = 2  # pixels on the side of a result
# Bytes of transformed images: those that stay in cache, and the limit if sharing saves time.
_CACHED_BYTES = 6 << 20
_SHARED_BYTES = 512 << 20


@dataclasses.dataclass(frozen=True)
class Winograd:
    """Winograd's form: tiles of m x m results, in blocks of `images`, or of `rows` of tiles.

    None means all at once; `rows` are of one image at a time.
    """

    m: int
    images: int | None = None
    rows: int | None = None


@dataclasses.dataclass(frozen=True)
class Direct:
    """One matrix product over gathered windows."""


@dataclasses.dataclass(frozen=True)
class Library:
    """XLA's convolution."""


@dataclasses.dataclass(frozen=True)
class Pointwise:
    """One matrix product over pixels."""


Form = Winograd | Direct | Library | Pointwise


def choose(product: str, g: Geometry, batch: int, inputs: int, outputs: int) -> Form:
    """Choose the form of a product: 'forward', 'input_gradient' or 'kernel_gradient'.

    The `batch` of an exported program is a symbol (any number of images). It uses XLA's form.
    """
    if not isinstance(batch, int):
        return Library()
    if min(batch, *g.size, *g.out, inputs, outputs) < 1:
        return Library()
    if g.out == (1, 1) and g.stride == 1:
        return Direct()
    if is_pointwise(g):
        return Pointwise()
    if max(g.out) <= _TINY and _is_slow_in_library(product, g):
        return Direct()
    if (g.kernel, g.stride) not in {((3, 3), 1), ((4, 4), 2)}:
        return Library()
    if min(inputs, outputs) < _MIN_CHANNELS:
        return Direct()
    m = 2 if g.stride == 2 and min(g.out) < 8 else 4
    if batch * math.prod(-(-n // m) for n in g.out) < _MIN_TILES:
        return Library()
    return _choose_blocks(product, g, batch, inputs, outputs, m)


def _is_slow_in_library(product: str, g: Geometry) -> bool:
    """Whether XLA's convolution of tiny maps takes a slow path for this product."""
    if g.kernel != (3, 3):
        return False
    return g.stride == 1 or (g.stride == 2 and product == "input_gradient")


def _choose_blocks(
    product: str, g: Geometry, batch: int, inputs: int, outputs: int, m: int
) -> Winograd:
    """Divide the work into equal blocks of about the fastest measured size."""
    kernel, image = _transformed_sizes(g, inputs, outputs, m)
    block = max(_SHARED_BYTES if g.stride == 2 else _CACHED_BYTES, kernel)
    if batch * image <= block:
        return Winograd(m)
    if image <= block or g.stride == 2:
        images = max(block // image, 1)
        return Winograd(m, math.ceil(batch / math.ceil(batch / images)))
    tile_rows = _tile_rows(g, product, m)
    rows = max(block * tile_rows // image, 1)
    return Winograd(m, 1, math.ceil(tile_rows / math.ceil(tile_rows / rows)))


def _tile_rows(g: Geometry, product: str, m: int) -> int:
    """Count the rows of tiles in an image."""
    result = g.size if product == "input_gradient" else g.out
    return math.ceil(result[0] / m)


def _transformed_sizes(g: Geometry, inputs: int, outputs: int, m: int) -> tuple[int, int]:
    """Count the bytes of a transformed kernel, and of a transformed image, in float32."""
    places = (m + g.kernel[0] // g.stride - 1) ** 2
    channels = g.stride**2 * inputs
    tiles = math.ceil(g.out[0] / m) * math.ceil(g.out[1] / m)
    kernel = 4 * places * channels * outputs
    return kernel, 4 * places * tiles * max(channels, outputs)
