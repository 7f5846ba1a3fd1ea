"""Restore trained networks: a generator that draws images, a classifier that predicts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jaxgan.api.errors import check_whole, convert_errors
from jaxgan.api.images import choose_cache
from jaxgan.experiments.classifier_runs import RestoredClassifier, restore_classifier
from jaxgan.experiments.predict import Predictions, predict_images
from jaxgan.reports import html
from jaxgan.sampling.runs import RestoredRun, restore_run

_SHOWN = 8


@dataclass(frozen=True)
class Generator:
    """A trained generator: `sample` draws its images. `run` is the folder of its run."""

    run: Path
    restored: RestoredRun

    def sample(self, num: int, *, seed: int = 0, truncation: float | None = None) -> np.ndarray:
        """Return `num` images uint8 [num, size, size, channels].

        Image i has the seed `seed` + i: the same seed gives the same image. `truncation`, above 0
        and at most 1 (off), keeps the latents within 2 * `truncation` of 0: images are then more
        typical and less diverse. None: as in the run's settings. Raises `UserError`.
        """
        check_whole("num", num, least=1)
        check_whole("seed", seed)
        with convert_errors():
            run = self.restored.truncate(truncation)
            return run.sampler.draw(run.networks, seed, num)

    def __repr__(self) -> str:
        gan = self.restored.settings.gan
        form = f"{gan.image_size}x{gan.image_size}x{gan.channels}"
        return f"<Generator of {self.run}: {gan.family}, images of {form}>"

    def _repr_html_(self) -> str:
        return html.show_box(repr(self)[1:-1], html.show_images(self.sample(_SHOWN)))


@dataclass(frozen=True)
class Classifier:
    """A trained classifier: `predict` takes images. `run` is the folder of its run."""

    run: Path
    restored: RestoredClassifier

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes, in the order of the probabilities."""
        return self.restored.class_names

    def predict(self, images: np.ndarray, files: Sequence[str] = ()) -> Predictions:
        """Return predictions for images uint8 [num, height, width] or [..., 1 or 3].

        The results have `probabilities` [num, classes] and `predicted` (the class of each image).
        Images of another size are cut to the central square and scaled. `files` are names of the
        images. Raises `UserError` for other arrays, such as float images.
        """
        with convert_errors():
            return predict_images(self.restored, images, files)

    def __repr__(self) -> str:
        form, names = self.restored.form, ", ".join(self.class_names)
        sides = f"{form.size}x{form.size}x{form.channels}"
        family = self.restored.settings.classifier.family
        return f"<Classifier of {self.run}: {family}, images of {sides}, classes {names}>"

    def _repr_html_(self) -> str:
        return html.show_box(repr(self)[1:-1])


def load_generator(run: Path | str, *, checkpoint: str | None = None) -> Generator:
    """Return the generator of the run in folder `run`, such as runs/dcgan/CLASS.

    `checkpoint` is "best" or "newest"; None: as in the run's settings. Raises `UserError`.

    >>> films = jaxgan.load_phantom(images_per_class=12)
    >>> gan = jaxgan.train_gan("mlp:quick", films, "covid", num_epochs=1)
    >>> jaxgan.load_generator(gan.folder).sample(4, seed=0).shape
    (4, 64, 64, 1)
    >>> jaxgan.load_generator("runs/none")
    Traceback (most recent call last):
        ...
    jaxgan.core.errors.UserError: runs/none is not the folder of a run: it has no config.json.
    """
    with convert_errors():
        folder = Path(run).expanduser()
        choice = f"by its folder, such as load_generator({str(folder.parent / 'CLASS')!r})"
        return Generator(Path(run), restore_run(folder, checkpoint, choice=choice))


def load_classifier(
    run: Path | str, *, checkpoint: str = "newest", cache_dir: Path | str | None = None
) -> Classifier:
    """Return the classifier of the run in folder `run`, such as runs/gmd/real.

    `checkpoint` is "newest" or "best". Raises `UserError`.

    >>> films = jaxgan.load_phantom(images_per_class=12)
    >>> small = {"classifier.width": 8, "classifier.image_size": 32}
    >>> gmd = jaxgan.train_classifier("gmd:quick", films, num_epochs=1, **small)
    >>> classifier = jaxgan.load_classifier(gmd.folder)
    >>> classifier.predict(films.at(64).val.images).probabilities.shape
    (9, 3)
    >>> jaxgan.load_classifier("runs/none")
    Traceback (most recent call last):
        ...
    jaxgan.core.errors.UserError: runs/none is not the folder of a run: it has no config.json.
    """
    with convert_errors():
        folder = Path(run).expanduser()
        restored = restore_classifier(folder, checkpoint, cache_dir=choose_cache(cache_dir))
        return Classifier(Path(run), restored)
