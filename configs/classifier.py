"""Published classifiers instead of GMD: `configs/classifier.py:resnet18_small` (the default).

`resnet18`, `resnet50`, `vgg16`, `googlenet`, `inception_v3`, `efficientnet_lite0`, `..._lite1`,
`..._lite2` are the networks as published, at their own image size: for an accelerator. Each also
has a form for two CPU cores, `resnet18_small` and so on, with fewer features and smaller images.
`recommended` starts from ImageNet weights. A study can use any variant: `configs/study.py`.
"""

import functools
from collections.abc import Callable

from ml_collections import ConfigDict

from jaxgan.core.configs import choose_variant, load_beside


def get_config(variant: str = "resnet18_small") -> ConfigDict:
    return choose_variant(__file__, list_variants(), variant)


def list_variants() -> dict[str, Callable[[], ConfigDict]]:
    """Return the functions that create the configs, by the name of the variant."""
    full: dict[str, Callable[[], ConfigDict]] = {
        "resnet18": functools.partial(resnet, 18),
        "resnet50": functools.partial(resnet, 50),
        "vgg16": vgg16,
        "googlenet": googlenet,
        "inception_v3": inception_v3,
        **{f"efficientnet_lite{i}": functools.partial(efficientnet_lite, i) for i in range(3)},
    }
    sides = {"inception_v3": 96}
    small = {
        f"{name}_small": functools.partial(_shrink, create, sides.get(name, 64))
        for name, create in full.items()
    }
    return {"recommended": recommended} | full | small


def recommended() -> ConfigDict:
    """EfficientNet-Lite0 with ImageNet weights, for a few hundred images; only its head learns."""
    config = efficientnet_lite(0)
    config.transfer.weights = "imagenet"
    config.transfer.frozen = "features"
    config.classifier.image_size = 128
    config.classifier.channels = 1  # the network repeats a gray image three times
    config.num_epochs = 30
    config.optimizer.name = "adam"
    config.optimizer.learning_rate = 1e-3
    config.optimizer.momentum = 0.0
    return config


def resnet(depth: int) -> ConfigDict:
    config = _create_run("resnet", image_size=224)
    config.classifier.depth = depth  # 18 or 50
    return config


def vgg16() -> ConfigDict:
    config = _create_run("vgg16", image_size=224)
    config.classifier.head = "dense"  # as printed; "average": one layer on the maps' means
    config.classifier.norm = False  # batch norm after every convolution
    config.classifier.dropout = 0.5
    return config


def googlenet() -> ConfigDict:
    config = _create_run("googlenet", image_size=224)
    config.classifier.paper = False  # True: the paper's form; no published weights fit it
    config.classifier.auxiliary = True  # two extra heads in training
    config.classifier.dropout = 0.2  # the paper has 0.4
    return config


def inception_v3() -> ConfigDict:
    config = _create_run("inception_v3", image_size=299)
    config.classifier.auxiliary = True  # an extra head in training; it needs 299 pixels or more
    config.classifier.dropout = 0.5
    return config


def efficientnet_lite(variant: int) -> ConfigDict:
    config = _create_run("efficientnet_lite", image_size=(224, 240, 260)[variant])
    config.classifier.variant = variant  # 0, 1 or 2: wider and deeper
    config.classifier.dropout = (0.2, 0.2, 0.3)[variant]
    config.classifier.drop_connect = 0.2  # the chance that an image skips the last block
    config.classifier.norm_momentum = 0.99  # share of its statistics that batch norm keeps per step
    return config


def _create_run(family: str, image_size: int) -> ConfigDict:
    """Return a run of a network as published; its other fields are those of configs/gmd.py."""
    config = load_beside(__file__, "gmd").paper()
    config.num_epochs = 60
    config.optimizer.learning_rate = 0.01  # published: 0.1 for a batch of 256 (VGG: 0.01)
    config.optimizer.momentum = 0.9
    config.classifier = ConfigDict()
    config.classifier.family = family
    config.classifier.image_size = image_size
    config.classifier.channels = 3  # 1: gray images; the network sees them three times
    config.classifier.width = 1.0  # times the published number of features, in multiples of 8
    config.classifier.dtype = "float32"  # "bfloat16": of activations, for accelerators
    return config


def _shrink(create: Callable[[], ConfigDict], image_size: int) -> ConfigDict:
    """Return a form that trains in minutes on two CPU cores."""
    config = create()
    config.num_epochs = 30
    config.optimizer.name = "adam"
    config.optimizer.learning_rate = 1e-3
    config.optimizer.momentum = 0.0
    classifier = config.classifier
    classifier.image_size = image_size
    classifier.channels = 1
    classifier.width = 0.25
    if "auxiliary" in classifier:
        classifier.auxiliary = False
    if "head" in classifier:
        classifier.head = "average"
    if "norm_momentum" in classifier:
        classifier.norm_momentum = 0.9  # 0.99 is too slow for a run of hundreds of steps
    return config
