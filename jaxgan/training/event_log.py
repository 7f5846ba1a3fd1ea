"""TensorBoard's writer, without PyTorch.

tensorboardX imports torch if it is installed, to recognise tensors. That costs 2 s and 470 MB.
"""

import sys
from typing import Any


def _import_writer() -> Any:
    """Import tensorboardX as if torch were not installed."""
    hidden = "torch" not in sys.modules
    if hidden:
        sys.modules["torch"] = None  # type: ignore[assignment]
    try:
        from tensorboardX import SummaryWriter

        return SummaryWriter
    finally:
        if hidden:
            del sys.modules["torch"]


SummaryWriter: Any = _import_writer()
