"""Fast convolutions, augmentation. Functions of arrays only."""

from jaxgan.ops.convolution import conv as conv
from jaxgan.ops.convolution import conv_transpose as conv_transpose
from jaxgan.ops.pooling import max_pool_2x2 as max_pool_2x2
