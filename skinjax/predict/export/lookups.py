"""Lowering of sums over axes and of look-ups."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from onnx import helper

from skinjax.predict.export.axes import whole
from skinjax.predict.export.elementwise import alike
from skinjax.predict.export.graph import Graph, Tensor, Value, place_of, refuse
from skinjax.predict.export.program import Operation, is_static

REDUCTIONS = {
    "reduce_sum": "ReduceSum", "reduce_max": "ReduceMax", "reduce_min": "ReduceMin", "reduce_prod": "ReduceProd",
    "reduce_or": "ReduceMax", "reduce_and": "ReduceMin",
}  # fmt: skip


def reduced(graph: Graph, operation: Operation, values: list[Value]) -> Tensor:
    """Lowers a sum, or another of its kind, over axes."""
    tensor, axes = whole(graph, values[0]), sorted(operation.params["axes"])
    rank = len(tensor.shape)
    if tensor.channels_first and (0 in axes or rank - 1 in axes):
        tensor = graph.plain(tensor)
    places = graph.integers(*(place_of(tensor, axis) for axis in axes))
    stored = tuple(size for axis, size in enumerate(tensor.stored) if axis not in axes)
    logical, name = tensor.dtype == np.bool_, tensor.name
    if logical:
        name = graph.emit("Cast", [name], to=helper.np_dtype_to_tensor_dtype(np.dtype(np.int32)))
    kind = REDUCTIONS[operation.name]
    name = graph.emit(kind, [name, places], keepdims=0)
    if logical:
        name = graph.emit("Cast", [name], to=helper.np_dtype_to_tensor_dtype(np.dtype(np.bool_)))
    return Tensor(
        name, stored, tensor.dtype, stored, channels_first=tensor.channels_first and len(stored) > 2
    )


def arg(graph: Graph, operation: Operation, values: list[Value]) -> Tensor:
    """Lowers the place of the largest or smallest value."""
    tensor = graph.full(graph.tensor(values[0]))
    kind = {"argmax": "ArgMax", "argmin": "ArgMin"}[operation.name]
    found = graph.emit(kind, [tensor.name], axis=int(operation.params["axes"][0]), keepdims=0)
    made = operation.outputs[0]
    name = graph.emit("Cast", [found], to=helper.np_dtype_to_tensor_dtype(made.dtype))
    return Tensor(name, made.shape, made.dtype, made.shape)


def gather(graph: Graph, operation: Operation, values: list[Value]) -> Tensor:
    """A part at constant places, or entries along one axis: those of constant numbers, or one per row."""
    tensor, index = graph.full(graph.tensor(values[0])), values[1]
    numbers, made = operation.params["dimension_numbers"], operation.outputs[0]
    sizes, rank = operation.params["slice_sizes"], len(tensor.shape)
    if isinstance(index, np.ndarray) and index.ndim == 1:
        return part(graph, tensor, dict(zip(numbers.start_index_map, index.tolist(), strict=True)), operation)
    axes = numbers.start_index_map
    others = [axis for axis in range(rank) if axis not in (*axes, *numbers.operand_batching_dims)]
    if len(axes) != 1 or tuple(numbers.collapsed_slice_dims) != tuple(axes) or any(
        sizes[axis] != tensor.shape[axis] for axis in others
    ):  # fmt: skip
        refuse("a look-up of other than entries along one axis")
    axis = axes[0]
    if isinstance(index, np.ndarray) and not numbers.operand_batching_dims:
        places = index[..., 0]
        in_front = [place for place in range(len(made.shape)) if place not in numbers.offset_dims]
        regular = in_front == list(range(axis, axis + places.ndim))
        if not regular or places.min(initial=0) < 0 or places.max(initial=0) >= tensor.shape[axis]:
            refuse("a look-up in another order, or beyond the end")
        name = graph.emit("Gather", [tensor.name, graph.constant(places.astype(np.int64))], axis=axis)
    elif tuple(numbers.operand_batching_dims) == tuple(range(axis)) and axis == rank - 1:
        rows = graph.full(graph.tensor(index))
        rows = squeezed(graph, rows, len(rows.shape) - 1)
        name = graph.emit("GatherElements", [tensor.name, rows.name], axis=axis)
    else:
        refuse("a look-up of other than entries along one axis")
    return Tensor(name, made.shape, made.dtype, made.shape)


def part(graph: Graph, tensor: Tensor, starts: Mapping[int, int], operation: Operation) -> Tensor:
    """Returns the part that begins at these places of some axes, and is whole along the others."""
    made, sizes = operation.outputs[0], operation.params["slice_sizes"]
    for axis, start in starts.items():
        if (
            not is_static((sizes[axis], tensor.shape[axis]))
            or not 0 <= start <= tensor.shape[axis] - sizes[axis]
        ):
            refuse("a part of the photos, or one beyond the end")
    ends = [start + int(sizes[axis]) for axis, start in starts.items()]
    cut = [graph.integers(*values) for values in (starts.values(), ends, starts)]
    name = graph.emit("Slice", [tensor.name, *cut])
    collapsed = operation.params["dimension_numbers"].collapsed_slice_dims
    if collapsed:
        name = graph.emit("Squeeze", [name, graph.integers(*collapsed)])
    return Tensor(name, made.shape, made.dtype, made.shape)


def squeezed(graph: Graph, tensor: Tensor, axis: int) -> Tensor:
    """Returns a tensor without an axis of 1."""
    name = graph.emit("Squeeze", [tensor.name, graph.integers(axis)])
    shape = tuple(size for place, size in enumerate(tensor.shape) if place != axis)
    return Tensor(name, shape, tensor.dtype, shape)


def cumulative(graph: Graph, operation: Operation, values: list[Value]) -> Tensor:
    """Lowers sums so far."""
    tensor = graph.full(graph.tensor(values[0]))
    axis = graph.constant(np.asarray(operation.params["axis"], np.int64))
    return alike(graph, "CumSum", tensor, [tensor.name, axis], reverse=int(operation.params["reverse"]))
