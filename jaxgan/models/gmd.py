"""GMD, the paper's classifier (section 3.2.1), named after the eye diseases it was made for."""

import flax.linen as nn

from jaxgan.models.layers import Conv, glorot_init
from jaxgan.ops import max_pool_2x2
from jaxgan.types import Array


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
                    name=f"conv{block}_{i}",
                )
                x = nn.relu(conv(x))
            x = max_pool_2x2(x)
        x = x.reshape(x.shape[0], -1)
        x = nn.relu(nn.Dense(100, kernel_init=glorot_init, name="dense0")(x))
        x = nn.relu(nn.Dense(60, kernel_init=glorot_init, name="dense1")(x))
        return nn.Dense(self.num_outputs, kernel_init=glorot_init, name="output")(x)
