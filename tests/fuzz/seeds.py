"""Small files of every kind that the loader reads: where fuzzing, and the tests of it, begin."""

import io
from typing import Any

import numpy as np
import pydicom
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

IDENTITY = {"PatientID": "MRN-4711", "PatientName": "Doe^Jane", "PatientBirthDate": "19700101"}


def encode(image: Image.Image, file_format: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def make_film(
    pixels=None, *, syntax=ExplicitVRLittleEndian, bits: Any = None, **elements: Any
) -> bytes:
    """A DICOM film of `pixels` (unsigned or signed, 8 or 16 bits) with further elements."""
    if pixels is None:
        pixels = np.arange(20, dtype=np.uint16).reshape(4, 5)
    film = Dataset()
    film.file_meta = FileMetaDataset()
    film.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian if syntax == RLELossless else syntax
    film.file_meta.MediaStorageSOPClassUID = film.SOPClassUID = UID("1.2.840.10008.5.1.4.1.1.1.1")
    film.file_meta.MediaStorageSOPInstanceUID = film.SOPInstanceUID = UID("1.2.3")
    film.Rows, film.Columns = pixels.shape[:2]
    film.SamplesPerPixel = 1 if pixels.ndim == 2 else 3
    film.PhotometricInterpretation = "MONOCHROME2" if pixels.ndim == 2 else "RGB"
    if pixels.ndim == 3:
        film.PlanarConfiguration = 0
    film.BitsAllocated = 8 * pixels.itemsize
    film.BitsStored = bits or film.BitsAllocated
    film.HighBit = film.BitsStored - 1
    film.PixelRepresentation = int(pixels.dtype.kind == "i")
    for name, value in {**IDENTITY, **elements}.items():
        setattr(film, name, value)
    raw = pixels.tobytes()
    film.add_new("PixelData", "OB" if pixels.itemsize == 1 else "OW", raw + b"\0" * (len(raw) % 2))
    if syntax == RLELossless:
        film.compress(RLELossless)
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, film, enforce_file_format=True)
    return buffer.getvalue()


def make_table(*values: int, first: int = 0, bits: int = 8) -> Dataset:
    """One item of a VOI or modality LUT sequence."""
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [len(values), first, bits])
    item.add_new("LUTData", "US", list(values))
    item.ModalityLUTType = "US"
    return item


def make_images() -> dict[str, bytes]:
    """One small file of each kind, by a name for it."""
    rng = np.random.default_rng(0)
    gray = Image.fromarray(rng.integers(0, 256, (9, 7), dtype=np.uint8))
    rgb = Image.fromarray(rng.integers(0, 256, (9, 7, 3), dtype=np.uint8))
    deep = Image.fromarray(rng.integers(0, 65536, (9, 7)).astype(np.uint16))
    rgba = rgb.copy()
    rgba.putalpha(gray)
    exif = Image.Exif()
    exif[0x0112] = 6
    kinds = {"gray": gray, "rgb": rgb, "palette": rgb.quantize(8), "bit": gray.convert("1")}
    files = {
        f"{kind}.{form}": encode(image, form)
        for kind, image in kinds.items()
        for form in ("png", "bmp", "tiff")
    }
    files |= {
        "alpha.png": encode(rgba, "PNG"),
        "deep.png": encode(deep, "PNG"),
        "deep.tiff": encode(deep, "TIFF"),
        "turned.jpeg": encode(gray, "JPEG", exif=exif),
        "progressive.jpeg": encode(rgb, "JPEG", progressive=True),
        "cmyk.jpeg": encode(rgb.convert("CMYK"), "JPEG"),
        "lossy.webp": encode(rgb, "WEBP"),
        "lossless.webp": encode(rgba, "WEBP", lossless=True),
        "moving.webp": encode(rgb, "WEBP", save_all=True, append_images=[rgb.rotate(180)]),
        "moving.png": encode(rgb, "PNG", save_all=True, append_images=[rgb.rotate(180)]),
        "pages.tiff": encode(gray, "TIFF", save_all=True, append_images=[gray]),
    }
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        files[f"{compression}.tiff"] = encode(rgb, "TIFF", compression=compression)
    files["group4.tiff"] = encode(gray.convert("1"), "TIFF", compression="group4")
    return {**files, **make_films()}


def make_films() -> dict[str, bytes]:
    rng = np.random.default_rng(1)
    gray = rng.integers(0, 256, (4, 5), dtype=np.uint8)
    deep = rng.integers(0, 4096, (4, 5)).astype(np.uint16)
    window = {"WindowCenter": "2000", "WindowWidth": "3000"}
    rescale = {"RescaleSlope": "2", "RescaleIntercept": "-1024"}
    return {
        "plain.dcm": make_film(gray),
        "implicit.dcm": make_film(deep, syntax=ImplicitVRLittleEndian, bits=12),
        "windowed.dcm": make_film(deep, bits=12, **window, **rescale),
        "sigmoid.dcm": make_film(deep, bits=12, VOILUTFunction="SIGMOID", **window),
        "inverted.dcm": make_film(deep, bits=12, PhotometricInterpretation="MONOCHROME1"),
        "signed.dcm": make_film(deep.astype(np.int16) - 2048, **window),
        "voi.dcm": make_film(gray, VOILUTSequence=[make_table(*range(0, 256, 2))]),
        "modality.dcm": make_film(gray, ModalityLUTSequence=[make_table(*range(200))]),
        "colour.dcm": make_film(rng.integers(0, 256, (4, 6, 3), dtype=np.uint8)),
        "rle.dcm": make_film(deep, syntax=RLELossless),
        "frames.dcm": make_film(deep, NumberOfFrames="2"),
        "wide.dcm": make_film(deep.astype(np.uint32) << 8),
        "deep_colour.dcm": make_film(rng.integers(0, 4096, (4, 6, 3)).astype(np.uint16)),
        "headless.dcm": make_film(deep, bits=12)[132:],
    }


MANIFESTS = {
    "plain": b"file,patient\nclear/a.png,anna\nhaze/b.png,bert\n",
    "quoted": b'\xef\xbb\xbffile,"patient_id"\r\n"clear/a.png","a ""b"", c"\r\nhaze/b.png,d\r\n',
    "out": b"file,patient\n../a.png,anna\n/etc/passwd,bert\nlink/b.png,carl\nhaze/b.png,d\n",
    "formula": b"file,patient\nclear/a.png,=1+1\nhaze/b.png,\x1b[2J\n",
}
