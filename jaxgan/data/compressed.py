"""Compressed DICOM pixels that Pillow has no decoder for, through imagecodecs.

JPEG of 12 bits, lossless JPEG, JPEG-LS, and what Pillow refuses of JPEG 2000: a plugin of pydicom's
(its guide, "decoding plugins"), which comes after those that pydicom has itself. imagecodecs holds
libjpeg-turbo, CharLS and OpenJPEG under permissive licences. What is decoded has been checked by
`jaxgan.data.dicom`, which knows the size that the pixels claim in their own header.
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
    """Tell pydicom whether `decode_frame` can be used for a transfer syntax."""
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
    """Return the pixels of a frame, a colour's samples side by side, and tell `runner` so."""
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
    # Of colours the same space in and out: pydicom knows by the header what they are.
    space = "YCBCR" if _count(stream) == 3 else None
    return imagecodecs.jpeg8_decode(stream, colorspace=space, outcolorspace=space)


def _count(stream: bytes) -> int:
    """Return the number of components that a JPEG tells."""
    return max((components for _, _, components in read_stream_sizes(stream)), default=1)
