"""Lowering of operations element by element; scales and shifts per channel go into convolutions."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from onnx import helper

from skinjax.predict.export.graph import (
    Affine,
    Convolution,
    Graph,
    Node,
    Tensor,
    Value,
    fixed,
    refuse,
    stored_shape,
)
from skinjax.predict.export.program import Operation, is_static

BINARY = {
    "add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div", "max": "Max", "min": "Min", "pow": "Pow", "and": "And",
    "or": "Or", "eq": "Equal", "lt": "Less", "le": "LessOrEqual", "gt": "Greater", "ge": "GreaterOrEqual",
}  # fmt: skip


def alike(graph: Graph, kind: str, like: Tensor, inputs: Sequence[str], **attributes: Any) -> Tensor:
    """Adds a node whose result has the shape and the storage of a tensor."""
    return dataclasses.replace(like, name=graph.emit(kind, inputs, **attributes), node=None)


def unary(graph: Graph, kind: str, value: Value) -> Tensor:
    """Lowers an operation on one value, element by element."""
    tensor = graph.tensor(value)
    if tensor.image is not None:
        return dataclasses.replace(tensor, image=unary(graph, kind, tensor.image))
    return alike(graph, kind, tensor, [tensor.name])


def binary(graph: Graph, operation: Operation, values: Sequence[Value]) -> Tensor:
    """Lowers an operation on two values, element by element."""
    name = operation.name
    kind = BINARY[name]
    if name in ("and", "or") and operation.outputs[0].dtype != np.bool_:
        kind = f"Bitwise{kind}"
    integer = np.issubdtype(operation.outputs[0].dtype, np.integer)
    if name == "div" and integer:
        refuse("a division of integers")
    return (
        folded(graph, name, values)
        or rectified(graph, name, values)
        or together(graph, lambda *inputs: graph.emit(kind, inputs), values)
    )


def together(graph: Graph, emit: Callable[..., str], values: Sequence[Value]) -> Tensor:
    """Adds a node that reads several values element by element, stored alike, and broadcasts them."""
    maps = [one.image for one in values if isinstance(one, Tensor) and one.image is not None]
    if maps and (images := _as_images(values, maps[0])) is not None:
        image = together(graph, emit, images)
        rows = next(one for one in values if isinstance(one, Tensor) and one.image is not None)
        return dataclasses.replace(rows, image=image)
    values = [graph.unfolded(one) if isinstance(one, Tensor) else one for one in values]
    first = any(isinstance(one, Tensor) and one.channels_first for one in values)
    rank = max(len(stored_shape(one)) for one in values)
    names = []
    for one in values:
        if isinstance(one, Tensor):
            turned = graph.first(one) if first and len(one.stored) == rank else one
            names.append(turned.name)
        else:
            turns = first and np.ndim(one) == rank
            names.append(graph.constant(np.moveaxis(one, -1, 1) if turns else one))
    shape = _broadcast([one.shape if isinstance(one, Tensor) else np.shape(one) for one in values])
    stored = _broadcast([stored_shape(one) for one in values])
    return Tensor(emit(*names), shape, np.dtype(np.float32), stored, channels_first=first)


def folded(graph: Graph, name: str, values: Sequence[Value]) -> Tensor | None:
    """Puts a scale or shift per channel into what computes the value; None where it is something else."""
    tensor, other = values
    if name in ("add", "mul") and not isinstance(tensor, Tensor):
        tensor, other = other, tensor
    if (
        name not in ("add", "mul", "sub", "div")
        or not isinstance(tensor, Tensor)
        or isinstance(other, Tensor)
    ):
        return None
    image = tensor.image or tensor
    per_channel = _per_channel(other, len(tensor.shape), image)
    if per_channel is None:
        return None
    one, zero = np.ones((), np.float32), np.zeros((), np.float32)
    scale, shift = one, zero
    if name in ("mul", "div"):
        scale = per_channel if name == "mul" else one / per_channel
    else:
        shift = per_channel if name == "add" else -per_channel
    if isinstance(image.node, Convolution | Affine):
        image.node.rescale(scale, shift)
        return tensor
    if per_channel.ndim == 0 or not image.channels_first or image.stored != image.shape:
        return None
    ones = np.ones(int(image.shape[-1]), np.float32)
    node = Affine("BatchNormalization", [image.name], "", {}, ones, 0 * ones)
    node.rescale(scale, shift)
    made = dataclasses.replace(image, name=graph.add(node), node=node)
    return made if tensor.image is None else dataclasses.replace(tensor, image=made)


def rectified(graph: Graph, name: str, values: Sequence[Value]) -> Tensor | None:
    """Returns max(x, 0) and min(max(x, 0), c) as the operators that runtimes put into the convolution before."""
    tensor, limit = values if isinstance(values[0], Tensor) else values[::-1]
    if not isinstance(tensor, Tensor) or not isinstance(limit, np.ndarray) or np.size(limit) != 1:
        return None
    image = tensor.image or tensor
    if name == "max" and limit.item() == 0 and image.dtype == np.float32:
        node = Node("Relu", [image.name], "", {})
        made = dataclasses.replace(image, name=graph.add(node), node=node)
    elif name == "min" and image.node is not None and image.node.kind == "Relu":
        image.node.kind = "Clip"
        image.node.inputs += [
            graph.constant(np.zeros((), np.float32)),
            graph.constant(np.asarray(limit.item(), np.float32)),
        ]
        made = fixed(image)
    else:
        return None
    return made if tensor.image is None else dataclasses.replace(tensor, image=made)


def swish(graph: Graph, operation: Operation, values: list[Value]) -> Tensor:
    """Lowers z times its logistic."""
    tensor = graph.tensor(values[0])
    if tensor.image is not None:
        return dataclasses.replace(tensor, image=swish(graph, operation, [tensor.image]))
    gate = graph.emit("Sigmoid", [tensor.name])
    return alike(graph, "Mul", tensor, [tensor.name, gate])


def select(graph: Graph, operation: Operation, values: list[Value]) -> Tensor:
    """Lowers a choice between two values."""
    if len(values) != 3 or operation.inputs[0].dtype != np.bool_:
        refuse("a choice among more than two")
    emit = graph.emit

    def where(condition: str, otherwise: str, chosen: str) -> str:
        if operation.outputs[0].dtype != np.bool_:
            return emit("Where", [condition, chosen, otherwise])
        # ONNX Runtime chooses among numbers only.
        refused = emit("And", [emit("Not", [condition]), otherwise])
        return emit("Or", [emit("And", [condition, chosen]), refused])

    return together(graph, where, values)


def clamp(graph: Graph, operation: Operation, values: list[Value]) -> Tensor:
    """Lowers a value kept within limits."""
    low, x, high = values
    raised = together(graph, lambda *names: graph.emit("Max", names), [x, low])
    return together(graph, lambda *names: graph.emit("Min", names), [raised, high])


def cast(graph: Graph, operation: Operation, values: list[Value]) -> Tensor:
    """Lowers a change of type."""
    tensor, dtype = graph.tensor(values[0]), operation.outputs[0].dtype
    kind = helper.np_dtype_to_tensor_dtype(dtype)
    if tensor.dtype == dtype:
        return tensor
    if tensor.image is not None:
        return dataclasses.replace(
            tensor, image=alike(graph, "Cast", tensor.image, [tensor.image.name], to=kind)
        )
    return alike(graph, "Cast", tensor, [tensor.name], to=kind)


def rsqrt(graph: Graph, operation: Operation, values: list[Value]) -> Tensor:
    """Lowers one over a square root."""
    return unary(graph, "Reciprocal", unary(graph, "Sqrt", values[0]))


def square(graph: Graph, operation: Operation, values: list[Value]) -> Tensor:
    """Lowers a square."""
    return together(graph, lambda *names: graph.emit("Mul", names), [values[0]] * 2)


def power(graph: Graph, operation: Operation, values: list[Value]) -> Tensor:
    """Lowers a whole power."""
    exponent = np.asarray(operation.params["y"], operation.inputs[0].dtype)
    return together(graph, lambda *names: graph.emit("Pow", names), [values[0], exponent])


def unequal(graph: Graph, operation: Operation, values: list[Value]) -> Tensor:
    """Lowers a test of difference."""
    return unary(graph, "Not", together(graph, lambda *names: graph.emit("Equal", names), values))


def exclusive(graph: Graph, operation: Operation, values: list[Value]) -> Tensor:
    """Lowers an exclusive or."""
    return together(graph, lambda *names: graph.emit("Xor", names), values)


def _broadcast(shapes: Sequence[Sequence[Any]]) -> tuple[Any, ...]:
    rank = max(map(len, shapes))
    padded = [(*[1] * (rank - len(shape)), *shape) for shape in shapes]
    sizes = zip(*padded, strict=True)
    return tuple(
        next((one for one in of_axis if not (is_static((one,)) and one == 1)), 1) for of_axis in sizes
    )


def _per_channel(constant: np.ndarray, rank: int, image: Tensor) -> np.ndarray | None:
    """Returns a constant as a number or float32[C]; None where it varies along another axis, or is no float."""
    if constant.dtype != np.float32 or image.dtype != np.float32 or len(image.shape) < 3:
        return None
    if constant.size == 1:
        return constant.reshape(())
    if constant.ndim != rank or constant.size != constant.shape[-1] or constant.size != image.shape[-1]:
        return None
    return constant.reshape(-1)


def _as_images(values: Sequence[Value], image: Tensor) -> list[Value] | None:
    """Returns what is read with a matrix [N H W, C] as maps [N, H, W, C]; None where something is none."""
    found: list[Value] = []
    for value in values:
        if isinstance(value, Tensor):
            if value.image is None or value.image.shape[:-1] != image.shape[:-1]:
                return None
            found.append(value.image)
        elif value.size == 1:
            found.append(value.reshape(()))
        elif value.ndim == 2 and value.shape[0] == 1:
            found.append(value.reshape(*[1] * (len(image.shape) - 1), -1))
        else:
            return None
    return found
