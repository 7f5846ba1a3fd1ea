"""The first GAN (2014): `configs/mlp.py:paper` (the default), `:quick`.

Networks without convolutions, with the recipe of configs/dcgan.py: the difference in quality shows
the effect of convolutions.
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
    """Replace the fields of a DCGAN's networks with those of these networks."""
    del gan.discriminator_norm
    gan.family = "mlp"
    gan.generator_width = 1200  # of both hidden layers
    gan.discriminator_width = 240  # maxout units of both hidden layers
    gan.maxout_pieces = 5  # linear pieces of each; 1: a leaky ReLU
    gan.pixel_dropout = 0.2  # the share of pixels that D does not see
    gan.unit_dropout = 0.5  # the share of units that are dropped
