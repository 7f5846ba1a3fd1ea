"""GMD, the paper's classifier (section 3.2.1), named after the eye diseases it was made for."""

import functools

import flax.linen as nn
import jax.numpy as jnp

from jaxgan.core.types import Array
from jaxgan.networks.layers import Conv, Dtype, glorot_init
from jaxgan.ops import max_pool_2x2


class Gmd(nn.Module):
    """Map images [batch, size, size, channels] to logits [batch, num_outputs].

    Three by three convolutions 256-128, pool, 128-64-32, pool, then dense 100-60-`num_outputs`,
    ReLU between: 4,033,252 parameters at 150x150x3 with 'VALID' padding and 4 outputs. `width`
    scales the convolutions (256 in the paper). The fourth output of the paper's configuration is
    a leftover of its eye model: never a target.
    """

    num_outputs: int = 4
    width: int = 256
    padding: str = "VALID"
    dtype: Dtype = None

    @nn.compact
    def __call__(self, images: Array) -> Array:
        x = images
        for block, divisors in enumerate(((1, 2), (2, 4, 8))):
            for i, divisor in enumerate(divisors):
                conv = Conv(
                    self.width // divisor,
                    kernel_size=3,
                    padding=self.padding,
                    use_bias=True,
                    kernel_init=glorot_init,
                    dtype=self.dtype,
                    name=f"conv{block}_{i}",
                )
                x = nn.relu(conv(x))
            x = max_pool_2x2(x)
        x = x.reshape(x.shape[0], -1)
        dense = functools.partial(nn.Dense, kernel_init=glorot_init, dtype=self.dtype)
        x = nn.relu(dense(100, name="dense0")(x))
        x = nn.relu(dense(60, name="dense1")(x))
        logits = dense(self.num_outputs, name="output")(x)
        return logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
