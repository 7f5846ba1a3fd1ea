"""Compressed DICOM pixels that Pillow has no decoder for, through imagecodecs.

These are JPEG of 12 bits, lossless JPEG, JPEG-LS, and the JPEG 2000 files that Pillow refuses. This
is a plugin of pydicom (see "decoding plugins" in its guide); pydicom tries its own plugins first.
imagecodecs holds libjpeg-turbo, CharLS and OpenJPEG under permissive licences. `jaxgan.data.dicom`
has checked the size in the pixels' own header before anything is decoded.
"""

import importlib.util
import threading
from typing import Any

from jaxgan.data.limits import read_stream_sizes

LABEL = "jaxgan"
_JPEG = (
    "1.2.840.10008.1.2.4.50",  # baseline
    "1.2.840.10008.1.2.4.51",  # extended: 12 bits
    "1.2.840.10008.1.2.4.57",  # lossless
    "1.2.840.10008.1.2.4.70",  # lossless, first-order prediction
)
_JPEG_LS = ("1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81")
_JPEG_2000 = ("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91")
_NEEDED = ("numpy", "imagecodecs")
DECODER_DEPENDENCIES = dict.fromkeys((*_JPEG, *_JPEG_LS, *_JPEG_2000), _NEEDED)

_lock = threading.Lock()


def is_available(uid: str) -> bool:
    """Whether `decode_frame` can be used for a transfer syntax; pydicom asks this."""
    return uid in DECODER_DEPENDENCIES and importlib.util.find_spec("imagecodecs") is not None


def register() -> None:
    """Add `decode_frame` to pydicom's decoders, once."""
    from pydicom.pixels import get_decoder
    from pydicom.uid import UID

    with _lock:
        for uid in DECODER_DEPENDENCIES:
            decoder = get_decoder(UID(uid))
            known = (*decoder.available_plugins, *decoder.missing_dependencies)
            if not any(name.startswith(LABEL) for name in known):
                decoder.add_plugin(LABEL, (__name__, "decode_frame"))


def decode_frame(stream: bytes, runner: Any) -> bytes:
    """Return a frame's pixels, with a pixel's samples next to each other, and set up `runner`."""
    pixels = _decode(stream, str(runner.transfer_syntax))
    runner.set_option("bits_allocated", 8 * pixels.dtype.itemsize)
    if pixels.ndim == 3:
        runner.set_option("planar_configuration", 0)
    if runner.photometric_interpretation in ("YBR_ICT", "YBR_RCT"):  # JPEG 2000 undoes them
        runner.set_option("photometric_interpretation", "RGB")
    return pixels.tobytes()


def _decode(stream: bytes, uid: str) -> Any:
    import imagecodecs

    if uid in _JPEG_LS:
        return imagecodecs.jpegls_decode(stream)
    if uid in _JPEG_2000:
        return imagecodecs.jpeg2k_decode(stream)
    # Keep the colour space: pydicom knows it from the header.
    space = "YCBCR" if _count(stream) == 3 else None
    return imagecodecs.jpeg8_decode(stream, colorspace=space, outcolorspace=space)


def _count(stream: bytes) -> int:
    """Return the number of components that a JPEG header names."""
    return max((components for _, _, components in read_stream_sizes(stream)), default=1)
