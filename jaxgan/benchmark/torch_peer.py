"""The same work in PyTorch, written to be fast.

The listing of section 4.1, without unnecessary work: the fakes are made once, and D's kernel
gradients are not computed in G's step. The variants follow PyTorch's own advice for speed: the
default ('eager'), the memory format 'channels_last', and `torch.compile`.
"""

import functools
import importlib
from collections.abc import Callable
from typing import Any

from jaxgan.benchmark import ours
from jaxgan.benchmark.workload import Workload
from jaxgan.classifiers.blocks import IMAGENET_MEAN, IMAGENET_SPREAD

# imported by name: PyTorch is an extra, and type-checking goes the same way with it and without
torch: Any = importlib.import_module("torch")

EAGER, CHANNELS_LAST, COMPILED = "eager", "channels_last", "compiled"


def _create_generator(width: int) -> Any:
    nn = torch.nn
    up = functools.partial(nn.ConvTranspose2d, kernel_size=4, bias=False)
    layers: list[Any] = [nn.Unflatten(1, (ours.LATENT_SIZE, 1, 1))]
    inputs = ours.LATENT_SIZE
    for i, factor in enumerate((8, 4, 2, 1)):
        stride, padding = (1, 0) if i == 0 else (2, 1)
        layers += [up(inputs, factor * width, stride=stride, padding=padding)]
        layers += [nn.BatchNorm2d(factor * width), nn.ReLU(inplace=True)]
        inputs = factor * width
    return nn.Sequential(*layers, up(inputs, 3, stride=2, padding=1), nn.Tanh())


def _create_discriminator(width: int) -> Any:
    nn = torch.nn
    down = functools.partial(nn.Conv2d, kernel_size=4, bias=False)
    layers: list[Any] = []
    inputs = 3
    for i, factor in enumerate((1, 2, 4, 8)):
        layers += [down(inputs, factor * width, stride=2, padding=1)]
        layers += [nn.BatchNorm2d(factor * width)] if i else []
        layers += [nn.LeakyReLU(0.2, inplace=True)]
        inputs = factor * width
    return nn.Sequential(*layers, down(inputs, 1, stride=1, padding=0), nn.Flatten(0))


def _create_gmd(width: int, image_size: int) -> Any:
    nn = torch.nn
    layers: list[Any] = []
    size, inputs = image_size, 3
    for block in ((1, 2), (2, 4, 8)):
        for divisor in block:
            layers += [nn.Conv2d(inputs, width // divisor, 3), nn.ReLU(inplace=True)]
            inputs, size = width // divisor, size - 2
        layers += [nn.MaxPool2d(2)]
        size //= 2
    layers += [nn.Flatten(), nn.Linear(inputs * size**2, 100), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.Linear(100, 60), nn.ReLU(inplace=True), nn.Linear(60, 4))


class _Block(torch.nn.Module):
    """Two convolutions of ResNet-18, and the shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        nn = torch.nn
        conv, relu = functools.partial(nn.Conv2d, bias=False), nn.ReLU(inplace=True)
        first = [conv(inputs, outputs, 3, stride, 1), nn.BatchNorm2d(outputs), relu]
        second = [conv(outputs, outputs, 3, 1, 1), nn.BatchNorm2d(outputs)]
        shorten = [conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs)]
        self.deep = nn.Sequential(*first, *second)
        self.short = nn.Sequential(*(shorten if stride == 2 else []))

    def forward(self, x: Any) -> Any:
        return torch.nn.functional.relu(self.deep(x) + self.short(x), inplace=True)


def _create_resnet18(width: int) -> Any:
    nn = torch.nn
    layers: list[Any] = [nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width)]
    layers += [nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)]
    inputs = width
    for block in range(8):
        outputs = width << block // 2
        layers += [_Block(inputs, outputs, 2 if block in (2, 4, 6) else 1)]
        inputs = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, 3))


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def _finish(run: Callable[[], Any]) -> Callable[[], None]:
    """Wait for the accelerator, if there is one."""

    def finished() -> None:
        run()
        if torch.cuda.is_available():
            torch.cuda.synchronize()

    return finished


def _place(network: Any, variant: str) -> Any:
    network = network.to(_device())
    if variant == CHANNELS_LAST:
        network = network.to(memory_format=torch.channels_last)
    return torch.compile(network) if variant == COMPILED else network


def _place_images(pixels: Any, variant: str) -> Any:
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).to(_device())
    layout = torch.channels_last if variant == CHANNELS_LAST else torch.contiguous_format
    return images.contiguous(memory_format=layout)


def _dcgan_train(variant: str, *, batch_size: int, width: int) -> Workload:
    generator = _place(_create_generator(width), variant)
    discriminator = _place(_create_discriminator(width), variant)
    optimizers = [
        torch.optim.Adam(network.parameters(), lr=2e-4, betas=(0.5, 0.999))
        for network in (generator, discriminator)
    ]
    pixels = _place_images(ours.draw_pixels(batch_size, 64, 3), variant)
    ones = torch.ones(batch_size, device=_device())
    zeros = torch.zeros_like(ones)
    bce = torch.nn.functional.binary_cross_entropy_with_logits

    def run() -> None:
        for_generator, for_discriminator = optimizers
        real = pixels.float() / 127.5 - 1.0
        for_discriminator.zero_grad()
        fake = generator(torch.randn(batch_size, ours.LATENT_SIZE, device=_device()))
        bce(discriminator(real), ones).backward()
        bce(discriminator(fake.detach()), zeros).backward()
        for_discriminator.step()
        for_generator.zero_grad()
        discriminator.requires_grad_(False)
        bce(discriminator(fake), ones).backward()
        discriminator.requires_grad_(True)
        for_generator.step()

    return Workload(_finish(run), batch_size)


def _gmd_train(variant: str, *, batch_size: int, width: int, image_size: int) -> Workload:
    network = _place(_create_gmd(width, image_size), variant)
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3)
    pixels = _place_images(ours.draw_pixels(batch_size, image_size, 3), variant)
    labels = torch.arange(batch_size, device=_device()) % 3

    def run() -> None:
        optimizer.zero_grad()
        logits = network(pixels.float() / 127.5 - 1.0)
        torch.nn.functional.cross_entropy(logits, labels).backward()
        optimizer.step()

    return Workload(_finish(run), batch_size)


def _resnet18_train(variant: str, *, batch_size: int, width: int, image_size: int) -> Workload:
    network = _place(_create_resnet18(width), variant)
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3)
    pixels = _place_images(ours.draw_pixels(batch_size, image_size, 3), variant)
    labels = torch.arange(batch_size, device=_device()) % 3
    mean, spread = (
        torch.tensor(row, device=_device())[:, None, None]
        for row in (IMAGENET_MEAN, IMAGENET_SPREAD)
    )

    def run() -> None:
        optimizer.zero_grad()
        logits = network((pixels.float() / 255.0 - mean) / spread)
        torch.nn.functional.cross_entropy(logits, labels).backward()
        optimizer.step()

    return Workload(_finish(run), batch_size)


class _ToBytes(torch.nn.Module):
    """Images [batch, c, h, w] in [-1, 1] to bytes [batch, h, w, c]."""

    def forward(self, images: Any) -> Any:
        return ((images + 1.0) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def _sample(variant: str, *, batch_size: int, width: int) -> Workload:
    network = torch.nn.Sequential(_create_generator(width), _ToBytes())
    network = _place(network.eval(), variant)

    def run() -> None:
        with torch.inference_mode():
            latents = torch.randn(batch_size, ours.LATENT_SIZE, device=_device())
            network(latents).cpu().numpy()

    return Workload(_finish(run), batch_size)


def _convolution(
    variant: str,
    *,
    product: str,
    batch_size: int,
    size: int,
    inputs: int,
    outputs: int,
    kernel_size: int,
    strides: int,
    padding: Any,
) -> Workload:
    before = 0 if padding == "VALID" else padding[0][0]
    layer = torch.nn.Conv2d(inputs, outputs, kernel_size, strides, before, bias=False)
    layer = _place(layer, variant)
    layout = torch.channels_last if variant == CHANNELS_LAST else torch.contiguous_format
    x = torch.randn(batch_size, inputs, size, size, device=_device())
    x = x.contiguous(memory_format=layout).requires_grad_()
    y = layer(x)
    dy = torch.randn_like(y)

    def run() -> None:
        if product == "forward":
            with torch.inference_mode():
                layer(x)
        else:
            of = x if product == "input_gradient" else layer.weight
            torch.autograd.grad(y, of, dy, retain_graph=True)

    return Workload(_finish(run), batch_size)


_WORKLOADS: dict[str, Callable[..., Workload]] = {
    "dcgan_train": _dcgan_train,
    "gmd_train": _gmd_train,
    "resnet18_train": _resnet18_train,
    "sample": _sample,
    "convolution": _convolution,
}


def build(*, workload: str, variant: str, **arguments: Any) -> Workload:
    """Build a workload in a variant."""
    return _WORKLOADS[workload](variant, **arguments)
