"""Studies: `configs/study.py:paper` (the default), `:small`, `:quick`; `:tiny` for coverage."""

import importlib.util
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

ARMS = (
    "real",
    "classic",
    "duplicates",
    "gan",
    "gan_paper_text",
    "gan_paper_code",
    "gan_calibrated",
    "classic+gan",
    "synthetic_only",
)


def get_config(variant: str = "paper") -> ConfigDict:
    variants = {"paper": paper, "small": small, "quick": quick, "tiny": tiny}
    if variant not in variants:
        raise ValueError(
            f"configs/study.py has no variant {variant!r}: expected one of {', '.join(variants)}."
        )
    return variants[variant]()


def paper() -> ConfigDict:
    """The paper's generator and classifier as printed, in a study. For a GPU: days on a CPU."""
    config = ConfigDict()
    # "real" has to be among them; see jaxgan/study/arms.py for each.
    config.arms = (*ARMS, "gan_paper_counts")
    config.amounts = (0.5, 1.0, 2.0)  # images added for each real one of a class
    config.amount_arms = ("duplicates", "gan", "classic+gan")  # all amounts; the others one
    config.num_folds = 5  # dealt by patient; every image is tested once a seed
    config.num_seeds = 3  # classifiers of each arm and fold
    config.num_gan_seeds = 3  # GANs of each fold and class; seed s uses number s modulo this
    config.fold_seed = 0
    # Of every classifier, whatever it learns from: 200 epochs of the paper's 427 images, batch 32.
    config.num_updates = 2670
    # Of a class's training images, by patient, 3 where it has 6: calibrates D, unseen by GANs.
    config.holdout = 0.1
    config.pool = 4.0  # generated images that the rules of selection choose from, for each wanted
    config.audit = True  # the classifier on the frame alone and with the centre blackened
    config.dcgan = _create_dcgan("paper")
    config.gmd = _load("gmd").paper()
    config.data = config.gmd.data.copy_and_resolve_references()
    return config


def small() -> ConfigDict:
    """A serious study for a CPU: an hour or two on two cores."""
    config = quick()
    config.num_seeds = 3
    config.num_updates = 600
    config.dcgan = _create_dcgan("quick")
    config.gmd = _load("gmd").quick()
    return config


def quick() -> ConfigDict:
    """Every arm in under a quarter of an hour on two cores: 32x32, short trainings."""
    config = paper()
    config.arms = ARMS
    config.amounts = (1.0,)
    config.num_folds = 3
    config.num_seeds = 2
    config.num_gan_seeds = 1
    config.num_updates = 450
    config.dcgan = _create_dcgan("quick")
    config.dcgan.image_size = 32
    config.dcgan.num_epochs = 150
    config.gmd = _load("gmd").quick()
    config.gmd.image_size = 32
    return config


def tiny() -> ConfigDict:
    """As small as a study gets: launch/coverage.py runs dozens of these, without a GAN."""
    config = quick()
    config.arms = ("real", "duplicates", "classic")
    config.amount_arms = ("duplicates",)
    config.num_updates = 200
    config.audit = False
    config.gmd.image_size = 24
    config.gmd.width = 8
    return config


def _create_dcgan(variant: str) -> ConfigDict:
    """Return a GAN as a study trains it: its images are drawn from the last step, unmeasured."""
    config: ConfigDict = getattr(_load("dcgan"), variant)()
    config.measure_every_epochs = 0
    config.select_checkpoint = "newest"
    return config


def _load(name: str) -> Any:
    """Return another file of this folder, which is no package."""
    path = Path(__file__).with_name(f"{name}.py")
    spec = importlib.util.spec_from_file_location(f"configs_{name}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
