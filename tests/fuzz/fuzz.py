"""Coverage-guided fuzzing of what reads a stranger's files: `python tests/fuzz/fuzz.py image`.

Needs atheris (`pip install 'jaxgan[fuzz]'`). Whatever a file holds, the loader, the manifest's
parser and the reader of weights have to give a result or their own error, in one line without
control characters, within 2 s of processor time and 1 GiB. Anything else stops the run and leaves
the input in --findings; make a test of it in tests/test_images.py, test_dicom.py, test_manifests.py
or test_weight_files.py: the bytes stand in the test.
"""

import argparse
import struct
import sys
import tempfile
import time
import warnings
import zlib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import atheris

# The dictionaries of DICOM are one expression each, which takes minutes to instrument.
_TABLES = [f"pydicom.{name}" for name in ("_dicom_dict", "_private_dict", "_uid_dict", "sr")]
_FUZZED = ["PIL", "pydicom", "csv", "jaxgan.data", "jaxgan.classifiers"]

with atheris.instrument_imports(include=_FUZZED, exclude=_TABLES):
    import PIL.BmpImagePlugin
    import PIL.JpegImagePlugin
    import PIL.PngImagePlugin
    import PIL.TiffImagePlugin
    import PIL.WebPImagePlugin
    import pydicom
    import pydicom.pixels

    from jaxgan.classifiers import weight_files, weight_limits
    from jaxgan.data import images, limits, manifests
    from jaxgan.data.limits import ImageError

from jaxgan.core.errors import UserError
from jaxgan.core.untrusted import printable, printable_lines
from tests import weight_samples
from tests.fuzz import seeds

MAX_SECONDS = 2.0  # of processor time: the machine may be busy with other things
MAX_MEBIBYTES = 1024
_PNG = b"\x89PNG\r\n\x1a\n"
_FILES = ("clear/a.png", "haze/b.png")


class SlowError(Exception):
    """An input took longer than it may."""


def try_image(content: bytes) -> None:
    """Hold the loader to an image or an `ImageError`."""
    try:
        image = images.read_image(content, 1)
        assert image.mode == "L" and image.width * image.height <= limits.MAX_PIXELS
    except ImageError as error:
        assert str(error) == printable(str(error)), "its reason has control characters"


def try_weights(content: bytes) -> None:
    """Hold the reader of weights to arrays or a `WeightError`."""
    try:
        for array in weight_files.parse_weights(content)[1].values():
            array.tobytes()
    except weight_limits.WeightError as error:
        assert str(error) == printable(str(error)), "its reason has control characters"


def create_manifest_trial(root: Path):
    """Return what holds the parser of manifests in `root` to rows inside it or a `UserError`."""
    for file in _FILES:
        (root / file).parent.mkdir()
        (root / file).write_bytes(b"")
    (root / "link").symlink_to("/")

    def try_manifest(content: bytes) -> None:
        try:
            rows, columns = manifests.parse_manifest(content, root / manifests.MANIFEST)
            patients, _ = manifests.match_rows(root / manifests.MANIFEST, rows, columns[-1], _FILES)
            assert all((root / file).resolve().is_relative_to(root) for file in patients)
        except UserError as error:
            assert printable_lines(str(error))

    return try_manifest


def watch(trial):
    """Return `trial` with a look at the clock."""
    slowest = 0.0

    def run(content: bytes) -> None:
        nonlocal slowest
        began = time.process_time()
        trial(content)
        seconds = time.process_time() - began
        if seconds > max(slowest, 0.1):
            slowest = seconds
            print(f"slowest so far: {seconds:.2f} s", file=sys.stderr)
        if seconds > MAX_SECONDS:
            raise SlowError(f"{seconds:.1f} s")

    return run


def mutate(content: bytes, max_size: int, seed: int) -> bytes:
    """Change an input; make the checksums of a PNG right again, or nothing behind them is met."""
    del seed
    changed = atheris.Mutate(content, len(content) or 1)
    if len(content) < max_size and len(changed) == len(content):
        changed = atheris.Mutate(changed, max_size)
    if changed.startswith(b"PK"):  # the checksums of a zip file likewise
        return weight_samples.fix_checksums(changed)[:max_size]
    return fix_checksums(changed)[:max_size] if changed.startswith(_PNG) else changed


def fix_checksums(content: bytes) -> bytes:
    """Return a PNG with the checksum of each of its chunks set right."""
    fixed, position = bytearray(content), len(_PNG)
    while position + 12 <= len(fixed):
        end = position + 8 + struct.unpack(">I", fixed[position : position + 4])[0]
        if end + 4 > len(fixed):
            break
        fixed[end : end + 4] = struct.pack(">I", zlib.crc32(fixed[position + 4 : end]))
        position = end + 4
    return bytes(fixed)


def main() -> None:
    """Read the arguments and fuzz until the time or the inputs are used up."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=["image", "manifest", "weights"])
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--findings", type=Path, default=Path("runs/fuzz"))
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")  # Pillow remarks on every damaged tag
    corpus = arguments.findings / f"{arguments.target}-corpus"  # a later run goes on from it
    corpus.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch).resolve()
        beginnings, trial = {
            "image": (seeds.make_images, try_image),
            "manifest": (lambda: seeds.MANIFESTS, create_manifest_trial(root)),
            "weights": (weight_samples.make_files, try_weights),
        }[arguments.target]
        for name, content in beginnings().items():
            (corpus / name).write_bytes(content)
        options = [
            f"-runs={arguments.inputs}",
            f"-max_total_time={round(arguments.minutes * 60)}",
            f"-rss_limit_mb={MAX_MEBIBYTES}",
            f"-malloc_limit_mb={MAX_MEBIBYTES}",
            f"-artifact_prefix={arguments.findings}/{arguments.target}-",
            "-max_len=32768" if arguments.target == "weights" else "-max_len=8192",
            "-timeout=300",  # of wall time: only a hang for good
            "-print_final_stats=1",
            str(corpus),
        ]
        atheris.Setup([sys.argv[0], *options], watch(trial), custom_mutator=mutate)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
