"""Classifier experiments: `configs/gmd.py:paper` (the default), `:small`, `:quick`."""

from ml_collections import ConfigDict

from jaxgan.core.configs import choose_variant, load_beside


def get_config(variant: str = "paper") -> ConfigDict:
    variants = {"paper": paper, "small": small, "quick": quick}
    return choose_variant(__file__, variants, variant)


def paper() -> ConfigDict:
    """Sections 3.2.1 and 4.2 as printed; what they leave open is marked."""
    config = ConfigDict()
    config.seed = 0
    config.batch_size = 32  # not printed
    config.num_epochs = 200

    config.classifier = ConfigDict()
    config.classifier.family = "gmd"
    # "bfloat16": of activations, for accelerators; slower on a CPU
    config.classifier.dtype = "float32"
    config.classifier.image_size = 150
    config.classifier.channels = 3
    config.classifier.num_outputs = 4  # a leftover of the paper's eye model; 0: one per class
    config.classifier.width = 256  # of the first convolution; the others keep their proportion
    config.classifier.padding = "VALID"  # not printed; 4,033,252 parameters ("SAME": 4,929,252)

    config.optimizer = ConfigDict()
    config.optimizer.name = "sgd"
    config.optimizer.learning_rate = 1e-3  # constant
    config.optimizer.momentum = 0.0

    config.eval_batch_size = 32
    config.evaluate_every_epochs = 1  # a checkpoint follows, and the best one is kept
    config.checkpoint_every_epochs = 1
    # Also by time, checked between two dispatches; 0: never. It changes no result.
    config.checkpoint_every_seconds = 60.0
    config.epochs_per_dispatch = 1
    config.max_steps_per_dispatch = 50

    config.data = load_beside(__file__, "dcgan").paper().data  # which images, see there
    return config


def small() -> ConfigDict:
    """A serious setting for a CPU: an eighth of the width, one channel, Adam."""
    config = quick()
    config.classifier.image_size = 96
    config.num_epochs = 40
    return config


def quick() -> ConfigDict:
    """A minute or two on two cores. Adam: the paper's SGD moves too little in a few epochs."""
    config = paper()
    config.classifier.image_size = 64
    config.classifier.channels = 1
    config.classifier.num_outputs = 0
    config.classifier.width = 32
    config.optimizer.name = "adam"
    config.optimizer.learning_rate = 1e-3
    config.num_epochs = 30
    return config
