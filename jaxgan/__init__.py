"""jaxgan: does GAN augmentation help your medical-image classifier?

Load images: a folder, arrays, or the phantom (films that jaxgan draws).

    import jaxgan

    films = jaxgan.load_folder("films")                     # films/CLASS/*.png
    films = jaxgan.load_arrays(images, labels, patients)    # uint8 [num, height, width]
    films = jaxgan.load_phantom()

Train a GAN of one class, draw from it, and measure its images:

    gan = jaxgan.train_gan("dcgan:quick", films, "pneumonia", num_epochs=20)
    generated = jaxgan.load_generator(gan.folder).sample(64, seed=0)
    real = films.get_images("train", "pneumonia", image_size=64)
    held_out = films.get_images("val", "pneumonia", image_size=64)
    jaxgan.evaluate(generated, real, held_out)

Train a classifier, and predict new images:

    gmd = jaxgan.train_classifier("gmd:quick", films, num_epochs=3)
    jaxgan.load_classifier(gmd.folder).predict(images).predicted

Ask whether generated images help the classifier:

    jaxgan.run_study("study:quick", films)

A notebook displays every result. Arrays of images are uint8. If you can correct an error, it is a
`jaxgan.UserError`. The name of a config is a file and a variant of the folder `configs/`. To change
a field, give its name and value, such as `num_epochs=3` or `**{"gan.generator_width": 8}`.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from jaxgan.api.evaluation import evaluate
    from jaxgan.api.images import Images, load_arrays, load_folder, load_phantom
    from jaxgan.api.settings import (
        load_classifier_settings,
        load_gan_settings,
        load_study_settings,
    )
    from jaxgan.api.trained import load_classifier, load_generator
    from jaxgan.api.training import run_study, train_classifier, train_conditional_gan, train_gan
    from jaxgan.core.errors import UserError

__all__ = [
    "Images",
    "UserError",
    "evaluate",
    "load_arrays",
    "load_classifier",
    "load_classifier_settings",
    "load_folder",
    "load_gan_settings",
    "load_generator",
    "load_phantom",
    "load_study_settings",
    "run_study",
    "train_classifier",
    "train_conditional_gan",
    "train_gan",
]

# The module of each name. It is imported when the name is first used, because that takes seconds.
_MODULES = {
    "UserError": "core.errors",
    "evaluate": "api.evaluation",
    **dict.fromkeys(("Images", "load_arrays", "load_folder", "load_phantom"), "api.images"),
    **dict.fromkeys((name for name in __all__ if name.endswith("_settings")), "api.settings"),
    **dict.fromkeys(("load_classifier", "load_generator"), "api.trained"),
    **dict.fromkeys(
        (name for name in __all__ if name.startswith(("train", "run"))), "api.training"
    ),
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'jaxgan' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"jaxgan.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
