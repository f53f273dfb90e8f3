"""Lowering of products, convolutions and windows."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from skinjax.predict.export.axes import whole
from skinjax.predict.export.elementwise import alike
from skinjax.predict.export.graph import Convolution, Graph, Tensor, Value, refuse
from skinjax.predict.export.program import Operation


def product(graph: Graph, operation: Operation, values: list[Value]) -> Tensor:
    """Lowers a product of matrices; of a map's matrix [N H W, C], a convolution."""
    (over, with_), (batch, _) = operation.params["dimension_numbers"]
    left, right = values
    made = operation.outputs[0]
    plain = (tuple(over), tuple(with_), len(batch)) == ((len(operation.inputs[0].shape) - 1,), (0,), 0)
    if isinstance(left, Tensor) and left.image is not None and plain and isinstance(right, np.ndarray):
        kernel = right.T.reshape(*right.T.shape, *[1] * (len(left.image.shape) - 2))
        image = convolution(graph, left.image, kernel, {}, (*left.image.shape[:-1], right.shape[1]))
        return dataclasses.replace(left, shape=made.shape, image=image)
    names = [graph.full(graph.tensor(one)).name for one in values]
    if plain and len(operation.inputs[1].shape) == 2:
        name = graph.emit("MatMul", names)
    else:
        name = graph.emit("Einsum", names, equation=_equation(operation))
    return Tensor(name, made.shape, made.dtype, made.shape)


def convolution(
    graph: Graph, image: Tensor, kernel: np.ndarray, attributes: Mapping[str, Any], shape: tuple[Any, ...]
) -> Tensor:
    """Adds a convolution by a kernel [out, in, ...]."""
    image = graph.first(image)
    bias = np.zeros(kernel.shape[0], np.float32)
    sizes = {"kernel_shape": [int(size) for size in kernel.shape[2:]]}
    node = Convolution("Conv", [image.name], "", {**sizes, **attributes}, kernel.astype(np.float32), bias)
    return Tensor(graph.add(node), shape, np.dtype(np.float32), shape, channels_first=True, node=node)


def convolution_of(graph: Graph, operation: Operation, values: list[Value]) -> Tensor:
    """Lowers a convolution."""
    params, rank = operation.params, len(operation.inputs[0].shape)
    numbers, image, kernel = params["dimension_numbers"], whole(graph, values[0]), values[1]
    last = (0, rank - 1, *range(1, rank - 1))
    pads = params["padding"]
    known = (
        tuple(numbers.lhs_spec) == tuple(numbers.out_spec) == last
        and set(params["lhs_dilation"]) <= {1}
        and params["batch_group_count"] == 1
        and isinstance(kernel, np.ndarray)
        and all(min(pair) >= 0 for pair in pads)
    )
    if not known or not isinstance(kernel, np.ndarray):
        refuse("a convolution other than of [N, H, W, C] by a constant kernel, without spreading or cutting")
    attributes = {
        "strides": [int(one) for one in params["window_strides"]],
        "pads": [int(pair[side]) for side in (0, 1) for pair in pads],
        "dilations": [int(one) for one in params["rhs_dilation"]],
        "group": int(params["feature_group_count"]),
    }
    return convolution(
        graph, image, kernel.transpose(numbers.rhs_spec), attributes, operation.outputs[0].shape
    )


def window(graph: Graph, operation: Operation, values: list[Value]) -> Tensor:
    """Lowers maxima or means over windows."""
    image, params = graph.first(whole(graph, values[0])), operation.params
    attributes: dict[str, Any] = {
        "kernel_shape": list(params["size"]),
        "strides": list(params["strides"]),
        "pads": [pair[side] for side in (0, 1) for pair in params["pads"]],
    }
    kind = "MaxPool"
    if operation.name == "window_mean":
        kind, attributes["count_include_pad"] = "AveragePool", int(params["counts_padding"])
    shape = operation.outputs[0].shape
    return dataclasses.replace(alike(graph, kind, image, [image.name], **attributes), stored=shape)


def map_mean(graph: Graph, operation: Operation, values: list[Value]) -> Tensor:
    """Lowers the mean over all places of a map."""
    image, made = graph.first(whole(graph, values[0])), operation.outputs[0]
    mean = graph.emit("GlobalAveragePool", [image.name])
    name = graph.emit("Reshape", [mean, graph.integers(-1, int(made.shape[1]))])
    return Tensor(name, made.shape, made.dtype, made.shape)


def _equation(operation: Operation) -> str:
    """Returns a product's letters, as ONNX's Einsum reads them."""
    (over, with_), (batch, batch_right) = operation.params["dimension_numbers"]
    letters = iter("abcdefghijklmnopqrstuvwxyz")
    left: list[str] = [next(letters) for _ in operation.inputs[0].shape]
    right = [next(letters) for _ in operation.inputs[1].shape]
    for one, other in (*zip(over, with_, strict=True), *zip(batch, batch_right, strict=True)):
        right[other] = left[one]
    free = [left[axis] for axis in range(len(left)) if axis not in (*over, *batch)]
    free += [right[axis] for axis in range(len(right)) if axis not in (*with_, *batch_right)]
    return f"{''.join(left)},{''.join(right)}->{''.join([*(left[axis] for axis in batch), *free])}"
