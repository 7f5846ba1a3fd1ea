"""The project's own TFDS data sets, folder and phantom: prepared once, read without TensorFlow.

Importing this module imports tensorflow_datasets (about a second): import it where it is needed.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
import socket
import struct
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import tensorflow_datasets as tfds
from PIL import Image
from tensorflow_datasets.core.utils import tqdm_utils

from jaxgan.data import phantom
from jaxgan.data.folder import FolderImage, FolderScan, compute_key
from jaxgan.data.images import (
    decode_image,
    encode_png,
    map_in_threads,
    measure_files,
    progress_bar,
    shrink_to,
)
from jaxgan.data.limits import ImageError, read_file, unusable_images_error
from jaxgan.data.values import (
    AS_STORED,
    ASKED,
    Range,
    View,
    choose_ranges,
    describe_few_grays,
    describe_ranges,
    describe_ways,
    no_numbers_error,
)
from jaxgan.errors import UserError, find_disk_error
from jaxgan.files import make_folder, telling_disk_errors, write_text

FORMAT_VERSION = 4  # raise it when the prepared files change, so that caches are made again
INDEX_FILE = "index.json"  # the records and the notices, so that reading needs no second pass


class Record(NamedTuple):
    """One prepared image without its pixels: where it lies and what is known of it."""

    split: str  # of the prepared data
    position: int  # in that split
    label: int
    file: str
    patient: str
    sha256: str  # of the source
    aspect: float = 1.0  # its width over its height


@dataclass(frozen=True)
class PreparedSet:
    """A prepared data set on disk; `sources` are TFDS data sources whose images stay encoded."""

    class_names: tuple[str, ...]
    records: tuple[Record, ...]
    sources: Mapping[str, Any]
    image_key: str
    notices: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...] = ()  # files that could not be used, and why
    view: View = AS_STORED  # how numbers of more than 8 bits are shown
    fit: str = "crop"  # how images that are not square are made so

    def read(self, record: Record) -> bytes:
        """Return the encoded image of a record."""
        return self.sources[record.split][record.position][self.image_key]


class _ImageBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """What the two builders share: the features, and silence on standard output."""

    VERSION = tfds.core.Version("1.0.0")

    def __init__(self, *, class_names: Sequence[str], channels: int, **kwargs: Any):
        self._class_names, self._channels = list(class_names), channels
        self.notices: list[str] = []
        self.skipped: list[tuple[str, str]] = []
        self.ranges: dict[str, Range] = {}
        super().__init__(**kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        features = {
            "image": tfds.features.Image(shape=(None, None, self._channels), encoding_format="png"),
            "label": tfds.features.ClassLabel(names=self._class_names),
            "file": tfds.features.Text(),
            "patient": tfds.features.Text(),
            "sha256": tfds.features.Text(),  # of the source, whatever size and channels are stored
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description=type(self).__doc__,
            features=tfds.features.FeaturesDict(features),
            supervised_keys=("image", "label"),
        )

    def _log_download_bytes(self) -> None:
        """Print nothing: there is no download."""

    def _log_download_done(self) -> None:
        """Print nothing: there was no download."""


class FolderBuilder(_ImageBuilder, skip_registration=True):  # type: ignore[call-arg]
    """Images of a folder, by class, with their patients where these are known."""

    def __init__(
        self,
        *,
        scan: FolderScan,
        channels: int,
        stored_side: int,
        skip_bad: bool,
        view: View,
        **kwargs: Any,
    ):
        self._scan, self._stored_side, self._skip_bad = scan, stored_side, skip_bad
        self._view = view
        self._bad: list[tuple[str, ImageError]] = list(scan.unusable)
        self._ways: dict[str, str] = {}
        self._grays: dict[str, int | None] = {}
        super().__init__(class_names=scan.class_names, channels=channels, **kwargs)

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        del dl_manager
        if self._view.asked is None:
            self._find_ranges()
        splits = self._scan.splits or ("train",)
        return {split: self._generate_examples(split, splits[-1]) for split in splits}

    def _find_ranges(self) -> None:
        """Look over all images first, so that those of one kind are shown alike."""
        files = [image.file for image in self._scan.images]
        spreads = measure_files({file: self._scan.root / file for file in files})
        self.ranges = choose_ranges(list(spreads.values()))
        self._view = View(ranges=self.ranges)
        self.notices += describe_ranges(spreads, self.ranges)

    def _generate_examples(self, split: str, last_split: str) -> Iterator[tuple[str, dict]]:
        images = [image for image in self._scan.images if image.split == split]
        results = map_in_threads(self._prepare, images)
        num_good = 0
        for result in progress_bar(results, title=f"preparing {split}", total=len(images)):
            if isinstance(result, ImageError):
                continue
            num_good += 1
            yield result["file"], result
        # collected over all splits, so that the user mends every file at once
        if num_good == 0 or (split == last_split and self._bad and not self._skip_bad):
            raise self._create_error()
        if split == last_split:
            self.skipped += [(file, str(error)) for file, error in sorted(self._bad, key=_by_file)]
            if self._view.asked is not None and ASKED not in self._ways.values():
                raise no_numbers_error()
            self.notices += describe_ways(list(self._ways.values()))
            self.notices += describe_few_grays(self._grays)

    def _create_error(self) -> UserError:
        num_images = len(self._scan.images) + len(self._scan.unusable)
        remedy = (
            "So a split would be empty: repair them, then run this again."
            if self._skip_bad
            else "Repair or remove them, then run this again, or leave them out with "
            "--on_bad_image=skip."
        )
        bad = sorted(self._bad, key=_by_file)
        return unusable_images_error(bad, num_images=num_images, remedy=remedy)

    def _prepare(self, image: FolderImage) -> dict[str, Any] | ImageError:
        """Return the example of one file, or why there is none."""
        try:
            content = read_file(self._scan.root / image.file)
            decoded = decode_image(content, self._channels, self._view)
        except ImageError as error:
            self._bad.append((image.file, error))
            return error
        self._ways[image.file], self._grays[image.file] = decoded.way, decoded.num_grays
        return {
            "image": encode_png(shrink_to(decoded.image, self._stored_side)),
            "label": image.label,
            "file": image.file,
            "patient": image.patient if image.patient is not None else image.file,
            "sha256": hashlib.sha256(content).hexdigest(),
        }


def _by_file(bad: tuple[str, ImageError]) -> str:
    return bad[0]


class PhantomBuilder(_ImageBuilder, skip_registration=True):  # type: ignore[call-arg]
    """Chest films that the program draws itself: no patient was ever in front of this detector."""

    def __init__(
        self,
        *,
        counts: Mapping[str, Mapping[str, int]],
        seed: int,
        subtlety: float,
        channels: int,
        **kwargs: Any,
    ):
        self._plan = phantom.plan_splits(counts=counts, seed=seed)
        self._seed, self._subtlety = seed, subtlety
        super().__init__(class_names=sorted(counts["train"]), channels=channels, **kwargs)

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        del dl_manager
        return {split: self._generate_examples(split) for split in self._plan}

    def _generate_examples(self, split: str) -> Iterator[tuple[str, dict]]:
        films = self._plan[split]
        drawn = map_in_threads(self._draw, films)
        for example in progress_bar(drawn, title=f"drawing {split}", total=len(films)):
            yield example["file"], example

    def _draw(self, film: phantom.PhantomFilm) -> dict[str, Any]:
        pixels = phantom.draw_film(
            seed=self._seed,
            patient=film.patient,
            film=film.film,
            finding=film.finding,
            subtlety=self._subtlety,
        )
        image = Image.fromarray(pixels).convert("L" if self._channels == 1 else "RGB")
        return {
            "image": encode_png(image),
            "label": self._class_names.index(film.finding),
            "file": f"{film.finding}/{film.patient_id}_{film.film}.png",
            "patient": film.patient_id,
            "sha256": hashlib.sha256(pixels.tobytes()).hexdigest(),
        }


def prepare_folder(
    scan: FolderScan,
    *,
    channels: int,
    stored_side: int,
    cache: Path,
    skip_bad: bool = False,
    view: View = AS_STORED,
) -> PreparedSet:
    """Return the prepared form of a scanned folder, made now unless `cache` has it.

    Unless `view` asks for a range, the one of each kind is found (see `jaxgan.data.values`).

    Raises one `UserError` that lists every image that cannot be used, unless `skip_bad` asks for a
    set without them, which then lists them itself.
    """
    key = compute_key(scan, [FORMAT_VERSION, channels, stored_side, skip_bad, view.asked])

    def create(data_dir: Path) -> FolderBuilder:
        return FolderBuilder(
            scan=scan,
            channels=channels,
            stored_side=stored_side,
            skip_bad=skip_bad,
            view=view,
            data_dir=data_dir,
        )

    prepared = _prepare_once(create, cache / "folder" / key)
    return dataclasses.replace(prepared, view=View(view.asked, prepared.view.ranges))


def prepare_phantom(
    *,
    counts: Mapping[str, Mapping[str, int]],
    seed: int,
    subtlety: float,
    channels: int,
    cache: Path,
) -> PreparedSet:
    """Return the prepared phantom, drawn now unless `cache` has it."""
    plain_counts = {split: dict(by_finding) for split, by_finding in counts.items()}
    settings = [FORMAT_VERSION, phantom.PHANTOM_VERSION, plain_counts, seed, subtlety, channels]
    key = hashlib.sha256(repr(settings).encode()).hexdigest()[:32]

    def create(data_dir: Path) -> PhantomBuilder:
        return PhantomBuilder(
            counts=counts, seed=seed, subtlety=subtlety, channels=channels, data_dir=data_dir
        )

    return _prepare_once(create, cache / "phantom" / key)


def _prepare_once(create: Callable[[Path], _ImageBuilder], target: Path) -> PreparedSet:
    """Prepare beside `target`, then rename: what bears the final name is always complete.

    Of two processes that prepare the same data at once, the first to finish wins.
    """
    with telling_disk_errors(target):
        is_prepared = target.is_dir()
    if not is_prepared:
        make_folder(target.parent)
        _remove_abandoned(target)
        beside = target.with_name(f"{target.name}.{_owner()}.{uuid.uuid4().hex[:8]}")
        try:
            _prepare(create(beside))
            _rename_unless_taken(beside, target)
        except UserError:
            raise
        except Exception as error:  # TFDS and ArrayRecord have errors of their own for a full disk
            disk_error = find_disk_error(target, error)
            if disk_error is None:
                raise
            raise disk_error from None
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    return _read_prepared(target)


def _list_records(sources: Mapping[str, Any]) -> list[Record]:
    """Return what is known of every image of the prepared splits."""
    return [
        Record(
            split=split,
            position=position,
            label=int(example["label"]),
            file=example["file"].decode(),
            patient=example["patient"].decode(),
            sha256=example["sha256"].decode(),
            aspect=_read_aspect(example["image"]),
        )
        for split, source in sources.items()
        for position, example in enumerate(source)
    ]


def _read_aspect(png: bytes) -> float:
    """Return width over height out of the head of a PNG: PNG 3rd edition, 11.2.1."""
    width, height = struct.unpack(">2I", png[16:24])
    return float(width / height)


def _read_prepared(target: Path) -> PreparedSet:
    """Return what was prepared under `target`, with every record but no pixels in memory."""
    (info,) = target.glob("*/*/dataset_info.json")
    builder = tfds.builder_from_directory(info.parent)
    index = json.loads((target / INDEX_FILE).read_text())
    return PreparedSet(
        class_names=tuple(builder.info.features["label"].names),
        records=tuple(Record(*row) for row in index["records"]),
        sources={split: open_encoded(builder, split, "image") for split in builder.info.splits},
        image_key="image",
        notices=tuple(index["notices"]),
        skipped=tuple((file, reason) for file, reason in index["skipped"]),
        view=View(ranges={kind: (low, high) for kind, (low, high) in index["ranges"].items()}),
    )


def open_encoded(builder: Any, split: str, image_key: str) -> Any:
    """Return the TFDS data source of a split, with images as the bytes that were stored."""
    return builder.as_data_source(split, decoders={image_key: tfds.decode.SkipDecoding()})


def _prepare(builder: _ImageBuilder) -> None:
    """Write the images, and the index of them, under the builder's data directory."""
    with _without_tfds_bars():
        builder.download_and_prepare(file_format="array_record")
    sources = {split: open_encoded(builder, split, "image") for split in builder.info.splits}
    index = {
        "notices": builder.notices,
        "skipped": builder.skipped,
        "ranges": builder.ranges,
        "records": _list_records(sources),
    }
    write_text(Path(builder.data_dir_root) / INDEX_FILE, json.dumps(index))


@contextlib.contextmanager
def _without_tfds_bars() -> Iterator[None]:
    """Silence TFDS's progress bars, which show even where there is no terminal; ours remain."""
    was_shown = tqdm_utils._active
    tfds.disable_progress_bar()
    try:
        yield
    finally:
        tqdm_utils._active = was_shown


def _rename_unless_taken(beside: Path, target: Path) -> None:
    try:
        beside.rename(target)
    except OSError:
        if not target.is_dir():  # anything but another process having finished first
            raise


def _owner() -> str:
    return f"{socket.gethostname()}.{os.getpid()}"


def _remove_abandoned(target: Path) -> None:
    """Remove what killed processes of this machine left of this preparation."""
    host = f".{socket.gethostname()}."
    for path in target.parent.glob(f"{target.name}{host}*"):
        pid = path.name.removeprefix(f"{target.name}{host}").split(".")[0]
        if pid.isdigit() and not _is_running(int(pid)):
            shutil.rmtree(path, ignore_errors=True)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it runs, under another user
        return True
    return True
