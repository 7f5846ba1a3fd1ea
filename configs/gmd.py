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
    config.optimizer.name = "sgd"  # "adam", "adagrad", "adadelta", "rmsprop"
    config.optimizer.learning_rate = 1e-3  # the initial one where it changes
    config.optimizer.momentum = 0.0  # of "sgd"

    # How the rate changes. "constant": as printed. With update t and epoch e, both from 0:
    # "time": 1 / (1 + decay * t). "exponential": exp(-decay * e). "cosine": half a cosine.
    # "step": factor ** floor((1 + e) / every_epochs). "plateau": times factor if the training
    # loss has not improved for patience_epochs.
    config.optimizer.schedule = ConfigDict()
    config.optimizer.schedule.name = "constant"
    # For "time" per update. 0: learning_rate / num_epochs, which hardly changes a small rate.
    # For "exponential" per epoch. 0: the decay that ends at final_share.
    config.optimizer.schedule.decay = 0.0
    # The final rate as a share of the initial one; for "plateau" the lowest rate.
    config.optimizer.schedule.final_share = 0.01
    config.optimizer.schedule.factor = 0.5
    config.optimizer.schedule.every_epochs = 10
    config.optimizer.schedule.patience_epochs = 5
    config.optimizer.schedule.warmup_epochs = 0  # of "cosine": a straight rise before it falls

    config.transfer = ConfigDict()  # start from pretrained weights
    config.transfer.weights = ""  # a file, or "imagenet"; --weights sets it
    # Layers that do not learn. "features": all before the head; "early": without the last stage.
    config.transfer.frozen = "none"
    config.transfer.backbone_rate = 1.0  # times the rate, for the layers before the head

    config.eval_batch_size = 32
    # Rotation, zoom, shift, brightness and contrast of training images, drawn for every step.
    config.classic_augmentation = False
    # For classes of different sizes, use one of these two. "balanced": weights of the loss, so that
    # every class counts the same. Or batches with the same number of images per class.
    config.class_weights = "none"
    config.balanced_batches = False
    # Early stopping by the loss on this share of the training images, split by patient. Nothing is
    # learned from them. Validation images never decide. 0: off.
    config.stopping_share = 0.0
    config.stopping_patience = 10  # epochs since the best one

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
