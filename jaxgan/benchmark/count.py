"""Arithmetic of the networks in the textbook form: two floating-point operations per product."""

import itertools
import math
from collections.abc import Sequence


def count_product(result: Sequence[int], kernel: Sequence[int]) -> int:
    """Count a convolution, or a gradient of it, from its shapes [b, h, w, o] and [kh, kw, i, o]."""
    return 2 * math.prod(result) * math.prod(kernel[:3])


def count_discriminator_layers(width: int) -> list[int]:
    """Count D's layers per image of 64x64x3; G has the same layers in reverse order."""
    channels = (3, width, 2 * width, 4 * width, 8 * width)
    layers = [
        2 * (32 >> i) ** 2 * 16 * inputs * outputs
        for i, (inputs, outputs) in enumerate(itertools.pairwise(channels))
    ]
    return [*layers, 2 * 16 * 8 * width]


def count_generator(width: int) -> int:
    """Count the generator's forward pass per image of 64x64x3."""
    return sum(count_discriminator_layers(width)[:-1]) + 2 * 100 * 16 * 8 * width


def count_gan_step(width: int) -> int:
    """Count a step of D and G per image: only the work that training needs.

    D sees a real and a fake image and needs both gradients of each, except those of the pixels. G's
    step goes through D to the pixels, without gradients of D's kernels. G runs once and needs all
    its gradients except those of the latents.
    """
    layers = count_discriminator_layers(width)
    discriminator = 2 * (3 * sum(layers) - layers[0])
    through = 2 * sum(layers)
    generator = 3 * count_generator(width) - 2 * 100 * 16 * 8 * width
    return discriminator + through + generator


def count_gmd_layers(width: int, image_size: int) -> list[int]:
    """Count GMD's layers with 'VALID' padding, per image of 3 channels."""
    size, inputs, layers = image_size, 3, []
    for block in ((1, 2), (2, 4, 8)):
        for divisor in block:
            size -= 2
            outputs = width // divisor
            layers.append(2 * size**2 * 9 * inputs * outputs)
            inputs = outputs
        size //= 2
    return [*layers, 2 * size**2 * inputs * 100, 2 * 100 * 60, 2 * 60 * 4]


def count_gmd_step(width: int, image_size: int) -> int:
    """Count a training step of GMD per image: the gradient of the pixels is not needed."""
    layers = count_gmd_layers(width, image_size)
    return 3 * sum(layers) - layers[0]


def count_resnet18_layers(features: Sequence[int], image_size: int) -> list[int]:
    """Count ResNet-18's layers per image of 3 channels; `features` are those of the four stages."""
    size = -(-image_size // 2)
    layers = [2 * size**2 * 49 * 3 * features[0]]
    size, inputs = -(-size // 2), features[0]
    for stage, outputs in enumerate(features):
        size = -(-size // 2) if stage else size
        layers += [2 * size**2 * 9 * inputs * outputs] + [2 * size**2 * 9 * outputs**2] * 3
        layers += [2 * size**2 * inputs * outputs] if stage else []
        inputs = outputs
    return [*layers, 2 * inputs * 3]


def count_resnet18_step(features: Sequence[int], image_size: int) -> int:
    """Count a training step of ResNet-18 per image: the gradient of the pixels is not needed."""
    layers = count_resnet18_layers(features, image_size)
    return 3 * sum(layers) - layers[0]
