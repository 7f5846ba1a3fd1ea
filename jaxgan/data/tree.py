"""Read a tree of folders: find those that are splits, classes and patients, or no data.

No image is decoded here. An image that would not be used is an error: no image of a user is left
out in silence.
"""

import functools
import os
import shlex
import stat
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from jaxgan.core.errors import UserError, list_some
from jaxgan.core.untrusted import printable
from jaxgan.data import dicom
from jaxgan.data.headings import simplify
from jaxgan.data.limits import ImageError, list_lines

_JPEGS = (".jpg", ".jpeg", ".jfif", ".jpe")
ENDINGS = (".png", *_JPEGS, ".bmp", ".tif", ".tiff", ".webp", ".dcm", ".dicom")
# Also images, but of formats that are not read: they must not be left out in silence.
_OTHER_ENDINGS = (
    *(".gif", ".jp2", ".j2k", ".jpx", ".jxl", ".heic", ".heif", ".avif"),
    *(".pgm", ".ppm", ".pbm", ".pnm", ".nii", ".nii.gz", ".nrrd", ".mha", ".mhd"),
)
SPLITS = ("train", "val", "test")
MIN_TRAIN_IMAGES = 10

LAYOUTS = (
    f"DIR/train/CLASS/* and DIR/val/CLASS/* (DIR/test/CLASS/* if there is one), or DIR/CLASS/*, "
    f"or DIR/* of one class, or DIR/* and a table with a label for each; with images that end in "
    f"{', '.join(ENDINGS)} (DICOM files may be called anything)"
)
_SPLIT_WORDS = {
    "train": ("train", "training", "trainset", "trainingset", "traindata", "trainingdata"),
    "val": ("val", "valid", "validation", "dev", "valset", "validset", "validationset", "valdata"),
    "test": ("test", "testing", "testset", "testingset", "testdata", "testingdata"),
}
_SPLIT_OF = {word: split for split, words in _SPLIT_WORDS.items() for word in words}
# What systems and their tools leave behind; the last ones are those of network disks.
_SYSTEM_FOLDERS = (
    *("lost+found", "$recycle.bin", "recycler", "system volume information", "__macosx"),
    *("@eadir", "#recycle", "@recycle", "#snapshot", "@tmp", "@recently-snapshot"),
)
_DICOM_INDEX = "dicomdir"  # of a CD, in DICOM itself, without a picture: PS3.10, 8.6
# Folders of a class that hold what belongs to its images, and are no patients.
_BESIDE_WORDS = ("mask", "segment", "annotat", "label", "overlay", "heatmap", "contour", "bbox")
_CONTAINERS = ("images", "image", "imgs", "img", "films", "pictures", "data", "files")  # as endings
_MANY_CLASSES = 12  # if there are more, folders with numbers in their names are patients
_MAX_DEPTH, _CLASS_DEPTH = 16, 2
_FEW_FOLDERS, _MANY_IMAGES = 4, 20  # fewer folders with more images each: unclear if patients


@dataclass(frozen=True)
class Folder:
    """A folder and its content; `others` are entries that are not images, or links not followed.

    `is_way_out` is True for a link that leads out of the data and was not followed.
    """

    path: Path
    folders: tuple["Folder", ...] = ()
    images: tuple[Path, ...] = ()
    unusable: tuple[tuple[Path, ImageError], ...] = ()
    others: tuple[Path, ...] = ()
    is_way_out: bool = False

    @functools.cached_property
    def num_images(self) -> int:
        """The number of images in and below it, including those that can not be used."""
        below = sum(folder.num_images for folder in self.folders)
        return len(self.images) + len(self.unusable) + below

    @property
    def name(self) -> str:
        """The folder's own name."""
        return self.path.name

    def walk(self) -> Iterator["Folder"]:
        """Yield the folder and all below it."""
        yield self
        for folder in self.folders:
            yield from folder.walk()

    def list_full(self) -> list["Folder"]:
        """Return the folders directly in it that hold images."""
        return [folder for folder in self.folders if folder.num_images]


@dataclass(frozen=True)
class Placed:
    """An image and what its path says: split, class (None: not given), path below the class.

    `file` is its path from the layout's root, with forward slashes.
    """

    path: Path
    file: str
    split: str
    class_name: str | None
    below: str
    patient: str | None = None  # the patient's folder, as SPLIT/CLASS/PATIENT


@dataclass(frozen=True)
class Layout:
    """What a tree holds; `others` are paths that were left out."""

    root: Path
    splits: tuple[str, ...]
    classes: tuple[tuple[str, str], ...]  # (split, class) of each class folder, empty ones too
    images: tuple[Placed, ...]
    unusable: tuple[tuple[Path, ImageError], ...]
    others: tuple[Path, ...]

    @property
    def is_flat(self) -> bool:
        """Whether some images have no class folder."""
        return any(image.class_name is None for image in self.images)


# Reading the disk ------------------------------------------------------------------------------


def is_no_data(name: str) -> bool:
    """Whether an entry is hidden, or a folder of the operating system."""
    return name.startswith(".") or name.casefold().startswith(_SYSTEM_FOLDERS)


def is_image(entry: Path, root: Path, *, follow_links: bool = False) -> bool:
    """Whether an entry of a class folder is an image by its name, or DICOM by its content.

    Raises `ImageError` for an entry that may be an image but can not be used.
    """
    try:
        mode = entry.stat().st_mode
    except OSError as error:
        what = "is a link that leads nowhere" if entry.is_symlink() else "cannot be read"
        raise ImageError(f"{what} ({error.strerror})") from None
    if stat.S_ISDIR(mode) or entry.name.casefold() == _DICOM_INDEX:
        return False
    is_named = entry.suffix.lower() in ENDINGS
    if not is_named and not stat.S_ISREG(mode):
        return False
    if not follow_links and not is_inside(entry, root):  # checked before it is opened
        raise ImageError(
            "is a link that leads out of the data folder: copy the file there, or follow all links "
            "with --follow_links"
        )
    if not is_named and not dicom.starts_as_dicom(entry):
        _refuse_other_image(entry)
        return False
    if not stat.S_ISREG(mode):
        raise ImageError("is not an ordinary file")
    if not _is_unicode(str(entry)) and not _is_unicode(str(entry.relative_to(root))):
        raise ImageError("has a name that is not UTF-8: rename it")
    return True


def _refuse_other_image(entry: Path) -> None:
    """Refuse an image of a format that is not read."""
    found = [ending for ending in _OTHER_ENDINGS if entry.name.lower().endswith(ending)]
    if found:
        raise ImageError(f"is of a format that is not read here ({found[0]}): save it as PNG")


def is_inside(path: Path, root: Path) -> bool:
    """Whether `path`, with its links followed, lies in `root`."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root))


def _is_unicode(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:  # Python's replacements for bytes that could not be decoded
        return False
    return True


def read_tree(root: Path, *, follow_links: bool = False, leave_out: Collection[str] = ()) -> Folder:
    """List everything in and below `root`, except what is hidden or named in `leave_out`.

    A name in `leave_out` is that of a file or folder anywhere, or its path from `root`. If none has
    this name, `UserError` is raised. Links out of `root` are followed only with `follow_links`. A
    circle of links is followed once.
    """
    ways = _Ways(root, follow_links, frozenset(leave_out), set())
    tree = _read(root, ways, (os.path.realpath(root),))
    missing = [n for n in leave_out if n not in ways.left_out and not os.path.lexists(root / n)]
    if missing:
        raise UserError(
            f"can not leave out {list_some(sorted(missing))}: not found in {root}. Expected names "
            "of files and folders in it, or paths from it"
        )
    return tree


@dataclass(frozen=True)
class _Ways:
    """Which entries of a tree to read; `left_out` collects the found names of `leave_out`."""

    root: Path
    follow_links: bool
    leave_out: frozenset[str]
    left_out: set[str]

    def may_see(self, entry: Path) -> bool:
        """Whether an entry is neither hidden nor left out."""
        if self.leave_out:
            found = {entry.name, entry.relative_to(self.root).as_posix()} & self.leave_out
            self.left_out.update(found)
            if found:
                return False
        return not entry.name.startswith(".")


def _read(path: Path, ways: _Ways, above: tuple[str, ...]) -> Folder:
    folders, images, unusable, others = [], [], [], []
    for entry in filter(ways.may_see, _list_entries(path)):
        may_lead_out = entry.is_symlink() and not ways.follow_links  # only a link can
        try:
            if is_image(entry, ways.root, follow_links=not may_lead_out):
                images.append(entry)
            elif not entry.is_dir() or is_no_data(entry.name):
                others.append(entry)
            elif may_lead_out and not is_inside(entry, ways.root):
                folders.append(Folder(entry, is_way_out=True))
            elif not _may_enter(entry, ways.follow_links, above):
                others.append(entry)
            else:
                folders.append(_read(entry, ways, (*above, os.path.realpath(entry))))
        except ImageError as error:
            unusable.append((entry, error))
    return Folder(path, tuple(folders), tuple(images), tuple(unusable), tuple(others))


def _list_entries(path: Path) -> list[Path]:
    """Return the entries of a folder, sorted by name."""
    try:
        return sorted(path.iterdir())
    except OSError as error:
        raise UserError(f"the folder {path} cannot be read: {error.strerror}") from error


def _may_enter(folder: Path, follow_links: bool, above: tuple[str, ...]) -> bool:
    """Whether to read a folder: no loop, no link below the classes unless links are followed."""
    if len(above) > _MAX_DEPTH or os.path.realpath(folder) in above:
        return False
    return follow_links or not folder.is_symlink() or len(above) <= _CLASS_DEPTH


# Reading the tree ------------------------------------------------------------------------------


def as_split(name: str) -> str | None:
    """Return the split that a folder or a cell names, in any usual spelling; None for no split."""
    return _SPLIT_OF.get(simplify(name))


def go_down(tree: Folder) -> Folder:
    """Return the folder of a tree that holds the splits or classes, at any depth."""
    while (
        len(tree.folders) == 1
        and not (tree.images or tree.unusable)
        and as_split(tree.folders[0].name) is None
        and _holds_classes(tree.folders[0])
    ):
        tree = tree.folders[0]
    return tree


def _holds_classes(folder: Folder) -> bool:
    """Whether the folders in a folder are splits or classes, not patients or a folder of images."""
    if any(as_split(f.name) == "train" for f in folder.list_full()):
        return True
    full = folder.list_full()
    if folder.images or folder.unusable or not full:
        return False
    if len(full) == 1:
        return _holds_classes(full[0])
    are_numbered = all(any(c.isdigit() for c in f.name) for f in full)
    is_large = all(f.num_images >= MIN_TRAIN_IMAGES for f in full)
    return is_large and not (are_numbered and len(full) > _MANY_CLASSES)


def find_layout(root: Folder, *, trust_folders: bool = False) -> Layout:
    """Return the split and class of every image of a tree; raise `UserError` if one has none.

    With `trust_folders` every folder in a class is read as a patient, even if there are only a few.
    """
    tops = _find_splits(root)
    outer = [
        found
        for split, top in (tops or {"train": root}).items()
        for found in _list_classes(split, top)
    ]
    folders = [*tops.values(), *(found.folder for found in outer)]
    _check_no_way_out(root.path, folders)
    _check_names(root.path, folders)
    classes = outer if tops else _divide_classes(outer)
    for found in classes:
        if not trust_folders:
            _check_few(found, root.path)
    read = [folder for found in classes for folder in _list_read(found.folder)]
    _check_no_way_out(root.path, read)
    _check_all_used(root, read)
    splits = {found.split for found in classes} if tops or classes != outer else ()
    beside = [folder.path for folder in root.folders if tops and folder not in tops.values()]
    return Layout(
        root.path,
        tuple(split for split in SPLITS if split in splits),
        tuple((found.split, found.name) for found in classes if found.name is not None),
        tuple(image for found in classes for image in _place(found, root.path)),
        tuple(pair for folder in read for pair in folder.unusable),
        (*_list_system(root), *beside, *_list_others(classes)),
    )


@dataclass(frozen=True)
class _Class:
    """A folder of images of one class; `name` is None if the folder does not give it."""

    split: str
    name: str | None
    folder: Folder


def _find_splits(root: Folder) -> dict[str, Folder]:
    """Return the split folders of `root`; empty if it holds class folders or images."""
    named = [(as_split(folder.name), folder) for folder in root.folders]
    full = [(split, folder) for split, folder in named if folder.num_images or folder.is_way_out]
    found: dict[str, Folder] = {}
    for split, folder in full:
        if split in found:
            raise UserError(
                f"{root.path} holds {found[split].name} and {folder.name}, which both mean "
                f"{split}: join them, or rename one. Expected {LAYOUTS}"
            )
        if split is not None:
            found[split] = folder
    if "train" in found:
        _check_full(root, [folder for split, folder in named if split not in (None, *found)])
        return {split: found[split] for split in SPLITS if split in found}
    if found and len(found) == len(full):
        names = " and ".join(folder.name for folder in found.values())
        raise UserError(f"{root.path} holds {names} but no train. Expected {LAYOUTS}")
    return {}


def _check_full(root: Folder, empty: Sequence[Folder]) -> None:
    if empty:
        raise UserError(
            f"{root.path} holds train, but {empty[0].name} has no images: add them, or remove that "
            "folder"
        )


def _list_classes(split: str, top: Folder) -> list[_Class]:
    """Return the class folders of a split, also empty ones, or the split itself as one class."""
    full = [folder for folder in top.list_full() if not is_beside(folder)]
    if not full and top.num_images:
        return [_Class(split, None, top)]
    if len(full) == 1 and simplify(full[0].name).endswith(_CONTAINERS):
        return [_Class(split, None, full[0])]
    return [_Class(split, folder.name, folder) for folder in top.folders]


def _divide_classes(classes: Sequence[_Class]) -> Sequence[_Class]:
    """Return the classes of CLASS/SPLIT/* by split; for another layout, return them unchanged."""
    parts = [(found, part) for found in classes for part in found.folder.list_full()]
    words = {as_split(part.name) for _, part in parts}
    if "train" not in words or None in words or any(found.folder.images for found in classes):
        return classes
    divided = [_Class(as_split(part.name) or "", found.name, part) for found, part in parts]
    twice = [(found.split, found.name) for found in divided]
    if len(set(twice)) < len(twice):
        raise UserError(f"a class has two folders that mean the same split. Expected {LAYOUTS}")
    return divided


def _check_no_way_out(root: Path, folders: Sequence[Folder]) -> None:
    """Refuse folders of images, including patients, that are links out of the data."""
    for folder in folders:
        if folder.is_way_out:
            raise UserError(
                f"the folder {printable(str(folder.path))} is a link that leads out of {root}: "
                "expected all images inside it. Copy them there, name the folder that holds "
                "everything, follow all links with --follow_links, or leave it out with "
                "--leave_out=NAME."
            )


def _check_names(root: Path, folders: Sequence[Folder]) -> None:
    """Refuse class names that cannot be shown."""
    for folder in folders:
        if folder.path != root and not folder.name.isprintable():  # also false if not UTF-8
            raise UserError(
                f"the class folder {folder.name!r} has a name with control characters or bytes "
                "that are not UTF-8: rename it"
            )


def _check_few(found: _Class, root: Path) -> None:
    """Refuse to guess what a few large folders in a class are: patients, hospitals, years."""
    inner = _go_in(found.folder)
    folders = [f for f in inner.list_full() if not (inner.images or is_beside(f))]
    is_large = sum(f.num_images for f in folders) > _MANY_IMAGES * len(folders)
    if 1 < len(folders) < _FEW_FOLDERS and is_large:
        listed = ", ".join(f"{printable(f.name)}: {f.num_images} images" for f in folders)
        where = printable(found.folder.path.relative_to(root).as_posix())
        raise UserError(
            f"the images of {where} lie in {len(folders)} large folders ({listed}): are these "
            "patients? --patients_from=folders reads each as one patient. --patients_from=none, "
            "--patient_pattern=REGEX or a manifest.csv with patients also use all their images. "
            "--leave_out=NAME leaves a folder out."
        )


def _go_in(folder: Folder) -> Folder:
    """Return the folder of a class that holds its images: it may be the only folder in others."""
    while not (folder.images or folder.unusable) and len(folder.list_full()) == 1:
        if is_beside(folder.list_full()[0]):
            break
        folder = folder.list_full()[0]
    return folder


def _list_read(folder: Folder) -> list[Folder]:
    """Return the folders with the images of a class: itself, or its patients and all below them.

    If images lie both in the class folder and deeper, the deeper ones are not used.
    """
    folder = _go_in(folder)
    if folder.images:
        return [folder]
    parts = [part for part in folder.folders if not is_beside(part)]
    return [folder, *(below for part in parts for below in _walk_images(part))]


def _walk_images(folder: Folder) -> Iterator[Folder]:
    yield folder
    for below in folder.folders:
        if not is_beside(below):
            yield from _walk_images(below)


def is_beside(folder: Folder) -> bool:
    """Whether a folder in a class holds what belongs to its images: masks, annotations."""
    return any(word in folder.name.casefold() for word in _BESIDE_WORDS)


def _place(found: _Class, root: Path) -> Iterator[Placed]:
    """Yield the images of a class; folders inside it are patients."""
    inner = _go_in(found.folder)
    for folder in _list_read(found.folder):
        patient = None
        if folder is not inner:
            first = folder.path.relative_to(inner.path).parts[0]
            patient = (inner.path / first).relative_to(root).as_posix()
        place = _as_prefix(folder.path.relative_to(root))
        inside = _as_prefix(folder.path.relative_to(found.folder.path))
        for path in folder.images:
            file, below = place + path.name, inside + path.name
            yield Placed(path, file, found.split, found.name, below, patient)


def _as_prefix(folder: Path) -> str:
    return "" if folder == Path() else f"{folder.as_posix()}/"


def _check_all_used(root: Folder, read: Sequence[Folder]) -> None:
    """Raise `UserError` if images lie in unexpected folders, with their number in each."""
    used = {folder.path for folder in read}
    unused: Counter[Path] = Counter()
    for folder in root.walk():
        count = len(folder.images) + len(folder.unusable)
        if count and folder.path not in used:
            unused[_find_unused_top(folder.path, root.path, used)] += count
    if not unused:
        return
    names = [path.relative_to(root.path).as_posix() for path in unused]
    lines = [
        f"{'in the folder itself' if name == '.' else printable(name)}: {count}"
        for name, count in zip(names, unused.values(), strict=True)
    ]
    same = {path.name for path in unused}
    example = printable(same.pop() if len(same) == 1 and "." not in names else names[0])
    flag = shlex.quote(f"--leave_out={example}")
    what = "a file by its name" if example == "." else f"a folder with {flag}"
    raise UserError(
        f"{unused.total()} image(s) in {root.path} are not in the folder of a class, and would "
        f"not be used:\n{list_lines(lines, 'folders')}\nExpected {LAYOUTS}. Move them to their "
        f"class or away, or leave out {what} (several with commas)."
    )


def _find_unused_top(path: Path, root: Path, used: Collection[Path]) -> Path:
    """Return the highest folder that holds a folder of images but no folder that is used."""
    while path not in (root, path.parent) and path.parent != root:
        if any(other.is_relative_to(path.parent) for other in used):
            break
        path = path.parent
    return path


def _list_system(root: Folder) -> list[Path]:
    return [path for path in root.others if is_no_data(path.name)]


def _list_others(classes: Sequence[_Class]) -> list[Path]:
    """Return entries of class folders that are not images, or were not followed."""
    folders = [folder for found in classes for folder in found.folder.walk()]
    links = [folder.path for folder in folders if folder.is_way_out]
    return sorted([*(path for folder in folders for path in folder.others), *links])
