"""The first GAN (2014): `configs/mlp.py:paper` (the default), `:quick`.

Networks without convolutions, by the recipe of configs/dcgan.py: what they lack is what those add.
"""

from ml_collections import ConfigDict

from jaxgan.core.configs import choose_variant, load_beside


def get_config(variant: str = "paper") -> ConfigDict:
    variants = {"paper": paper, "quick": quick}
    return choose_variant(__file__, variants, variant)


def paper() -> ConfigDict:
    """The widths of the paper's networks for MNIST; it trains by SGD, this by Adam."""
    config = load_beside(__file__, "dcgan").recommended()
    _replace_networks(config.gan)
    config.gan.diffaugment = False
    config.gan.ema_decay = 0.0
    return config


def quick() -> ConfigDict:
    """A minute or two on two cores."""
    config = load_beside(__file__, "dcgan").quick()
    _replace_networks(config.gan)
    config.gan.generator_width = 256
    config.gan.discriminator_width = 256
    config.gan.maxout_pieces = 1
    return config


def _replace_networks(gan: ConfigDict) -> None:
    """Put the fields of these networks in the place of a DCGAN's."""
    del gan.discriminator_norm
    gan.family = "mlp"
    gan.generator_width = 1200  # of both hidden layers
    gan.discriminator_width = 240  # maxout units of both hidden layers
    gan.maxout_pieces = 5  # linear pieces of each; 1: a leaky ReLU
    gan.pixel_dropout = 0.2  # the share of the image that D is not shown
    gan.unit_dropout = 0.5  # and of its units
