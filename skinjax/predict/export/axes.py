"""Lowering of operations on axes and shapes, in either order of axes."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from skinjax.predict.export.elementwise import alike
from skinjax.predict.export.graph import Graph, Tensor, Value, place_of, refuse
from skinjax.predict.export.program import Operation, is_static


def broadcast_in_dim(graph: Graph, operation: Operation, values: list[Value]) -> Tensor:
    """Adds axes of 1 where the result has more; what is stored is not stretched before it must be."""
    tensor, shape = graph.tensor(values[0]), operation.params["shape"]
    places = operation.params["broadcast_dimensions"]
    rank, before = len(shape), len(tensor.shape)
    if before == rank:
        return dataclasses.replace(graph.unfolded(tensor), shape=tuple(shape), node=None)
    tensor = graph.plain(tensor)
    added = [axis for axis in range(rank) if axis not in places]
    stored: list[Any] = [1] * rank
    for axis, place in enumerate(places):
        stored[place] = tensor.stored[axis]
    name = graph.emit("Unsqueeze", [tensor.name, graph.integers(*added)])
    return Tensor(name, tuple(shape), tensor.dtype, tuple(stored))


def reshape(graph: Graph, operation: Operation, values: list[Value]) -> Tensor:
    """Lowers another shape of the same numbers; a matrix [N H W, C] of a map stays a map."""
    tensor, shape = graph.tensor(values[0]), tuple(operation.outputs[0].shape)
    if operation.name == "reshape" and operation.params["dimensions"] is not None:
        refuse("a reshape with a transposition")
    if tensor.shape == shape:
        return tensor
    if tensor.image is not None and tensor.image.shape == shape:
        return tensor.image
    grows = len(tensor.shape) > 2 and len(shape) == 2 and tensor.shape[-1] == shape[-1]
    whole = tensor.channels_first and tensor.stored == tensor.shape
    if grows and whole and any(size != 1 for size in tensor.shape[1:-1]):
        return Tensor("", shape, tensor.dtype, shape, image=tensor)
    if tensor.channels_first and tensor.stored == tensor.shape and all(n == 1 for n in tensor.shape[1:-1]):
        source = tensor  # of one place: no number moves
    else:
        source = graph.full(tensor)
    unknown = [axis for axis, size in enumerate(shape) if not is_static((size,))]
    if len(unknown) > 1:
        refuse("a shape with the number of photos in several axes")
    sizes = [-1 if axis in unknown else int(size) for axis, size in enumerate(shape)]
    name = graph.emit("Reshape", [source.name, graph.integers(*sizes)])
    return Tensor(name, shape, tensor.dtype, shape)


def transpose(graph: Graph, operation: Operation, values: list[Value]) -> Tensor:
    """Lowers another order of axes."""
    tensor, order = graph.tensor(values[0]), tuple(operation.params["permutation"])
    rank = len(order)
    if tensor.channels_first and order[0] == 0 and order[-1] == rank - 1:
        inner = [0, 1, *(axis + 1 for axis in order[1:-1])]
        stored = tuple(tensor.stored[axis] for axis in order)
        return dataclasses.replace(
            alike(graph, "Transpose", tensor, [tensor.name], perm=inner), stored=stored
        )
    tensor = graph.plain(tensor)
    name = graph.emit("Transpose", [tensor.name], perm=list(order))
    return Tensor(
        name, operation.outputs[0].shape, tensor.dtype, tuple(tensor.stored[axis] for axis in order)
    )


def whole(graph: Graph, value: Value) -> Tensor:
    """Returns a tensor of its own shape, in either order of axes."""
    tensor = graph.unfolded(graph.tensor(value))
    return tensor if tensor.stored == tensor.shape else graph.full(tensor)


def reverse(graph: Graph, operation: Operation, values: list[Value]) -> Tensor:
    """Lowers a reversal of axes."""
    tensor, axes = whole(graph, values[0]), operation.params["dimensions"]
    places = [place_of(tensor, axis) for axis in axes]
    integers, count = graph.integers, len(places)
    inputs = [tensor.name, integers(*[-1] * count), integers(*[-(2**62)] * count), integers(*places)]
    return alike(graph, "Slice", tensor, [*inputs, integers(*[-1] * count)])


def cut(graph: Graph, operation: Operation, values: list[Value]) -> Tensor:
    """Lowers a part of a value."""
    tensor, params = whole(graph, values[0]), operation.params
    starts, limits = params["start_indices"], params["limit_indices"]
    steps = params["strides"] or (1,) * len(starts)
    axes = [
        axis
        for axis, (start, limit, step) in enumerate(zip(starts, limits, steps, strict=True))
        if (start, step) != (0, 1) or limit != tensor.shape[axis]
    ]
    if not all(is_static((starts[axis], limits[axis])) for axis in axes):
        refuse("a part of the photos")
    integers, places = graph.integers, [place_of(tensor, axis) for axis in axes]
    cuts = [integers(*(int(of[axis]) for axis in axes)) for of in (starts, limits)]
    name = graph.emit(
        "Slice", [tensor.name, *cuts, integers(*places), integers(*(int(steps[a]) for a in axes))]
    )
    return dataclasses.replace(tensor, name=name, stored=operation.outputs[0].shape, node=None)


def pad(graph: Graph, operation: Operation, values: list[Value]) -> Tensor:
    """Lowers a border."""
    tensor, filling = whole(graph, values[0]), values[1]
    config = operation.params["padding_config"]
    if any(low < 0 or high < 0 or inner for low, high, inner in config) or isinstance(filling, Tensor):
        refuse("a padding that cuts, or that spreads")
    order = [0, len(config) - 1, *range(1, len(config) - 1)] if tensor.channels_first else range(len(config))
    pads = [int(config[axis][side]) for side in (0, 1) for axis in order]
    name = graph.emit("Pad", [tensor.name, graph.integers(*pads), graph.constant(filling)])
    return dataclasses.replace(tensor, name=name, stored=operation.outputs[0].shape, node=None)


def concatenate(graph: Graph, operation: Operation, values: list[Value]) -> Tensor:
    """Lowers values put together along an axis."""
    tensors, axis = [whole(graph, value) for value in values], operation.params["dimension"]
    if first := any(tensor.channels_first for tensor in tensors):
        tensors = [graph.first(tensor) for tensor in tensors]
    name = graph.emit("Concat", [one.name for one in tensors], axis=place_of(tensors[0], axis))
    shape = operation.outputs[0].shape
    return Tensor(name, shape, tensors[0].dtype, shape, channels_first=first)


def numbers_along(graph: Graph, operation: Operation, values: list[Value]) -> Tensor:
    """Lowers numbers that count along an axis."""
    shape, axis = operation.params["shape"], operation.params["dimension"]
    if not is_static((shape[axis],)):
        refuse("a numbering of the photos")
    stored = tuple(int(size) if place == axis else 1 for place, size in enumerate(shape))
    numbers = np.arange(stored[axis], dtype=operation.outputs[0].dtype).reshape(stored)
    return dataclasses.replace(graph.tensor(numbers), shape=tuple(shape))
