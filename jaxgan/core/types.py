"""Types that all packages share."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax

Array = jax.Array
Key = jax.Array
Params = Mapping[str, Any]
Metrics = Mapping[str, Array]


class Batch(NamedTuple):
    """One mini-batch: `images` [batch, height, width, channels] uint8, `labels` [batch] int32."""

    images: Array
    labels: Array
