"""Layers that training leaves as they are: their parameters, and what batch norm has noted.

A frozen layer computes in training what it does in prediction: batch norm by its running
statistics, without dropout. So a network with frozen layers does not drift with its batches.
"""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn


def keep_frozen(layers: Sequence[str]) -> contextlib.AbstractContextManager[None]:
    """Return a context in which these layers, by their names in the parameters, predict."""
    names = frozenset(layers)

    def call(
        method: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        context: nn.module.InterceptorContext,
    ) -> Any:
        path = context.module.path
        if path and path[0] in names:
            told = {"train": False, "use_running_average": True}
            kwargs = {name: told.get(name, value) for name, value in kwargs.items()}
        return method(*args, **kwargs)

    return nn.intercept_methods(call)
