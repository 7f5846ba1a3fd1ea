"""Transfer learning: the first weights, the frozen layers, and the rate of the other layers."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

import jax
import optax

from jaxgan.classifiers.protocol import Classifier
from jaxgan.classifiers.weights import Start
from jaxgan.core.errors import UserError
from jaxgan.core.settings import check
from jaxgan.core.types import Params
from jaxgan.networks.state import NetworkState

Network = TypeVar("Network", bound=NetworkState)


@dataclass(frozen=True, kw_only=True)
class TransferSettings:
    """How a classifier uses pretrained weights.

    `weights` is a file, "imagenet", or empty. `frozen` names the layers that do not learn:
    "features" are all layers before the head, "early" are the same without their last stage. The
    other layers before the head learn at `backbone_rate` times the learning rate.
    """

    weights: str = ""
    frozen: Literal["none", "features", "early"] = "none"
    backbone_rate: float = 1.0

    def __post_init__(self) -> None:
        good = self.frozen == "none" or bool(self.weights)
        expected = "none where config.weights is empty: random layers must learn"
        check("frozen", self.frozen, good, expected)
        good = 0.0 < self.backbone_rate <= 1.0
        check("backbone_rate", self.backbone_rate, good, "above 0, at most 1")

    def apply(self, classifier: Classifier) -> Classifier:
        """Return the classifier with its frozen layers. Raises `UserError` if it has no stages."""
        is_whole = self.frozen == "none" and self.backbone_rate == 1.0
        if not is_whole and not classifier.stages:
            raise UserError(
                "config.transfer.frozen and config.transfer.backbone_rate are for networks with "
                "stages. This family has no stages: leave them out."
            )
        num = {"none": 0, "early": len(classifier.stages) - 1, "features": None}[self.frozen]
        frozen = [name for stage in classifier.stages[:num] for name in stage]
        return replace(classifier, frozen=tuple(frozen))

    def find_unused(self) -> Mapping[str, str]:
        """Return which fields have no effect with the others as they are, each with the reason."""
        if self.frozen == "features":
            return {"backbone_rate": "config.frozen is features: no layer before the head learns"}
        return {}


NO_TRANSFER = TransferSettings()


def create_optimizer(
    optimizer: optax.GradientTransformation, classifier: Classifier, transfer: TransferSettings
) -> optax.GradientTransformation:
    """Return the optimizer of a classifier's parts; `optimizer` itself if all learn at one rate."""
    if not classifier.frozen and transfer.backbone_rate == 1.0:
        return optimizer
    stages = tuple(name for stage in classifier.stages for name in stage)
    return _create(optimizer, stages, classifier.frozen, transfer.backbone_rate)


# One object for equal values: a compiled program belongs to one optimizer object.
@functools.cache
def _create(
    optimizer: optax.GradientTransformation,
    backbone: tuple[str, ...],
    frozen: tuple[str, ...],
    rate: float,
) -> optax.GradientTransformation:
    parts = {
        "head": optimizer,
        "backbone": optax.chain(optimizer, optax.scale(rate)),
        "frozen": optax.set_to_zero(),
    }
    kinds = {**dict.fromkeys(backbone, "backbone"), **dict.fromkeys(frozen, "frozen")}

    def label(params: Params) -> Any:
        def choose(path: Any, _: Any) -> str:
            return kinds.get(path[0].key, "head")

        return jax.tree_util.tree_map_with_path(choose, params)

    return optax.multi_transform(parts, label)


def begin(state: Network, start: Start | None) -> Network:
    """Return the state with the weights of a file; without a file, the same state."""
    if start is None:
        return state
    variables = start.fill({"params": state.params, "batch_stats": state.batch_stats})
    return state.replace(
        params=variables["params"], batch_stats=variables.get("batch_stats", state.batch_stats)
    )
