"""Write a program as ONNX: each operation of JAX becomes one or a few operations of ONNX.

Only the operations that the networks of jaxgan use are known. Values that depend on no input are
computed here, so weights are written as they are used. The input and output images stay [batch, h,
w, c]. ONNX convolves [batch, c, h, w]: the reader removes transpositions that cancel.
bfloat16 becomes float32, because ONNX Runtime has no convolution of bfloat16 on a CPU.

The package `onnx` (the extra `jaxgan[onnx]`) is imported only here, and only when it is used.
"""

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from jax.extend.core import Literal

from jaxgan.core.errors import UserError
from jaxgan.networks.programs import BATCH, Program

INSTALL = "pip install -e '.[onnx]'"
OPSET = 18  # of December 2022, so that older readers know it too
_IR_VERSION = 8  # the version of the file format that came with this set of operations
_TO_CHANNELS_FIRST, _TO_CHANNELS_LAST = (0, 3, 1, 2), (0, 2, 3, 1)
_IMAGE_AXES = 4
_BYTES_LIMIT = 2**31 - 1  # of protocol buffers, in which an ONNX file is written

Value = Any  # the name of a tensor in the graph (str), or a constant (np.ndarray)


def is_installed() -> bool:
    """Whether the package `onnx` can be imported."""
    return importlib.util.find_spec("onnx") is not None


def to_onnx(program: Program, notes: Mapping[str, str]) -> bytes:
    """Return a program as the bytes of an ONNX file; `notes` are written into it.

    Raises `UserError` if `onnx` is not installed, if the program has an operation that is not known
    here, or if it is larger than ONNX allows.
    """
    if not is_installed():
        raise UserError(f"ONNX needs the package onnx: {INSTALL}, or give --format=stablehlo.")
    closed = program.create_function().trace(*program.list_shapes()).jaxpr
    graph = _Graph()
    names = [argument.name for argument in program.arguments]
    constants = [np.asarray(constant) for constant in closed.consts]
    (result,) = _add_jaxpr(graph, closed.jaxpr, constants, names)
    graph.add("Identity", result, output=program.output)
    return graph.serialize(program, closed.jaxpr, notes)


@dataclass
class _Graph:
    """The graph of an ONNX file while it is written."""

    nodes: list[Any] = field(default_factory=list)
    weights: dict[str, np.ndarray] = field(default_factory=dict)

    def add(self, operation: str, *values: Value, output: str | None = None, **options: Any) -> str:
        """Add an operation of ONNX; return the name of its result."""
        from onnx import helper

        output = output or f"t{len(self.nodes)}"
        inputs = [self.name(value) for value in values]
        self.nodes.append(helper.make_node(operation, inputs, [output], **options))
        return output

    def name(self, value: Value) -> str:
        """Return the name of a value; a constant becomes a weight of the graph."""
        if isinstance(value, str):
            return value
        name = f"w{len(self.weights)}"
        self.weights[name] = _to_float32(np.asarray(value))
        return name

    def serialize(self, program: Program, jaxpr: Any, notes: Mapping[str, str]) -> bytes:
        """Return the bytes of the file."""
        from onnx import checker, helper, numpy_helper

        num_bytes = sum(weight.nbytes for weight in self.weights.values())
        if num_bytes > _BYTES_LIMIT:
            raise UserError(
                f"The weights have {num_bytes:,} bytes, and an ONNX file holds at most "
                f"{_BYTES_LIMIT:,}: give --format=stablehlo."
            )
        names = [argument.name for argument in program.arguments]
        inputs = [_describe(name, v.aval) for name, v in zip(names, jaxpr.invars, strict=True)]
        outputs = [_describe(program.output, jaxpr.outvars[0].aval)]
        weights = [numpy_helper.from_array(array, name) for name, array in self.weights.items()]
        graph = helper.make_graph(self.nodes, program.name, inputs, outputs, weights)
        opset = helper.make_opsetid("", OPSET)
        model = helper.make_model(
            graph, opset_imports=[opset], ir_version=_IR_VERSION, producer_name="jaxgan"
        )
        helper.set_model_props(model, dict(notes))
        checker.check_model(model)
        return bytes(model.SerializeToString())


def _describe(name: str, aval: Any) -> Any:
    """Return the entry of an input or output of the graph."""
    from onnx import helper

    shape = [n if isinstance(n, int) else BATCH for n in aval.shape]
    return helper.make_tensor_value_info(name, _name_dtype(aval.dtype), shape)


def _name_dtype(dtype: Any) -> int:
    from onnx import helper

    return int(helper.np_dtype_to_tensor_dtype(_to_float32(np.zeros(0, dtype)).dtype))


def _to_float32(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float32) if array.dtype.name == "bfloat16" else array


# From operations of JAX --------------------------------------------------------------------------


def _add_jaxpr(
    graph: _Graph, jaxpr: Any, constants: Sequence[np.ndarray], arguments: Sequence[Value]
) -> list[Value]:
    """Add the operations of a program of JAX; return its results."""
    known: dict[Any, Value] = dict(zip(jaxpr.constvars, constants, strict=True))
    known |= zip(jaxpr.invars, arguments, strict=True)

    def get(variable: Any) -> Value:
        if isinstance(variable, Literal):
            aval: Any = variable.aval
            return np.asarray(variable.val, aval.dtype)
        return known[variable]

    for equation in jaxpr.eqns:
        results = _add_equation(graph, equation, [get(variable) for variable in equation.invars])
        known |= zip(equation.outvars, results, strict=True)
    return [get(variable) for variable in jaxpr.outvars]


def _add_equation(graph: _Graph, equation: Any, values: list[Value]) -> list[Value]:
    name, params = equation.primitive.name, equation.params
    inner = params.get("jaxpr") or params.get("call_jaxpr")
    if name == "platform_index":  # the default, for platforms without an own branch
        return [np.int32(params["platforms"].index(None))]
    if name == "cond" and not isinstance(values[0], str):
        inner, values = params["branches"][int(values[0])], values[1:]
    if inner is not None:
        constants = [np.asarray(constant) for constant in inner.consts]
        return _add_jaxpr(graph, inner.jaxpr, constants, values)
    if not any(isinstance(value, str) for value in values) and _is_static(equation):
        return [_compute(equation, values)]
    if name not in _CONVERTERS:
        raise UserError(
            f"The network uses the operation {name!r}, which jaxgan cannot write as ONNX: give "
            "--format=stablehlo."
        )
    return [_CONVERTERS[name](graph, equation, values)]


def _is_static(equation: Any) -> bool:
    """Whether all sizes of the result are known: none is the symbol of the batch."""
    return all(isinstance(n, int) for variable in equation.outvars for n in variable.aval.shape)


def _compute(equation: Any, values: Sequence[np.ndarray]) -> np.ndarray:
    """Return the result of an operation on constants."""
    avals = [variable.aval for variable in equation.invars]
    arrays = [jax.numpy.asarray(v, aval.dtype) for v, aval in zip(values, avals, strict=True)]
    return np.asarray(equation.primitive.bind(*arrays, **equation.params))


Converter = Callable[[_Graph, Any, list[Value]], Value]


def _one_to_one(operation: str) -> Converter:
    """Return the converter of an operation that ONNX also has, under another name."""
    return lambda graph, equation, values: graph.add(operation, *values)


def _cast(graph: _Graph, equation: Any, values: list[Value]) -> Value:
    return graph.add("Cast", values[0], to=_name_dtype(equation.params["new_dtype"]))


def _select(graph: _Graph, _equation: Any, values: list[Value]) -> Value:
    which, when_false, when_true = values
    return graph.add("Where", which, when_true, when_false)


def _reduce(operation: str) -> Converter:
    def add(graph: _Graph, equation: Any, values: list[Value]) -> Value:
        axes = np.array(equation.params["axes"], np.int64)
        return graph.add(operation, values[0], axes, keepdims=0)

    return add


def _transpose(graph: _Graph, equation: Any, values: list[Value]) -> Value:
    return graph.add("Transpose", values[0], perm=list(equation.params["permutation"]))


def _concatenate(graph: _Graph, equation: Any, values: list[Value]) -> Value:
    return graph.add("Concat", *values, axis=equation.params["dimension"])


# Shapes ------------------------------------------------------------------------------------------


def _reshape(graph: _Graph, equation: Any, values: list[Value]) -> Value:
    return _add_reshape(graph, values[0], equation.outvars[0].aval.shape)


def _add_reshape(graph: _Graph, value: Value, shape: Sequence[Any]) -> str:
    sizes = [n if isinstance(n, int) else -1 for n in shape]
    return graph.add("Reshape", value, np.array(sizes, np.int64))


def _broadcast(graph: _Graph, equation: Any, values: list[Value]) -> Value:
    """Give the value axes of size 1, then expand them."""
    shape, kept = equation.params["shape"], equation.params["broadcast_dimensions"]
    before = equation.invars[0].aval.shape
    sizes = [1] * len(shape)
    for axis, size in zip(kept, before, strict=True):
        sizes[axis] = size
    value = values[0] if tuple(sizes) == tuple(before) else _add_reshape(graph, values[0], sizes)
    return value if tuple(sizes) == tuple(shape) else _add_expand(graph, value, sizes, shape)


def _add_expand(graph: _Graph, value: Value, sizes: Sequence[Any], shape: Sequence[Any]) -> str:
    """Expand the axes of size 1, except a batch that already has its size."""
    wanted = [1 if size == n else n for size, n in zip(sizes, shape, strict=True)]
    if all(isinstance(n, int) for n in wanted):
        return graph.add("Expand", value, np.array(wanted, np.int64))
    first = graph.nodes[0].input[0]  # of the program's input, as the first operation reads it
    batch = graph.add("Slice", graph.add("Shape", first), *(np.array([i]) for i in (0, 1, 0)))
    parts = [np.array([n], np.int64) if isinstance(n, int) else batch for n in wanted]
    return graph.add("Expand", value, graph.add("Concat", *parts, axis=0))


def _slice(graph: _Graph, equation: Any, values: list[Value]) -> Value:
    params, shape = equation.params, equation.invars[0].aval.shape
    starts, ends = params["start_indices"], params["limit_indices"]
    steps = params["strides"] or (1,) * len(shape)
    full = zip(starts, ends, steps, shape, strict=True)
    axes = [i for i, (start, end, step, n) in enumerate(full) if (start, end, step) != (0, n, 1)]
    if not axes:
        return values[0]
    chosen = [np.array([row[axis] for axis in axes], np.int64) for row in (starts, ends)]
    rest = [np.array(axes, np.int64), np.array([steps[axis] for axis in axes], np.int64)]
    return graph.add("Slice", values[0], *chosen, *rest)


def _gather(graph: _Graph, equation: Any, values: list[Value]) -> Value:
    """Take rows of a table by their numbers [batch, 1]: the only form that the networks use."""
    numbers, shape = equation.params["dimension_numbers"], equation.invars[0].aval.shape
    takes_rows = numbers.start_index_map == (0,) and numbers.collapsed_slice_dims == (0,)
    if not takes_rows or tuple(equation.params["slice_sizes"]) != (1, *shape[1:]):
        raise UserError(
            "The network takes parts of an array in a form that jaxgan cannot write as ONNX: give "
            "--format=stablehlo."
        )
    rows = graph.add("Squeeze", values[1], np.array([-1], np.int64))
    return graph.add("Gather", values[0], rows, axis=0)


# Products, convolutions and pooling --------------------------------------------------------------


def _dot(graph: _Graph, equation: Any, values: list[Value]) -> Value:
    """Write the product as an Einsum: letters for the axes of batch, left and right factor."""
    (left_summed, right_summed), (left_batch, right_batch) = equation.params["dimension_numbers"]
    letters = iter("abcdefghijklmnopqrstuvwxyz")
    left = [next(letters) for _ in equation.invars[0].aval.shape]
    right = [next(letters) for _ in equation.invars[1].aval.shape]
    for a, b in zip((*left_summed, *left_batch), (*right_summed, *right_batch), strict=True):
        right[b] = left[a]
    if (left, right) == (["a", "b"], ["b", "d"]):
        return graph.add("MatMul", *values)
    batch = [left[axis] for axis in left_batch]
    rest = [
        letter
        for factor, summed in ((left, left_summed), (right, right_summed))
        for axis, letter in enumerate(factor)
        if axis not in summed and letter not in batch
    ]
    formula = f"{''.join(left)},{''.join(right)}->{''.join(batch + rest)}"
    return graph.add("Einsum", *values, equation=formula)


def _convolve(graph: _Graph, equation: Any, values: list[Value]) -> Value:
    """Convolve; if the image is dilated, this is ONNX's transposed convolution."""
    params, numbers = equation.params, equation.params["dimension_numbers"]
    image, kernel = values
    if isinstance(kernel, str) or params["batch_group_count"] != 1:
        raise UserError(
            "The kernel of a convolution is not a weight. jaxgan cannot write such a network as "
            "ONNX: give --format=stablehlo."
        )
    kernel = kernel.transpose(numbers.rhs_spec)  # [out, in / groups, height, width]
    padding, dilation = params["padding"], params["lhs_dilation"]
    operation, strides = "Conv", params["window_strides"]
    if set(dilation) != {1}:
        _check_transposed(params, kernel.shape[2:])
        operation, strides = "ConvTranspose", dilation
        sides = kernel.shape[2:]
        padding = [(n - 1 - a, n - 1 - b) for n, (a, b) in zip(sides, padding, strict=True)]
        kernel = kernel.swapaxes(0, 1)[:, :, ::-1, ::-1]
    image = graph.add("Transpose", image, perm=list(numbers.lhs_spec))
    sizes = [equation.invars[0].aval.shape[axis] for axis in numbers.lhs_spec[2:]]
    if operation == "Conv":
        image = _crop(graph, image, sizes, padding)
    return _add_by_channels(
        graph,
        operation,
        [image, kernel],
        [int(axis) for axis in np.argsort(numbers.out_spec)],
        strides=list(strides),
        pads=[max(pad, 0) for pad in _list_pads(padding)],
        dilations=list(params["rhs_dilation"]),
        group=params["feature_group_count"],
    )


def _check_transposed(params: Mapping[str, Any], sides: Sequence[int]) -> None:
    """Raise `UserError` for dilated images that ONNX's transposed convolution cannot handle."""
    is_plain = set(params["window_strides"]) == {1} and params["feature_group_count"] == 1
    fits = all(max(pads) < n for n, pads in zip(sides, params["padding"], strict=True))
    if not is_plain or not fits or set(params["rhs_dilation"]) != {1}:
        raise UserError(
            "The network has a transposed convolution with strides, groups or wide margins, which "
            "jaxgan cannot write as ONNX: give --format=stablehlo."
        )


def _crop(graph: _Graph, image: Value, sizes: Sequence[int], padding: Any) -> Value:
    """Cut off the pixels that no window reaches: JAX has a padding below 0 for them."""
    if min(_list_pads(padding)) >= 0:
        return image
    starts = [max(-low, 0) for low, _ in padding]
    ends = [n + min(high, 0) for n, (_, high) in zip(sizes, padding, strict=True)]
    rows = (np.array(row, np.int64) for row in (starts, ends, [2, 3]))
    return graph.add("Slice", image, *rows)


def _add_by_channels(
    graph: _Graph, operation: str, values: Sequence[Value], back: Sequence[int], **options: Any
) -> str:
    """Add an operation of images [batch, c, h, w], and the transposition of its result."""
    return graph.add("Transpose", graph.add(operation, *values, **options), perm=list(back))


def _list_pads(padding: Sequence[tuple[int, int]]) -> list[int]:
    """Return ONNX's order of paddings: all begins, then all ends."""
    return [int(pad) for ends in zip(*padding, strict=True) for pad in ends]


def _pool(operation: str, **options: Any) -> Converter:
    def add(graph: _Graph, equation: Any, values: list[Value]) -> Value:
        params = equation.params
        first_last = [
            (r[0], r[-1]) for r in (params["window_dimensions"], params["window_strides"])
        ]
        if len(params["window_dimensions"]) != _IMAGE_AXES or first_last != [(1, 1), (1, 1)]:
            raise UserError(
                "The network pools over other axes than height and width, which jaxgan cannot "
                "write as ONNX: give --format=stablehlo."
            )
        return _add_by_channels(
            graph,
            operation,
            [graph.add("Transpose", values[0], perm=list(_TO_CHANNELS_FIRST))],
            _TO_CHANNELS_LAST,
            kernel_shape=list(params["window_dimensions"][1:3]),
            strides=list(params["window_strides"][1:3]),
            pads=_list_pads(params["padding"][1:3]),
            **options,
        )

    return add


def _pool_sum(graph: _Graph, equation: Any, values: list[Value]) -> Value:
    """Sum each window: ONNX has only the mean, so multiply it by the number of pixels."""
    mean = _pool("AveragePool", count_include_pad=1)(graph, equation, values)
    num_pixels = int(np.prod(equation.params["window_dimensions"]))
    return graph.add("Mul", mean, np.float32(num_pixels))


_CONVERTERS: Mapping[str, Converter] = {
    **{name: _one_to_one(name.capitalize()) for name in ("add", "sub", "mul", "div", "max", "min")},
    **{name: _one_to_one(name.capitalize()) for name in ("exp", "tanh", "erf", "round", "sqrt")},
    "neg": _one_to_one("Neg"),
    "stop_gradient": _one_to_one("Identity"),
    "logistic": _one_to_one("Sigmoid"),
    "lt": _one_to_one("Less"),
    "convert_element_type": _cast,
    "select_n": _select,
    "reduce_max": _reduce("ReduceMax"),
    "reduce_sum": _reduce("ReduceSum"),
    "transpose": _transpose,
    "concatenate": _concatenate,
    "reshape": _reshape,
    "squeeze": _reshape,
    "broadcast_in_dim": _broadcast,
    "slice": _slice,
    "gather": _gather,
    "dot_general": _dot,
    "conv_general_dilated": _convolve,
    "reduce_window_max": _pool("MaxPool"),
    "reduce_window_sum": _pool_sum,
}
