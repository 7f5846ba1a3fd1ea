"""Programs of trained networks: one function of arrays, with the weights inside.

They run without jaxgan, for any number of images. StableHLO needs JAX, on a CPU or a CUDA GPU.
`jaxgan.networks.onnx_writer` writes ONNX.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

PLATFORMS = ("cpu", "cuda")
BATCH = "batch"  # the name of the dimension that may have any size


@dataclass(frozen=True)
class Argument:
    """An input of a program: an array [batch, *shape]."""

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Program:
    """A function of `arguments` that returns one array [batch, ...] with the name `output`.

    Its name is `name`. JAX can trace it with a symbol as batch.
    """

    name: str
    arguments: tuple[Argument, ...]
    output: str
    compute: Callable[..., Any]

    def list_shapes(self) -> list[jax.ShapeDtypeStruct]:
        """Return the shapes of the arguments, with a symbol as batch."""
        # Imported here because no other command needs it.
        from jax import export

        (batch,) = export.symbolic_shape(BATCH)
        return [
            jax.ShapeDtypeStruct((batch, *argument.shape), np.dtype(argument.dtype))
            for argument in self.arguments
        ]

    def create_function(self) -> Any:
        """Return the compiled function, under the program's name."""

        def call(*arrays: Any) -> Any:
            return self.compute(*arrays)

        call.__name__ = call.__qualname__ = self.name
        return jax.jit(call)


def to_stablehlo(program: Program) -> bytes:
    """Return a program as bytes for `jax.export.deserialize`."""
    from jax import export

    exported = export.export(program.create_function(), platforms=PLATFORMS)
    return bytes(exported(*program.list_shapes()).serialize())
