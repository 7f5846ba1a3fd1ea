"""Ablations: configs/ablate.py:quick (default), :small, :recommended, :strength, :headline.

Each ingredient is added to the paper's settings, and each is left out of the full recipe. Other
methods known for small data are added to the full recipe. The network, the learning rate and the
number of images seen are the same for all.
"""

from typing import Any

from ml_collections import ConfigDict

from jaxgan.core.configs import choose_variant, load_beside

# The paper's setting in place of each ingredient.
INGREDIENTS: dict[str, dict[str, Any]] = {
    "one channel": {"gan": {"channels": 3}},
    "small batch": {"batch_size": 128},
    "diffaugment": {"gan": {"diffaugment": False}},
    "averaged G": {"gan": {"ema_decay": 0.0}},
    "best checkpoint": {"select_checkpoint": "newest"},
}
# Tried in addition to all ingredients.
ADDITIONS: dict[str, dict[str, Any]] = {
    "rotate_zoom": {"augment_policy": ("colour", "rotate_zoom", "shift", "cutout")},
    "adaptive strength": {"augment_target": 0.6},
    "label smoothing": {"label_smoothing": 0.1},
    "least squares": {"objective": "least_squares"},
    "hinge": {"objective": "hinge"},
    "spectral norm": {"discriminator_norm": "spectral"},
    "spectral norm, hinge": {"discriminator_norm": "spectral", "objective": "hinge"},
    "spectral norm, R1": {"discriminator_norm": "spectral", "r1_weight": 1.0},
    "WGAN-GP": {
        "objective": "wasserstein",
        "discriminator_norm": "none",
        "gradient_penalty_weight": 10.0,
        "num_critic_steps": 5,
    },
}  # fields of the GAN

# Fields that both variants of `headline` share although their configs differ.
EQUAL = ("num_epochs", "measure_every_epochs", "selection", "data")


def get_config(variant: str = "quick") -> ConfigDict:
    variants = {
        "quick": quick,
        "small": small,
        "strength": strength,
        "recommended": recommended,
        "headline": headline,
    }
    return choose_variant(__file__, variants, variant)


def quick() -> ConfigDict:
    """32x32 and an eighth of the width: a table in about an hour on two cores."""
    config = small()
    config.train.gan.image_size = 32
    config.train.gan.generator_width = 8
    config.train.gan.discriminator_width = 8
    config.train.num_epochs = 120
    config.train.gan.learning_rate = 5e-4
    config.train.gan.ema_decay = 0.99
    return config


def small() -> ConfigDict:
    """Half the width at 64x64, three seeds."""
    return _create("small", num_epochs=300)


def recommended() -> ConfigDict:
    """The paper's network: for a GPU, or for days on a CPU."""
    return _create("recommended", num_epochs=600)


def strength() -> ConfigDict:
    """How strongly to augment: the recommended recipe at half the width, 300 epochs."""
    config = _create("recommended", num_epochs=300)
    config.train.gan.generator_width = config.train.gan.discriminator_width = 32
    config.variants = {
        "full": {},
        "adaptive": {"gan": ADDITIONS["adaptive strength"]},
        "none": {"gan": {"diffaugment": False}},
    }
    return config


def headline() -> ConfigDict:
    """The paper's settings and the recommended ones, on the paper's network: hours per class."""
    config = _create("recommended", num_epochs=300)
    paper = load_beside(__file__, "dcgan").get_config("paper").to_dict()
    base = config.train.to_dict()
    changed = {
        name: _find_changed(base[name], value)
        for name, value in paper.items()
        if name not in EQUAL and value != base[name]
    }
    config.variants = {"paper": changed, "recommended": {}}
    return config


def _find_changed(base: Any, value: Any) -> Any:
    """Return `value`; for a group only the fields that differ, so others can be set for all."""
    if not isinstance(value, dict) or value.keys() != base.keys():
        return value
    return {name: v for name, v in value.items() if v != base[name]}


def _create(name: str, *, num_epochs: int) -> ConfigDict:
    config = ConfigDict()
    config.train = load_beside(__file__, "dcgan").get_config(name)
    config.train.num_epochs = num_epochs
    config.train.measure_every_epochs = 10  # as many checkpoints to choose from in shorter runs
    config.train.selection.rule = "none"  # every image is scored
    config.class_name = "pneumonia"  # --class: another
    config.num_seeds = 3  # trainings of each variant
    config.num_images = 256  # drawn from each training and scored
    config.variants = create_variants()
    return config


def create_variants() -> dict[str, dict[str, Any]]:
    """Return the fields that differ from the full recipe, by the variant's name."""
    variants = {"paper": _join(list(INGREDIENTS))}
    for name in INGREDIENTS:
        variants[f"paper + {name}"] = _join([other for other in INGREDIENTS if other != name])
    variants |= {f"all - {name}": _join([name]) for name in INGREDIENTS}
    variants["all"] = {}
    return variants | {f"all + {name}": {"gan": dict(f)} for name, f in ADDITIONS.items()}


def _join(without: list[str]) -> dict[str, Any]:
    """Return the fields of a recipe without some ingredients."""
    fields: dict[str, Any] = {}
    for name in without:
        for field, value in INGREDIENTS[name].items():
            fields[field] = {**fields.get(field, {}), **value} if field == "gan" else value
    return fields
