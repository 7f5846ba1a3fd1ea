"""Outputs and training steps against PyTorch: networks of its own, with copied weights.

The PyTorch side is written from the paper's figures, the table in the specification and the listing
in section 4.1, in numbers and not in formulas, and shares nothing with `jaxgan` but the weights.
"""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest

torch = pytest.importorskip(
    "torch", reason="parity needs PyTorch as the reference: pip install -e '.[peers]'"
)

OUTPUT_TOLERANCE = 1e-5
PARAMETER_TOLERANCE = 1e-4
METRICS = ("loss_d", "loss_g", "d_real", "d_fake", "d_fake_after")
BATCH_SIZE = 8


class Peer(NamedTuple):
    """A PyTorch network, and what linen calls its layers that have weights, in order."""

    network: Any
    names: tuple[str, ...]

    def get_layers(self):
        """Pairs of linen's name and PyTorch's layer."""
        layers = [layer for layer in self.network if list(layer.parameters())]
        return list(zip(self.names, layers, strict=True))


def create_peer_generator() -> Peer:
    """Figures 2 and 5: 100 numbers to 64x64x3."""
    nn = torch.nn
    up = functools.partial(nn.ConvTranspose2d, kernel_size=4, bias=False)
    network = nn.Sequential(
        nn.Unflatten(1, (100, 1, 1)),
        *(up(100, 512, stride=1, padding=0), nn.BatchNorm2d(512), nn.ReLU()),
        *(up(512, 256, stride=2, padding=1), nn.BatchNorm2d(256), nn.ReLU()),
        *(up(256, 128, stride=2, padding=1), nn.BatchNorm2d(128), nn.ReLU()),
        *(up(128, 64, stride=2, padding=1), nn.BatchNorm2d(64), nn.ReLU()),
        *(up(64, 3, stride=2, padding=1), nn.Tanh()),
    )
    names = ("stem", "stem_norm", "up1", "up1_norm", "up2", "up2_norm", "up3", "up3_norm", "image")
    return Peer(network, names)


def create_peer_discriminator() -> Peer:
    """Figure 5, up to the logit: the sigmoid is in the step."""
    nn = torch.nn
    down = functools.partial(nn.Conv2d, kernel_size=4, bias=False)
    network = nn.Sequential(
        *(down(3, 64, stride=2, padding=1), nn.LeakyReLU(0.2)),
        *(down(64, 128, stride=2, padding=1), nn.BatchNorm2d(128), nn.LeakyReLU(0.2)),
        *(down(128, 256, stride=2, padding=1), nn.BatchNorm2d(256), nn.LeakyReLU(0.2)),
        *(down(256, 512, stride=2, padding=1), nn.BatchNorm2d(512), nn.LeakyReLU(0.2)),
        *(down(512, 1, stride=1, padding=0), nn.Flatten(0)),
    )
    names = ("down0", "down1", "down1_norm", "down2", "down2_norm", "down3", "down3_norm", "head")
    return Peer(network, names)


def create_peer_gmd(convolutions: Sequence[int], num_flat: int, padding: int) -> Peer:
    """Section 3.2.1, with the features of its five convolutions."""
    nn = torch.nn
    a, b, c, d, e = convolutions
    conv = functools.partial(nn.Conv2d, kernel_size=3, padding=padding)
    network = nn.Sequential(
        *(conv(3, a), nn.ReLU(), conv(a, b), nn.ReLU(), nn.MaxPool2d(2)),
        *(conv(b, c), nn.ReLU(), conv(c, d), nn.ReLU(), conv(d, e), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(num_flat, 100), nn.ReLU()),
        *(nn.Linear(100, 60), nn.ReLU(), nn.Linear(60, 4)),
    )
    convs = ("conv0_0", "conv0_1", "conv1_0", "conv1_1", "conv1_2")
    return Peer(network, (*convs, "dense0", "dense1", "output"))


def convert_kernel(kernel, layer, num_channels):
    """Bring a linen kernel into PyTorch's layout; `num_channels` is that of flattened maps."""
    if isinstance(layer, torch.nn.ConvTranspose2d):  # HWIO to IOHW, and turned by 180 degrees
        return kernel[::-1, ::-1].transpose(2, 3, 0, 1)
    if isinstance(layer, torch.nn.Conv2d):  # HWIO to OIHW
        return kernel.transpose(3, 2, 0, 1)
    if num_channels is None:
        return kernel.T
    size = round((kernel.shape[0] / num_channels) ** 0.5)  # flattened HWC to flattened CHW
    return (
        kernel.reshape(size, size, num_channels, -1).transpose(3, 2, 0, 1).reshape(-1, len(kernel))
    )


def convert(params, peer: Peer) -> dict[str, np.ndarray]:
    """Return linen parameters as PyTorch has them, by linen's layer and PyTorch's weight."""
    assert set(params) == set(peer.names)
    converted, num_channels = {}, None
    for name, layer in peer.get_layers():
        leaves = {key: np.asarray(leaf) for key, leaf in params[name].items()}
        if "bias" in leaves:
            converted[f"{name}.bias"] = leaves.pop("bias")
        if "scale" in leaves:
            converted[f"{name}.weight"] = leaves.pop("scale")
        if "kernel" in leaves:
            kernel = convert_kernel(leaves.pop("kernel"), layer, num_channels)
            converted[f"{name}.weight"] = kernel
            num_channels = getattr(layer, "out_channels", None)
        assert not leaves
    return converted


def get_weights(peer: Peer) -> dict[str, Any]:
    return {
        f"{name}.{key}": weight
        for name, layer in peer.get_layers()
        for key, weight in layer.named_parameters()
    }


def to_torch(array) -> Any:
    return torch.tensor(np.array(array, order="C"))


def to_nchw(images) -> Any:
    return to_torch(np.asarray(images).transpose(0, 3, 1, 2))


def copy_weights(variables, peer: Peer) -> Peer:
    """Give a PyTorch network linen's parameters and, where there are any, running statistics."""
    weights = get_weights(peer)
    converted = convert(variables["params"], peer)
    assert set(weights) == set(converted)
    layers = dict(peer.get_layers())
    with torch.no_grad():
        for key, value in converted.items():
            assert weights[key].shape == value.shape
            weights[key].copy_(to_torch(value))
        for name, stats in variables.get("batch_stats", {}).items():
            layers[name].running_mean.copy_(to_torch(stats["mean"]))
            layers[name].running_var.copy_(to_torch(stats["var"]))
    return peer


def count_weights(peer: Peer) -> int:
    return sum(weight.numel() for weight in peer.network.parameters())


def compute_differences(params, peer_weights, peer: Peer) -> dict[str, float]:
    """Return the largest difference of each of the network's weights."""
    converted = convert(params, peer)
    assert set(converted) == set(peer_weights)
    return {key: float(np.max(np.abs(converted[key] - peer_weights[key]))) for key in converted}


def take_weights(peer: Peer) -> dict[str, np.ndarray]:
    return {key: weight.detach().numpy().copy() for key, weight in get_weights(peer).items()}


def roughen(variables, seed=0):
    """Move every bias, scale and statistic away from the 0 or 1 it starts from."""
    rng = np.random.default_rng(seed)

    def move(path, leaf):
        noise = rng.uniform(-0.2, 0.2, leaf.shape).astype(np.float32)
        return leaf if path[-1].key == "kernel" else leaf + noise

    return jax.tree_util.tree_map_with_path(move, variables)


def draw_pixels(num, size, seed=0):
    """Draw blobs, noise and a gradient: bytes [num, size, size, 3] with no symmetry."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] / size
    waves = [np.sin(2 * np.pi * (f[0] * x + f[1] * y)) for f in rng.uniform(0.5, 3, (num * 3, 2))]
    images = np.stack(waves).reshape(num, 3, size, size).transpose(0, 2, 3, 1) * 70 + x[..., None]
    return np.clip(images + rng.uniform(60, 190, images.shape), 0, 255).astype(np.uint8)


def to_unit(pixels):
    return pixels.astype(np.float32) / 127.5 - 1.0
