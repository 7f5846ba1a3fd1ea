"""Films that others made: the test files of pydicom and of pydicom-data."""

import re
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file, get_testdata_files
from pydicom.pixels import apply_color_lut, apply_rescale, apply_voi_lut, pixel_array

from jaxgan.data import compressed
from jaxgan.data.images import decode_image, measure_image
from jaxgan.data.limits import ImageError
from jaxgan.data.values import MIN_GRAYS, View, choose_ranges

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

ELEMENT = re.compile(r"\([0-9A-F]{4},[0-9A-F]{4}\)")
ENOUGH_PIXELS = 1024
# What pydicom reads and jaxgan does not, with the reason that is true.
REFUSED = {"image_dfl.dcm": "deflated"}


def read_as_pydicom(film) -> np.ndarray:
    """What pydicom gives: rescale, window, palette, and high for white."""
    pixels, kind = pixel_array(film), film.PhotometricInterpretation
    if kind == "PALETTE COLOR":
        return np.asarray(apply_color_lut(pixels, film), float)
    if film.SamplesPerPixel > 1:
        return np.asarray(pixels, float)
    values = np.asarray(apply_voi_lut(apply_rescale(pixels, film), film), float)
    return -values if kind == "MONOCHROME1" else values


def read_as_data_set(path: Path, channels: int) -> np.ndarray:
    """What a data set of this film alone comes to."""
    spread = measure_image(path)
    view = View(ranges=choose_ranges([spread] if spread else []))
    return np.asarray(decode_image(path, channels, view).image, float)


def find_films() -> tuple[dict[Path, np.ndarray], list[Path]]:
    """The films of one frame that pydicom reads, with what it gives; and the other files."""
    compressed.register()
    films, others = {}, []
    for path in sorted(set(map(Path, get_testdata_files("**/*")))):
        if not path.is_file():
            continue
        try:
            film = pydicom.dcmread(path, force=True)
            given = read_as_pydicom(film)
            has_one_frame = given.shape[:2] == (film.Rows, film.Columns)
        except Exception:
            has_one_frame = False
        if has_one_frame:
            films[path] = given
        else:
            others.append(path)
    return films, others


def is_flat(pixels: np.ndarray) -> bool:
    return float(np.ptp(pixels)) == 0.0


def test_what_pydicom_reads_is_read_with_its_values():
    films, _ = find_films()
    assert len(films) > 100
    wrong = {}
    for path, given in films.items():
        try:
            found = read_as_data_set(path, 3 if given.ndim == 3 else 1)
        except ImageError as error:
            if not (REFUSED.get(path.name, "-") in str(error) and ELEMENT.search(str(error))):
                wrong[path.name] = str(error)
            continue
        is_large = given.shape[0] * given.shape[1] >= ENOUGH_PIXELS
        if found.shape != given.shape or is_flat(found) != is_flat(given):
            wrong[path.name] = f"{found.shape} {np.ptp(found)}"
        elif not is_flat(given):
            # A film of 16 x 16 with an outlier has few steps: rounding alone costs it more.
            least = 0.999 if is_large else 0.997
            correlation = np.corrcoef(found.ravel(), given.ravel())[0, 1]
            lacks_grays = len(np.unique(given)) >= MIN_GRAYS > len(np.unique(found))
            if correlation < least or (is_large and lacks_grays):
                wrong[path.name] = f"{correlation:.4f}, {len(np.unique(found))} grays"
    assert wrong == {}


def test_what_pydicom_does_not_read_has_a_reason():
    """Several frames, no pixels, damaged, no DICOM at all; or read, where only its head lacks."""
    _, others = find_films()
    assert len(others) > 50
    for path in others:
        try:
            read_as_data_set(path, 1)
        except ImageError as error:
            assert ELEMENT.search(str(error)) or "is not a PNG" in str(error), (path.name, error)
        else:
            assert path.name == "OT-PAL-8-face.dcm"


@pytest.mark.parametrize(
    ("name", "same", "least"),
    [
        ("SC_rgb_jpeg_gdcm.dcm", "SC_rgb.dcm", 1.0),  # lossless JPEG
        ("MR_small_jpeg_ls_lossless.dcm", "MR_small.dcm", 1.0),
        ("SC_rgb_jls_lossy_line.dcm", "SC_rgb.dcm", 0.999),
        ("SC_rgb_jls_lossy_sample.dcm", "SC_rgb.dcm", 0.999),
        ("JPGExtended.dcm", "JPEG-LL.dcm", 0.98),  # 12 bits, lossy
        ("JPEG-lossy.dcm", "JPEG-LL.dcm", 0.98),
        ("OBXXXX1A_expb.dcm", "OBXXXX1A.dcm", 0.999),  # it came out wholly black
        ("SC_rgb_16bit.dcm", "SC_rgb.dcm", 0.999),
        ("gdcm-US-ALOKA-16_big.dcm", "gdcm-US-ALOKA-16.dcm", 1.0),  # a palette in segments
    ],
)
def test_one_image_in_two_forms_is_one_image(name, same, least):
    found, expected = (read_as_data_set(Path(get_testdata_file(file)), 3) for file in (name, same))
    if least == 1.0:
        np.testing.assert_array_equal(found, expected)
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] >= least
