"""The same networks by other programs, with the same weights: torchvision's, and the Lite package.

A wheel of torchvision for other graphics cards than PyTorch's knows no operator `nms`, without
which it can not be imported; no classifier needs it, so one that does nothing stands for it.
"""

import dataclasses
import functools
import importlib.util
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxgan.classifiers import torch_names, weight_files, weight_limits
from jaxgan.classifiers.protocol import Classifier, ClassifierModule
from jaxgan.classifiers.weight_files import read_arrays
from jaxgan.networks.losses import softmax_cross_entropy

TOLERANCE = {"float32": 1e-4, "float64": 1e-10}  # of the largest logit
NUM_CLASSES = 5
_KEPT: list[Any] = []  # what PyTorch would forget with its last reference


@functools.cache
def import_torchvision():
    """Return PyTorch and torchvision, or skip the test."""
    torch = pytest.importorskip(
        "torch", reason="parity needs PyTorch as the reference: pip install -e '.[peers]'"
    )
    if importlib.util.find_spec("torchvision") is None:
        pytest.skip("parity needs torchvision as the reference: pip install -e '.[peers]'")
    if not hasattr(torch.ops.torchvision, "nms"):
        library = torch.library.Library("torchvision", "FRAGMENT")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _KEPT.append(library)
    return torch, pytest.importorskip("torchvision")


def import_fidelity():
    """Return PyTorch and torch-fidelity, which imports torchvision, or skip the test."""
    torch, _ = import_torchvision()
    reason = "parity needs torch-fidelity as the reference: pip install -e '.[peers]'"
    return torch, pytest.importorskip("torch_fidelity", reason=reason)


@dataclasses.dataclass(frozen=True)
class Twin:
    """A PyTorch network whose weights and statistics are all drawn, and its arrays by name."""

    network: Any
    dtype: str

    @functools.cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        """What our reader finds in a file that PyTorch wrote."""
        torch, _ = import_torchvision()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "weights.pth"
            torch.save(self.network.state_dict(), path)
            # VGG16 in float64 is larger than any file that a user has.
            with (
                mock.patch.object(weight_files, "MAX_BYTES", 2**31),
                mock.patch.object(weight_limits, "MAX_BYTES", 2**31),
            ):
                arrays = read_arrays(path)
        return {name: array for name, array in arrays.items() if "num_batches" not in name}

    def compute_logits(self, images: np.ndarray, *, train: bool = False) -> list[np.ndarray]:
        """Return the logits of images [batch, h, w, 3], and those of the auxiliary heads."""
        torch, _ = import_torchvision()
        with torch.no_grad():
            found = self.network.train(train)(torch.tensor(images.transpose(0, 3, 1, 2)))
        return [row.numpy() for row in (found if isinstance(found, tuple) else (found,))]


def create_twin(create_network, dtype: str) -> Twin:
    """Draw all that a network has, so that its logits depend on the image.

    As PyTorch draws them most signals die out on the way: then nothing that is wrong is noticed.
    Nor is a swap among the four arrays of batch norm, equal at first.
    """
    torch, _ = import_torchvision()
    torch.manual_seed(0)
    network = create_network().to(getattr(torch, dtype)).eval()
    ranges = {"weight": (0.7, 1.3), "bias": (-0.3, 0.3)}
    ranges |= {"running_mean": (-0.1, 0.1), "running_var": (0.6, 1.4)}
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            for name, (low, high) in ranges.items():
                getattr(layer, name).data.uniform_(low, high)
        elif isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
            torch.nn.init.kaiming_normal_(layer.weight)
    return Twin(network, dtype)


def draw_images(size: int, dtype: str, num: int = 2) -> np.ndarray:
    """Draw noise, of another strength and another color in each image."""
    rng = np.random.default_rng(0)
    noise, color = rng.normal(size=(num, size, size, 3)), rng.normal(size=(num, 1, 1, 3))
    return (noise * np.linspace(1.0, 0.3, num)[:, None, None, None] + color).astype(dtype)


def take_variables(classifier: Classifier, twin: Twin) -> Any:
    """Return the twin's arrays as our variables: each is used, and each of ours is filled."""
    shapes, places = compute_shapes(classifier), name_places(classifier)
    assert {name: place.shape for name, place in places.items()} == {
        name: array.shape for name, array in twin.arrays.items()
    }
    variables = unflatten_dict(
        {place.path: torch_names.to_ours(place, twin.arrays[n]) for n, place in places.items()}
    )
    assert jax.tree.map(jnp.shape, variables) == jax.tree.map(jnp.shape, shapes)
    return variables


def compute_shapes(classifier: Classifier) -> Any:
    """Return the shapes of a network's variables; nothing is computed."""
    return _compute_shapes(classifier.module, classifier.input.image_size)


@functools.cache
def _compute_shapes(module: ClassifierModule, size: int) -> Any:
    images = jnp.zeros((1, size, size, 3))
    return jax.eval_shape(lambda: module.init(jax.random.key(0), images, train=False))


def name_places(classifier: Classifier) -> dict[str, torch_names.TorchArray]:
    assert classifier.torch_names is not None
    return torch_names.name_arrays(classifier.torch_names, compute_shapes(classifier))


def draw_variables(classifier: Classifier) -> Any:
    """Draw positive numbers for all of a network's variables, by numpy: nothing is compiled."""
    rng = np.random.default_rng(0)
    return jax.tree.map(
        lambda leaf: np.float32(rng.uniform(0.01, 0.2, leaf.shape)), compute_shapes(classifier)
    )


def count_parameters(classifier: Classifier) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(compute_shapes(classifier)["params"]))


def compute_difference(classifier: Classifier, create_network, dtype: str, module=None) -> float:
    """Return the largest difference of two images' logits, as a part of the largest logit."""
    with jax.enable_x64(dtype == "float64"):
        twin = create_twin(create_network, dtype)
        images = draw_images(classifier.input.image_size, dtype)
        variables = take_variables(classifier, twin)
        module = module or classifier.module
        apply = jax.jit(lambda v, x: module.apply(v, x, train=False).logits)
        found = jax.device_get(apply(variables, images))
    (expected,) = twin.compute_logits(images)
    assert np.ptp(expected, axis=0).max() > 0.02 * np.abs(expected).max(), "the images look equal"
    difference = float(np.abs(found - expected).max() / np.abs(expected).max())
    size = classifier.input.image_size
    print(f"{dtype}, {size} pixels: logits differ by {difference:.1e} of the largest")
    return difference


def compute_gradient_difference(classifier: Classifier, create_network, module=None) -> float:
    """Return the largest difference of a gradient, as a part of the largest in its array.

    Of one training step of four images in float64, by the statistics of the batch, with the losses
    of the auxiliary heads. Nothing may be dropped.
    """
    size, labels = classifier.input.image_size, np.array([0, 3, 1, 4])
    with jax.enable_x64(True):
        twin = create_twin(create_network, "float64")
        images = draw_images(size, "float64", len(labels))
        variables = take_variables(classifier, twin)
        bound = {"module": module or classifier.module, "weight": classifier.auxiliary_weight}
        gradients = jax.jit(jax.grad(functools.partial(_compute_loss, **bound)))(
            variables["params"], variables.get("batch_stats", {}), images, labels
        )
        gradients = flatten_dict(jax.device_get(gradients))
    _compute_torch_gradients(twin.network, images, labels, classifier.auxiliary_weight)
    places, grads = name_places(classifier), {}
    for name, parameter in twin.network.named_parameters():
        grads[name] = torch_names.to_ours(places[name], parameter.grad.numpy())
    # The gradient of a bias is zero, but for rounding, where a later batch norm removes it.
    least = 1e-4 * max(np.abs(grad).max() for grad in grads.values())
    differences = [
        np.abs(gradients.pop(places[name].path[1:]) - grad).max() / max(np.abs(grad).max(), least)
        for name, grad in grads.items()
    ]
    assert not gradients
    print(f"{size} pixels: gradients differ by {max(differences):.1e} of the largest of an array")
    return float(max(differences))


def _compute_loss(params, stats, images, labels, *, module, weight):
    variables = {"params": params, "batch_stats": stats}
    outputs, _ = module.apply(variables, images, train=True, mutable=["batch_stats"])
    losses = [
        softmax_cross_entropy(logits=logits, labels=labels).mean()
        for logits in (outputs.logits, *outputs.auxiliary)
    ]
    return losses[0] + weight * sum(losses[1:])


def _compute_torch_gradients(network, images, labels, weight):
    torch, _ = import_torchvision()
    found = network.train()(torch.tensor(images.transpose(0, 3, 1, 2)))
    logits, *auxiliary = found if isinstance(found, tuple) else (found,)
    entropy, labels = torch.nn.functional.cross_entropy, torch.tensor(labels)
    (entropy(logits, labels) + weight * sum(entropy(a, labels) for a in auxiliary)).backward()
