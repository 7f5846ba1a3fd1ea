"""Outputs and training steps against PyTorch: networks of its own, with copied weights.

The PyTorch side is written from the paper's figures and the listing in section 4.1, in numbers and
not in formulas, and shares nothing with `jaxgan` but the weights.

Training steps are held to a tight tolerance in float64. In float32 no two programs agree on every
parameter, nor PyTorch with itself in float64: Adam's first step is lr * sign(gradient), so that a
gradient which is all rounding error moves by +lr here and -lr there; and an activation within
rounding of a ReLU's kink gives its unit's gradient or does not. So in float32 Adam is judged where
the gradient is not rounding error, and SGD by a difference beside the size of the update.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgan.classifiers.gmd import Gmd
from jaxgan.classifiers.protocol import Classifier, InputForm
from jaxgan.classifiers.step import ClassifierState, train_step
from jaxgan.core.types import Batch
from jaxgan.gans import recipe, two_player
from jaxgan.gans.two_player import GanState, Player
from jaxgan.networks.state import NetworkState
from tests.helpers import create_state, create_step, make_dcgan_settings

torch = pytest.importorskip(
    "torch", reason="parity needs PyTorch as the reference: pip install -e '.[peers]'"
)

OUTPUT_TOLERANCE = 1e-5
PARAMETER_TOLERANCE = 1e-4
ROUNDING = 0.03  # of the largest gradient in a weight: what float32 leaves unsure
BATCH_SIZE = 8
LATENT_SIZE = 100


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


def take_weights(peer: Peer) -> dict[str, np.ndarray]:
    return {key: weight.detach().numpy().copy() for key, weight in get_weights(peer).items()}


def take_first_moments(peer: Peer, optimizer) -> dict[str, np.ndarray]:
    """Return Adam's first moments: after one step, the gradients times 1 - beta1."""
    moments = {key: optimizer.state[weight] for key, weight in get_weights(peer).items()}
    return {key: m["exp_avg"].numpy().copy() for key, m in moments.items() if "exp_avg" in m}


def take_statistics(peer: Peer) -> dict[str, Any]:
    """Return copies of running mean and variance of every batch norm, as linen names them."""
    return {
        name: {
            "mean": layer.running_mean.numpy().copy(),
            "var": layer.running_var.numpy().copy(),
        }
        for name, layer in peer.get_layers()
        if hasattr(layer, "running_mean")
    }


def count_weights(peer: Peer) -> int:
    return sum(weight.numel() for weight in peer.network.parameters())


def use_dcgan_scale(shape) -> float:
    return 0.02


def use_he_scale(shape) -> float:
    """Keep activations and logits near 1 with ReLU, so that 1e-5 is a small part of them."""
    return float(np.sqrt(2.0 / np.prod(shape[:-1])))


def draw_variables(shapes, compute_scale: Callable[..., float], dtype="float32", seed=0):
    """Draw all of a network's variables, none of them at the 0 or 1 it would start from."""
    rng = np.random.default_rng(seed)

    def draw(path, leaf):
        name = path[-1].key
        if name == "kernel":
            return (rng.standard_normal(leaf.shape) * compute_scale(leaf.shape)).astype(dtype)
        centre = 1.0 if name in ("scale", "var") else 0.0
        return (centre + rng.uniform(-0.2, 0.2, leaf.shape)).astype(dtype)

    return jax.tree_util.tree_map_with_path(draw, shapes)


def draw_pixels(num, size, seed=0):
    """Draw noisy waves over a slope: bytes [num, size, size, 3] without any symmetry."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] / size
    waves = [np.sin(2 * np.pi * (f[0] * x + f[1] * y)) for f in rng.uniform(0.5, 3, (num * 3, 2))]
    images = np.stack(waves).reshape(num, 3, size, size).transpose(0, 2, 3, 1) * 70 + x[..., None]
    return np.clip(images + rng.uniform(60, 190, images.shape), 0, 255).astype(np.uint8)


def to_unit(pixels, dtype="float32"):
    return pixels.astype(dtype) / 127.5 - 1.0


@pytest.fixture
def float64(monkeypatch):
    """Compute in float64, the scale of pixels too: the steps would magnify its rounding."""
    monkeypatch.setattr(two_player, "scale_to_unit", lambda x: jnp.float64(x) / 127.5 - 1.0)
    with jax.enable_x64(True):
        yield


def make_settings():
    """The paper's DCGAN and optimiser, augmentation and moving average off."""
    return make_dcgan_settings(
        image_size=64,
        channels=3,
        latent_size=LATENT_SIZE,
        generator_width=64,
        discriminator_width=64,
        learning_rate=2e-4,
        beta1=0.5,
        beta2=0.999,
        batch_size=BATCH_SIZE,
        diffaugment=False,
        ema_decay=0.0,
    )


def draw_gan(dtype="float32"):
    """Return drawn variables of both networks, and PyTorch's networks with the same."""
    settings = make_settings()
    shapes = jax.eval_shape(lambda: create_state(settings, jax.random.key(0)))
    variables = [
        draw_variables(network.variables, use_dcgan_scale, dtype, seed)
        for seed, network in enumerate((shapes.generator, shapes.discriminator))
    ]
    peers = create_peer_generator(), create_peer_discriminator()
    for own, peer in zip(variables, peers, strict=True):
        peer.network.to(getattr(torch, dtype))
        copy_weights(own, peer)
    return variables, peers


def check_outputs(ours, theirs):
    assert ours.shape == theirs.shape
    assert np.std(theirs) > 1e3 * OUTPUT_TOLERANCE  # or agreement would say nothing
    np.testing.assert_allclose(ours, theirs, rtol=0.0, atol=OUTPUT_TOLERANCE)


@pytest.mark.parametrize("train", [True, False], ids=["train", "eval"])
def test_dcgan_outputs(train):
    generator, discriminator = make_settings().gan.create_networks()
    variables, peers = draw_gan()
    assert [count_weights(peer) for peer in peers] == [3_576_704, 2_765_568]
    rng = np.random.default_rng(5)
    latents = rng.standard_normal((BATCH_SIZE, LATENT_SIZE)).astype(np.float32)
    images = to_unit(draw_pixels(BATCH_SIZE, 64))

    def apply(network, variables, x):
        return network.apply(variables, x, train=train, mutable=["batch_stats"])[0]

    ours = [
        jax.jit(functools.partial(apply, network))(own, x)
        for network, own, x in zip(
            (generator, discriminator), variables, (latents, images), strict=True
        )
    ]
    with torch.no_grad():
        fakes = peers[0].network.train(train)(to_torch(latents)).numpy()
        logits = peers[1].network.train(train)(to_nchw(images)).numpy()
    check_outputs(ours[0], fakes.transpose(0, 2, 3, 1))
    check_outputs(ours[1], logits)


def bce(logits, target: float):
    """Binary cross-entropy against one target, the mean over the batch."""
    targets = torch.full_like(logits, target)
    return torch.nn.functional.binary_cross_entropy_with_logits(logits, targets)


def run_listing(peers, optimizers, real, latents):
    """Do one iteration of the listing in section 4.1.

    Returns its metrics, and D's running statistics before G's turn moves them.
    """
    generator, discriminator = (peer.network.train() for peer in peers)
    for_generator, for_discriminator = optimizers

    for_discriminator.zero_grad()
    real_logits = discriminator(real)
    real_loss = bce(real_logits, 1.0)
    real_loss.backward()
    fake = generator(latents)
    fake_logits = discriminator(fake.detach())
    fake_loss = bce(fake_logits, 0.0)
    fake_loss.backward()
    for_discriminator.step()
    statistics = take_statistics(peers[1])

    for_generator.zero_grad()
    new_logits = discriminator(fake)
    loss = bce(new_logits, 1.0)
    loss.backward()
    for_generator.step()

    metrics = {
        "loss_d": real_loss + fake_loss,
        "loss_g": loss,
        "d_real": real_logits.sigmoid().mean(),
        "d_fake": fake_logits.sigmoid().mean(),
        "d_fake_after": new_logits.sigmoid().mean(),
    }
    return {key: value.item() for key, value in metrics.items()}, statistics


class Snapshot(NamedTuple):
    """What one step of both programs left."""

    state: GanState
    metrics: dict[str, Any]
    weights: list[dict[str, np.ndarray]]
    statistics: list[dict[str, Any]]
    peer_metrics: dict[str, float]
    first_moments: list[dict[str, np.ndarray]]


def run_both(dtype, rates: tuple[float, float] | None, num_steps: int):
    """Train both programs from the same weights, on the same images and latents.

    With `rates`, G and D descend the plain gradient at these; without, by the settings' Adam.
    Returns what they began with, PyTorch's networks, and a snapshot a step.
    """
    settings = make_settings()
    variables, peers = draw_gan(dtype)
    begin = [take_weights(peer) for peer in peers]
    parameters = [peer.network.parameters() for peer in peers]
    if rates is None:
        optimizers = [recipe.create_optimizer(settings.gan)] * 2
        theirs = [torch.optim.Adam(p, lr=2e-4, betas=(0.5, 0.999)) for p in parameters]
    else:
        optimizers = [optax.sgd(rate) for rate in rates]
        theirs = [torch.optim.SGD(p, lr=r) for p, r in zip(parameters, rates, strict=True)]
    players = zip(settings.gan.create_networks(), optimizers, strict=True)
    generator, discriminator = (Player(*player) for player in players)
    step_fn: Any = functools.partial(
        create_step(settings, None), generator=generator, discriminator=discriminator
    )
    step = jax.jit(step_fn)
    networks = [
        NetworkState(own["params"], own["batch_stats"], optimizer.init(own["params"]))
        for own, optimizer in zip(variables, optimizers, strict=True)
    ]
    state = GanState(jnp.int32(0), networks[0], networks[1], None, jnp.float32(1.0))
    snapshots = []
    for i in range(num_steps):
        pixels, key = draw_pixels(BATCH_SIZE, 64, seed=i), jax.random.key(i)
        labels = jnp.zeros(BATCH_SIZE, jnp.int32)
        state, metrics = step(state, Batch(jnp.asarray(pixels), labels), key)
        latents = jax.random.normal(jax.random.split(key, 4)[0], (BATCH_SIZE, LATENT_SIZE))
        peer_metrics, statistics = run_listing(
            peers, theirs, to_nchw(to_unit(pixels, dtype)), to_torch(latents)
        )
        weights = [take_weights(peer) for peer in peers]
        all_statistics = [take_statistics(peers[0]), statistics]
        moments = [take_first_moments(*pair) for pair in zip(peers, theirs, strict=True)]
        snapshots.append(Snapshot(state, metrics, weights, all_statistics, peer_metrics, moments))
    return begin, peers, snapshots


class Difference(NamedTuple):
    """How far one weight is from PyTorch's, beside how far that has moved.

    `num_beyond` of its `num` numbers differ by more than the tolerance.
    """

    name: str
    largest: float
    num: int
    num_beyond: int
    largest_movement: float


def compare_weights(params, weights, begin, peer: Peer) -> list[Difference]:
    converted = convert(params, peer)
    assert converted and set(converted) == set(weights)
    differences = []
    for name, ours in converted.items():
        assert ours.dtype == weights[name].dtype
        error = np.abs(ours - weights[name])
        movement = np.abs(weights[name] - begin[name])
        num_beyond = int(np.sum(error > PARAMETER_TOLERANCE))
        differences.append(
            Difference(name, float(error.max()), error.size, num_beyond, float(movement.max()))
        )
    return differences


def compare_snapshot(snapshot: Snapshot, begin, peers) -> list[Difference]:
    """Return the differences of G's weights and then D's."""
    networks = snapshot.state.generator, snapshot.state.discriminator
    return [
        difference
        for network, weights, first, peer in zip(
            networks, snapshot.weights, begin, peers, strict=True
        )
        for difference in compare_weights(network.params, weights, first, peer)
    ]


def check_metrics(snapshot: Snapshot, tolerance, tolerance_after=None):
    """Compare metrics; with another tolerance for those that D's update has gone into."""
    assert set(snapshot.peer_metrics) < set(snapshot.metrics)
    for key, expected in snapshot.peer_metrics.items():
        after = tolerance_after is not None and key in ("loss_g", "d_fake_after")
        bound = tolerance_after if after else tolerance
        got = float(snapshot.metrics[key])
        assert got == pytest.approx(expected, rel=bound, abs=bound), key


def check_statistics(snapshot: Snapshot, tolerance):
    """Compare running statistics after one step: one batch seen by G, two by D.

    PyTorch keeps the unbiased variance, n / (n - 1) of linen's, in what each batch adds.
    """
    networks = snapshot.state.generator, snapshot.state.discriminator
    num_values = {
        **{"stem_norm": 4**2, "up1_norm": 8**2, "up2_norm": 16**2, "up3_norm": 32**2},
        **{"down1_norm": 16**2, "down2_norm": 8**2, "down3_norm": 4**2},
    }
    variables, _ = draw_gan("float64")
    for own, network, theirs, num_batches in zip(
        variables, networks, snapshot.statistics, (1, 2), strict=True
    ):
        assert set(theirs) == set(network.batch_stats)
        for name, stats in theirs.items():
            ours, n = network.batch_stats[name], BATCH_SIZE * num_values[name]
            kept = 0.9**num_batches * own["batch_stats"][name]["var"]
            biased = kept + (stats["var"] - kept) * (n - 1) / n
            assert np.max(np.abs(stats["mean"] - own["batch_stats"][name]["mean"])) > 1e-3
            np.testing.assert_allclose(ours["mean"], stats["mean"], rtol=0.0, atol=tolerance)
            np.testing.assert_allclose(ours["var"], biased, rtol=0.0, atol=tolerance)


@pytest.mark.usefixtures("float64")
def test_three_dcgan_steps_with_adam_in_float64():
    """The betas do not show before the second step."""
    begin, peers, snapshots = run_both("float64", None, 3)
    for num_steps, tolerance in ((1, 1e-9), (3, 3e-9)):
        for difference in compare_snapshot(snapshots[num_steps - 1], begin, peers):
            assert difference.largest < tolerance < PARAMETER_TOLERANCE, difference
            assert difference.largest_movement > num_steps * 1.9e-4, difference
    for snapshot in snapshots:
        check_metrics(snapshot, 1e-9)
    check_statistics(snapshots[0], 1e-12)


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
def test_a_dcgan_step_with_sgd_in_float64():
    """The size of the gradient, which Adam's first step hides."""
    begin, peers, (snapshot,) = run_both("float64", (0.1, 0.03), 1)
    for difference in compare_snapshot(snapshot, begin, peers):
        assert difference.largest < 1e-12 < PARAMETER_TOLERANCE, difference
        assert difference.largest_movement > 10 * PARAMETER_TOLERANCE, difference
    check_metrics(snapshot, 1e-9)


def test_a_dcgan_step_with_adam_in_float32():
    """Every weight whose gradient is more than rounding error moves as PyTorch's does."""
    begin, peers, (snapshot,) = run_both("float32", None, 1)
    differences = compare_snapshot(snapshot, begin, peers)
    networks = snapshot.state.generator, snapshot.state.discriminator
    num_judged = 0
    for network, weights, moments, peer in zip(
        networks, snapshot.weights, snapshot.first_moments, peers, strict=True
    ):
        for name, ours in convert(network.params, peer).items():
            gradient = np.abs(moments[name])
            judged = gradient > ROUNDING * gradient.max()
            assert np.abs(ours - weights[name])[judged].max() < PARAMETER_TOLERANCE, name
            num_judged += int(judged.sum())
    assert num_judged > 0.7 * sum(d.num for d in differences)
    assert all(d.largest_movement > 1.9e-4 for d in differences)
    check_metrics(snapshot, 1e-5, tolerance_after=5e-4)
    check_statistics(snapshot, 1e-5)


def test_a_dcgan_step_with_sgd_in_float32():
    begin, peers, (snapshot,) = run_both("float32", (0.1, 0.001), 1)
    for difference in compare_snapshot(snapshot, begin, peers):
        assert difference.largest < 0.05 * difference.largest_movement, difference
    check_metrics(snapshot, 1e-5, tolerance_after=1e-4)


def create_gmd(size, width, padding, dtype="float32"):
    """Return GMD, drawn parameters, and PyTorch's with the same."""
    model = Gmd(width=width, padding=padding)
    example = jnp.zeros((1, size, size, 3))
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), example, train=False))
    variables = draw_variables(shapes, use_he_scale, dtype)
    num_flat = variables["params"]["dense0"]["kernel"].shape[0]
    convolutions = [width // divisor for divisor in (1, 2, 2, 4, 8)]
    peer = create_peer_gmd(convolutions, num_flat, padding={"VALID": 0, "SAME": 1}[padding])
    peer.network.to(getattr(torch, dtype))
    return model, variables, copy_weights(variables, peer)


@pytest.mark.parametrize(
    ("size", "width", "padding", "num_images"),
    [(150, 256, "VALID", 1), (30, 32, "VALID", 4), (30, 32, "SAME", 4), (33, 32, "SAME", 4)],
)
def test_gmd_outputs(size, width, padding, num_images):
    model, variables, peer = create_gmd(size, width, padding)
    images = to_unit(draw_pixels(num_images, size))
    with torch.no_grad():
        expected = peer.network(to_nchw(images)).numpy()
    outputs = jax.jit(functools.partial(model.apply, train=False))(variables, images)
    check_outputs(outputs.logits, expected)
    if size == 150:
        assert count_weights(peer) == 4_033_252


def run_gmd_step(size, width, padding, dtype, rate, num_images):
    """Descend once by both programs; return the differences of weights and of loss."""
    model, variables, peer = create_gmd(size, width, padding, dtype)
    pixels, labels = draw_pixels(num_images, size), np.arange(2, 2 + num_images) % 4
    begin, optimizer = take_weights(peer), optax.sgd(rate)
    params = variables["params"]
    state = ClassifierState(params, {}, optimizer.init(params), step=jnp.int32(0))
    form = InputForm(size, 3, scale=lambda images: images.astype(dtype) / 127.5 - 1.0)
    step = functools.partial(
        train_step, classifier=Classifier(lambda axis_name: model, form), optimizer=optimizer
    )
    batch = Batch(jnp.asarray(pixels), jnp.asarray(labels, jnp.int32))
    state, metrics = jax.jit(step)(state, batch, jax.random.key(0))

    theirs = torch.optim.SGD(peer.network.parameters(), lr=rate)
    logits = peer.network(to_nchw(to_unit(pixels, dtype)))
    loss = torch.nn.functional.cross_entropy(logits, torch.tensor(labels))
    loss.backward()
    theirs.step()
    accuracy = np.mean(logits.argmax(1).numpy() == labels)
    assert float(metrics["accuracy"]) == pytest.approx(accuracy)
    assert float(metrics["loss"]) == pytest.approx(loss.item(), rel=1e-5)
    return compare_weights(state.params, take_weights(peer), begin, peer)


def test_a_gmd_step():
    for difference in run_gmd_step(150, 256, "VALID", "float32", 0.01, num_images=2):
        assert difference.largest < PARAMETER_TOLERANCE, difference
        assert difference.largest_movement > 10 * PARAMETER_TOLERANCE, difference


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("padding", ["VALID", "SAME"])
def test_a_gmd_step_in_float64(padding):
    for difference in run_gmd_step(33, 32, padding, "float64", 0.1, num_images=6):
        assert difference.largest < 1e-12 < PARAMETER_TOLERANCE, difference
        assert difference.largest_movement > 10 * PARAMETER_TOLERANCE, difference
