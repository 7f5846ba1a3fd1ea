"""Layers that training does not change: neither their parameters nor their batch statistics.

In training a frozen layer computes the same as in prediction: batch norm uses its running
statistics, and there is no dropout.
"""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn


def keep_frozen(layers: Sequence[str]) -> contextlib.AbstractContextManager[None]:
    """Return a context in which layers, by their names in the parameters, compute as predicting."""
    names = frozenset(layers)

    def call(
        method: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        context: nn.module.InterceptorContext,
    ) -> Any:
        path = context.module.path
        if path and path[0] in names:
            fixed = {"train": False, "use_running_average": True}
            kwargs = {name: fixed.get(name, value) for name, value in kwargs.items()}
        return method(*args, **kwargs)

    return nn.intercept_methods(call)
