"""R3GAN (2024), a GAN without tricks: `configs/r3gan.py:recommended` (the default), `:quick`.

The networks are those of the paper with few features, so that two cores can train them.
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
    config.batch_size = 16  # the paper has 256, and a thousand times as many images
    config.num_epochs = 450
    return config


def quick() -> ConfigDict:
    """A short run on two cores: half the width, a faster rate."""
    config = load_beside(__file__, "dcgan").quick()
    _replace_networks(config.gan)
    config.gan.generator_width = 4
    config.gan.discriminator_width = 4
    config.gan.learning_rate = 5e-4
    return config


def _replace_networks(gan: ConfigDict) -> None:
    """Replace the fields of a DCGAN's networks with those of these networks, and the objective."""
    del gan.discriminator_norm
    gan.family = "r3gan"
    gan.latent_size = 64
    gan.generator_width = 8  # features of the largest maps; twice as many with every halving
    gan.discriminator_width = 8
    gan.max_features = 256  # of any stage; the paper has 384 at 64x64, and at most 768
    gan.num_blocks = 1  # residual blocks in each stage; the paper has 2
    gan.group_size = 16  # features that a 3x3 convolution mixes; fewer are faster on a GPU only
    gan.objective = "relativistic"
    gan.r1_weight = 2.0  # the paper's gamma: it falls from 2 to 0.2 in 20 million images of 64x64
    gan.r2_weight = 2.0  # the same gamma
    gan.learning_rate = 2e-4
    gan.beta1 = 0.0
    gan.beta2 = 0.9  # the paper's first value; it rises to 0.99
