"""FastGAN (2021), for few images: `configs/fastgan.py:recommended` (the default), `:quick`.

The networks are those of the paper, cut to small images, with an eighth of G's features.
"""

from ml_collections import ConfigDict

from jaxgan.core.configs import choose_variant, load_beside


def get_config(variant: str = "recommended") -> ConfigDict:
    variants = {"recommended": recommended, "quick": quick}
    return choose_variant(__file__, variants, variant)


def recommended() -> ConfigDict:
    """For a hundred films at 64x64 on two cores; twenty minutes are an estimate."""
    config = load_beside(__file__, "dcgan").recommended()
    _replace_networks(config.gan)
    config.batch_size = 16  # the paper has 8
    config.num_epochs = 400
    config.gan.ema_decay = 0.999  # as the paper
    return config


def quick() -> ConfigDict:
    """A short run on two cores: half the width, a faster rate and average."""
    config = load_beside(__file__, "dcgan").quick()
    _replace_networks(config.gan)
    config.gan.generator_width = 4
    config.gan.discriminator_width = 4
    config.gan.learning_rate = 5e-4
    config.gan.ema_decay = 0.99
    return config


def _replace_networks(gan: ConfigDict) -> None:
    """Replace the fields of a DCGAN's networks with those of these networks, and the objective."""
    del gan.discriminator_norm
    gan.family = "fastgan"
    gan.image_size = 64  # 32, 64 or 128
    gan.latent_size = 256  # beside the noise, which has a number for each pixel of some maps
    gan.generator_width = 8  # 16 times as many features at 4x4, twice at 64; the paper has 64
    gan.discriminator_width = 8  # features of the first layer; the paper has 16 at 256 pixels
    gan.reconstruction_weight = 10.0  # of D's reconstruction of real images; 0: off
    gan.objective = "soft_hinge"  # the mean of the paper's hinge over its random margins
    gan.learning_rate = 2e-4
    gan.beta1 = 0.5
    gan.beta2 = 0.999
