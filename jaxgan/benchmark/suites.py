"""The suites: their cases and the peers that they are compared with."""

import functools
import importlib.util
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax

from jaxgan.benchmark import flax_peer, launched, ours, several
from jaxgan.benchmark.alternate import run_case
from jaxgan.benchmark.launched import Launcher
from jaxgan.benchmark.record import Record
from jaxgan.benchmark.workload import Case, Contender, Workload
from jaxgan.core.console import say

PEERS = ("torch", "flax")
_TORCH_VARIANTS = ("eager", "channels_last", "compiled")


def _build_torch(*, workload: str, variant: str, **arguments: Any) -> Workload:
    """Import PyTorch only in the worker."""
    from jaxgan.benchmark import torch_peer

    return torch_peer.build(workload=workload, variant=variant, **arguments)


def find_peers(wanted: Sequence[str]) -> list[str]:
    """Return the installed peers; say which are not installed."""
    found = [peer for peer in wanted if importlib.util.find_spec(peer)]
    for peer in wanted:
        if peer not in found:
            say(f"Skipped the peer {peer}: it is not installed (pip install -e '.[peers]').")
    return found


def _contend(workload: str, peers: Sequence[str]) -> tuple[Contender, ...]:
    """Return jaxgan's workload of that name, and the peers'."""
    contenders = [Contender("jaxgan", None, getattr(ours, workload))]
    if "torch" in peers:
        contenders += [
            Contender(
                f"torch {variant}",
                "torch",
                functools.partial(_build_torch, workload=workload, variant=variant),
            )
            for variant in _TORCH_VARIANTS
        ]
    if "flax" in peers:
        contenders += [Contender("flax", "flax", getattr(flax_peer, workload))]
    return tuple(contenders)


def _dcgan_train(peers: Sequence[str], small: bool) -> Iterator[Case]:
    for batch_size in (4,) if small else (128, 64, 32):
        arguments = {"batch_size": batch_size, "width": 8 if small else 64}
        contenders = _contend("dcgan_train", peers)
        yield Case("dcgan_train", f"64x64, batch {batch_size}", arguments, contenders)


def _gmd_train(peers: Sequence[str], small: bool) -> Iterator[Case]:
    size, width = (32, 16) if small else (150, 256)
    for batch_size in (2,) if small else (32, 8):
        arguments = {"batch_size": batch_size, "width": width, "image_size": size}
        contenders = _contend("gmd_train", peers)
        yield Case("gmd_train", f"{size}x{size}, batch {batch_size}", arguments, contenders)


def _resnet18_train(peers: Sequence[str], small: bool) -> Iterator[Case]:
    batch_size, size, width = (4, 32, 8) if small else (32, 64, 64)
    arguments = {"batch_size": batch_size, "width": width, "image_size": size}
    contenders = _contend("resnet18_train", peers)
    yield Case("resnet18_train", f"{size}x{size}, batch {batch_size}", arguments, contenders)


def _sample(peers: Sequence[str], small: bool) -> Iterator[Case]:
    for batch_size in (4,) if small else (64, 1):
        arguments = {"batch_size": batch_size, "width": 8 if small else 64}
        contenders = _contend("sample", peers)
        yield Case("sample", f"64x64, batch {batch_size}", arguments, contenders)


# name, size of the image, channels in and out, kernel, stride, padding. The generator's layers are
# the discriminator's in reverse: its forward product is their input gradient.
_Layer = tuple[str, int, int, int, int, int]
_DCGAN_LAYERS: list[_Layer] = [
    *(("down0", 64, 3, 64, 4, 2), ("down1", 32, 64, 128, 4, 2)),
    *(("down2", 16, 128, 256, 4, 2), ("down3", 8, 256, 512, 4, 2)),
]
_GMD_LAYERS: list[_Layer] = [
    *(("conv0_0", 150, 3, 256, 3, 1), ("conv0_1", 148, 256, 128, 3, 1)),
    *(("conv1_0", 73, 128, 128, 3, 1), ("conv1_1", 71, 128, 64, 3, 1)),
    ("conv1_2", 69, 64, 32, 3, 1),
]
_PRODUCTS = ("forward", "input_gradient", "kernel_gradient")


def _convolutions(peers: Sequence[str], small: bool) -> Iterator[Case]:
    peak = Contender("jaxgan", None, ours.matrix_product)
    size = 64 if small else 2048
    yield Case("convolutions", f"matrix product {size}", {"size": size}, (peak,))
    networks = (("dcgan", 64, _DCGAN_LAYERS), ("gmd", 8, _GMD_LAYERS))
    layers = [(net, num, layer) for net, num, of_net in networks for layer in of_net]
    for network, num, (layer, image_size, inputs, outputs, kernel_size, strides) in layers:
        batch_size, name = 2 if small else num, f"{network} {layer}"
        if small and layer != "down0":
            continue
        for product in _PRODUCTS:
            if inputs == 3 and product == "input_gradient" and name.startswith("gmd"):
                continue  # no training needs it
            arguments: dict[str, object] = {
                "product": product,
                "batch_size": batch_size,
                "size": image_size,
                "inputs": inputs,
                "outputs": outputs,
                "kernel_size": kernel_size,
                "strides": strides,
                "padding": ((1, 1), (1, 1)) if strides == 2 else "VALID",
            }
            case = f"{name} {product}, batch {batch_size}"
            yield Case("convolutions", case, arguments, _contend("convolution", peers))


def _scaling(peers: Sequence[str], small: bool) -> Iterator[Case]:
    del peers
    # On a CPU, virtual devices; of accelerators, all.
    num = max(jax.device_count(), 2)
    batch_size, width = (2 * num, 8) if small else (32 * num, 64)
    build = several.dcgan_train_on
    yield Case(
        "scaling",
        f"64x64, batch {batch_size} in all",
        {"batch_size": batch_size, "width": width},
        (
            Contender("jaxgan", None, functools.partial(build, num_devices=num)),
            Contender("one device", "one_device", functools.partial(build, num_devices=1)),
        ),
    )


def _together(peers: Sequence[str], small: bool) -> Iterator[Case]:
    del peers
    for width, batch_size in ((8, 4),) if small else ((4, 8), (16, 16), (64, 64)):
        arguments = {"num_models": 3, "width": width, "batch_size": batch_size}
        yield Case(
            "together",
            f"3 models of width {width}, batch {batch_size} each",
            dict(arguments),
            (
                Contender("jaxgan", None, several.dcgan_train_together),
                Contender("one after another", "one_after_another", several.dcgan_train_in_turn),
            ),
        )


_CASES: dict[str, Callable[[Sequence[str], bool], Iterator[Case]]] = {
    "dcgan_train": _dcgan_train,
    "gmd_train": _gmd_train,
    "resnet18_train": _resnet18_train,
    "sample": _sample,
    "convolutions": _convolutions,
    "scaling": _scaling,
    "together": _together,
}
SUITES = (*_CASES, "end_to_end", "startup")
Measure = Callable[[], list[Record]]
_TINY = ("--config.gan.generator_width=4", "--config.gan.discriminator_width=4")


def list_cases(
    suite: str, *, peers: Sequence[str], case: str, rounds: int, small: bool, launcher: Launcher
) -> dict[str, Measure]:
    """Return the cases of a suite with `case` in their name, each with its measuring function.

    `small` takes tiny networks and batches: to test the command, not to measure speed.
    """
    cases: dict[str, Measure] = {}
    if suite in _CASES:
        for found in _CASES[suite](peers, small):
            cases[found.name] = functools.partial(run_case, found, rounds=rounds)
    cases |= _list_launched(suite, rounds, small, launcher)
    return {name: measure for name, measure in cases.items() if case in name}


def _list_launched(
    suite: str, rounds: int, small: bool, launcher: Launcher
) -> Iterator[tuple[str, Measure]]:
    """Yield the cases that run the launchers themselves."""
    variants = ("quick",) if small else ("paper", "quick")
    few = min(rounds, 3)
    if suite == "startup":
        measure = functools.partial(launched.measure_startup, launcher, variants[0], rounds=few)
        yield f"train_dcgan :{variants[0]}", measure
    if suite == "sample":
        num, flags = (20, _TINY) if small else (1000, ())
        yield (
            f"sample --num={num}",
            functools.partial(
                launched.measure_sampling, launcher, variants[0], rounds=few, num=num, flags=flags
            ),
        )
    if suite == "end_to_end":
        for variant in variants:
            steps = 10 if small else {"paper": 25, "quick": 400}[variant]
            yield (
                f"train_dcgan :{variant}",
                functools.partial(
                    launched.measure_end_to_end, launcher, variant, rounds=rounds, steps=steps
                ),
            )
