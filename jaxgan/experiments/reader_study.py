"""Write the page of a reader study: real and generated images for a person to tell apart."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxgan.core.console import say
from jaxgan.core.errors import UserError, name_few
from jaxgan.core.files import make_folder, write_text
from jaxgan.core.seeds import check_latents, check_seed
from jaxgan.core.untrusted import printable
from jaxgan.core.unused import check_unused
from jaxgan.data.copies import find_copies_between
from jaxgan.data.loose import read_folders
from jaxgan.data.sets import Dataset, ImageSet, find_label
from jaxgan.data.settings import DataSettings
from jaxgan.evaluation.blind import LEAST_SHOWN, choose_of_patients, derive_seed
from jaxgan.evaluation.subjects import check_same_data
from jaxgan.experiments.unused import APPEARANCE_FLAGS
from jaxgan.metrics.readers import find_least_shown
from jaxgan.reports.blind import shuffle_blind
from jaxgan.reports.reader_page import format_reader_page
from jaxgan.sampling.runs import ALL_CLASSES, draw_from_run, read_run_settings
from jaxgan.training.run_folder import read_record

PAGE = "reader_study.html"
MOST_IMAGES = 500
# Of a folder of images that no run of jaxgan has made; the split is then never jaxgan's.
_DATA: dict[str, Any] = {
    "val_fraction": 0.2,
    "split_seed": 0,
    "phantom_seed": 0,
    "phantom_subtlety": 0.5,
    "resident_bytes": 2**30,
}
_OF_RUN = "the folder lies in a run, which has its own settings for this"


@dataclass(frozen=True)
class GeneratedFolder:
    """Generated images uint8 [num, side, side, channels], and the run in whose folder they lie.

    `run` is None if the folder belongs to no run of jaxgan. `data` says how to read real images
    like them.
    """

    images: np.ndarray
    run: Path | None
    data: DataSettings

    @property
    def image_size(self) -> int:
        """Pixels of a side."""
        return int(self.images.shape[1])

    @property
    def channels(self) -> int:
        """1 (gray) or 3 (RGB)."""
        return int(self.images.shape[3])


def check_asked(run: str | None, generated: str | None, out: str | None, num_images: int) -> None:
    """Raise unless one source of generated images is given, and a folder for the page."""
    if bool(run) == bool(generated):
        raise UserError(
            "Expected either --run=FOLDER, the run of a GAN, or --generated=DIR, a folder of "
            "generated images: give one of them (or --answers=FILE, to compare readers)."
        )
    if not out:
        raise UserError("Expected --out=DIR, a folder for the page.")
    if num_images % 2 or not 2 * LEAST_SHOWN <= num_images <= MOST_IMAGES:
        raise UserError(
            f"--num_images is {num_images}, expected an even number from {2 * LEAST_SHOWN} to "
            f"{MOST_IMAGES}: half of the images are real."
        )


def read_generated(
    folder: Path,
    *,
    fit: str | None = None,
    value_range: str | None = None,
    window: str | None = None,
) -> GeneratedFolder:
    """Return the images of a folder, of the size of the smallest, at most 128 pixels.

    Images in the folder of a run, such as its `accepted`, have the size of the run's images. The
    other arguments say how to read real images; a run says this itself.
    """
    if (folder / "config.json").exists():
        raise UserError(f"{folder} is the folder of a run: give it as --run={folder}.")
    given = {"fit": fit, "value_range": value_range, "window": window}
    look: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if not (folder.parent / "config.json").exists():
        data = DataSettings(**{**_DATA, **look})
        return GeneratedFolder(_read_images(folder, 0), None, data)
    check_unused([f"--{name}" for name in look], dict.fromkeys(APPEARANCE_FLAGS, _OF_RUN))
    settings = read_run_settings(folder.parent)
    images = _read_images(folder, settings.gan.image_size)
    return GeneratedFolder(images, folder.parent, settings.data)


def _read_images(folder: Path, image_size: int) -> np.ndarray:
    (found,) = read_folders([folder], image_size=image_size)
    for notice in found.notices:
        say(printable(notice))
    return found.images


def show_run(
    run: Path,
    dataset: Dataset,
    out: Path,
    *,
    num_images: int,
    seed: int,
    checkpoint: str | None = None,
) -> Path:
    """Write the page with images drawn from the GAN in folder `run`; return its path.

    The images have the seeds from `seed` on. No rule of selection is applied.
    """
    check_latents(seed, num_images // 2)
    check_same_data(run, dataset)
    class_name = _read_class(run)
    held_out = find_held_out(dataset, class_name)
    images = draw_from_run(run, num=num_images // 2, checkpoint=checkpoint, seed=seed)
    return _write(images, held_out, out, class_name, num_images=num_images, seed=seed)


def show_folder(
    generated: GeneratedFolder,
    dataset: Dataset,
    out: Path,
    *,
    class_name: str | None,
    num_images: int,
    seed: int,
) -> Path:
    """Write the page with random images of a folder; return its path.

    Raises `UserError` if jaxgan can not know which real images are held out.
    """
    check_seed("--seed", seed)
    if generated.run is not None:
        check_same_data(generated.run, dataset)
        class_name = _check_class(generated.run, class_name)
    elif dataset.val_was_made:
        raise UserError(
            f"{dataset.name} has no validation split of its own, so jaxgan can not know which "
            "real images that GAN has not learned from: put these into a folder val/CLASS, and "
            "the others into train/CLASS. For a GAN of jaxgan, give --run=FOLDER."
        )
    else:
        say("jaxgan can not check that this GAN has not learned from the validation split.")
    class_name = class_name or _choose_class(dataset)
    held_out = find_held_out(dataset, class_name)
    rng = np.random.default_rng(derive_seed(seed, generated.images))
    order = rng.permutation(len(generated.images))
    images = generated.images[order[: num_images // 2]]
    return _write(images, held_out, out, class_name, num_images=num_images, seed=seed)


def find_held_out(dataset: Dataset, class_name: str) -> ImageSet:
    """Return the held-out images of a class, without copies of training images."""
    held_out = dataset.val.of_class(find_label(dataset, class_name))
    pairs = find_copies_between(held_out.images, dataset.train.images).pairs
    copies = np.unique(pairs[:, 0]).astype(np.int64)
    if len(copies):
        files = [held_out.files[i] for i in copies]
        say(
            f"{len(copies)} of the {len(held_out)} held-out images of {printable(class_name)} are "
            f"left out, because they are copies of training images ({name_few(files)})."
        )
    return held_out.take(np.setdiff1d(np.arange(len(held_out)), copies))


def _read_class(run: Path) -> str:
    """Return the class of a run's images; raise `UserError` for a model of all classes."""
    record = read_record(run)
    name = str(record.get("class"))
    if name == ALL_CLASSES and record.get("label") is None:
        raise UserError(
            f"{run} is the run of all classes: give the folder of one class, such as "
            f"--run={run.parent / 'CLASS'}."
        )
    return name


def _check_class(run: Path, asked: str | None) -> str:
    """Return the class of the run in whose folder the images lie, if no other was asked for."""
    name = _read_class(run)
    if asked not in (None, name):
        raise UserError(
            f"--class is {asked}, but the images lie in the run of {printable(name)}: leave out "
            "--class."
        )
    return name


def _choose_class(dataset: Dataset) -> str:
    if len(dataset.class_names) == 1:
        return dataset.class_names[0]
    names = ", ".join(map(printable, dataset.class_names[:10]))
    raise UserError(f"Expected --class=NAME, the class of the generated images: one of {names}.")


def _write(
    generated: np.ndarray,
    held_out: ImageSet,
    out: Path,
    class_name: str,
    *,
    num_images: int,
    seed: int,
) -> Path:
    num = min(num_images // 2, len(generated), len(held_out))
    if num < LEAST_SHOWN:
        raise UserError(
            f"A page needs {LEAST_SHOWN} images of each kind: found {len(generated)} generated and "
            f"{len(held_out)} held-out real images of {printable(class_name)}. Add images."
        )
    rng = np.random.default_rng(derive_seed(seed, generated, held_out.images))
    real = held_out.take(choose_of_patients(held_out.patients, num, rng))
    _check_different(generated[:num], real)
    order_seed, key_seed = (int(n) for n in rng.integers(2**32, size=2))
    images, answers = shuffle_blind(real.images, generated[:num], seed=order_seed, most=num)
    page = format_reader_page(images, answers, class_name=class_name, seed=key_seed)
    write_text(make_folder(out) / PAGE, page)
    for sentence in _describe(real, num_images, class_name):
        say(sentence)
    say(f"Wrote {out / PAGE}: open it in a browser. It needs no network.")
    return out / PAGE


def _check_different(generated: np.ndarray, real: ImageSet) -> None:
    known = {image.tobytes() for image in real.images}
    num = sum(image.tobytes() in known for image in generated)
    if num:
        raise UserError(
            f"{num} of the {len(generated)} generated images are held-out real images, pixel by "
            "pixel, so they have no right answer: give a folder of generated images."
        )


def _describe(real: ImageSet, num_images: int, class_name: str) -> Sequence[str]:
    """Return sentences about the images of a page."""
    num = len(real)
    said = [
        f"{2 * num} images of {printable(class_name)} in random order: {num} generated, and {num} "
        "real ones of the validation split."
    ]
    if 2 * num < num_images:
        said.append(f"There are too few for {num_images} (--num_images).")
    repeated = num - len(set(real.patients))
    if repeated:
        said.append(f"{repeated} of the real images are further images of a patient shown already.")
    if not real.is_patient_known.all():
        said.append("Patients are not known for all real images: one may appear more than once.")
    least = find_least_shown(2 * num)
    said.append(
        "No number of right answers to so few images could differ from chance."
        if least is None
        else f"With {least} right answers or more ({least / (2 * num):.0%}), a reader is better "
        "than chance: the 95 % interval is above 50 %."
    )
    said.append("The answers are encoded in the page. That does not stop a person who wants them.")
    return said
