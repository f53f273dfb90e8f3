"""ONNX's operators for JAX's primitives: those that networks of this package, and decisions, are made of.

A primitive that is not here is refused by its name. Shapes are as `skinjax.predict.export.graph` keeps them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np
from onnx import helper

from skinjax.predict.export.graph import Affine, Convolution, Graph, Node, Tensor
from skinjax.predict.export.program import Operation, Program, Variable, is_static

Value = Tensor | np.ndarray

_UNARY = {
    "exp": "Exp", "log": "Log", "tanh": "Tanh", "logistic": "Sigmoid", "neg": "Neg", "abs": "Abs", "sqrt": "Sqrt",
    "erf": "Erf", "sign": "Sign", "floor": "Floor", "ceil": "Ceil", "not": "Not", "sin": "Sin", "cos": "Cos",
}  # fmt: skip
_BINARY = {
    "add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div", "max": "Max", "min": "Min", "pow": "Pow", "and": "And",
    "or": "Or", "eq": "Equal", "lt": "Less", "le": "LessOrEqual", "gt": "Greater", "ge": "GreaterOrEqual",
}  # fmt: skip
_REDUCTIONS = {
    "reduce_sum": "ReduceSum", "reduce_max": "ReduceMax", "reduce_min": "ReduceMin", "reduce_prod": "ReduceProd",
    "reduce_or": "ReduceMax", "reduce_and": "ReduceMin",
}  # fmt: skip


class UnsupportedError(ValueError):
    """A network is made of an operation that cannot be written as ONNX."""


def emit(program: Program, names: Sequence[str], outputs: Sequence[str]) -> Graph:
    """Writes a program as an ONNX graph.

    Args:
      program: The program; its first argument's first axis counts the photos.
      names: Of its arguments.
      outputs: Names of its results.

    Returns:
      The graph.

    Raises:
      UnsupportedError: An operation that is not known; the message names it.
    """
    graph, convolves = Graph(), any(one.name == "conv_general_dilated" for one in program.operations)
    emitter = _Emitter(graph, program)
    for name, one in zip(names, program.inputs, strict=True):
        first = convolves and len(one.shape) == 4
        emitter.values[one] = graph.input(name, one.shape, one.dtype, first)
    for operation in program.operations:
        emitter.lower(operation)
    for name, atom in zip(outputs, program.outputs, strict=True):
        graph.output(name, emitter.read(atom))
    return graph


class _Emitter:
    """The values that are known so far, and a method for each kind of operation."""

    def __init__(self, graph: Graph, program: Program) -> None:
        self.graph = graph
        self.values: dict[Variable, Value] = {}
        self._uses = program.uses

    def read(self, atom: Variable | np.ndarray) -> Value:
        """Returns the value of what an operation reads; one that others read too is not changed any more."""
        if not isinstance(atom, Variable):
            return np.asarray(atom)
        value = self.values[atom]
        shared = self._uses[atom] > 1
        return _fixed(value) if shared and isinstance(value, Tensor) else value

    def lower(self, operation: Operation) -> None:
        """Adds the nodes of an operation."""
        name, values = operation.name, [self.read(atom) for atom in operation.inputs]
        if name in _UNARY:
            found: Value = self._unary(_UNARY[name], values[0])
        elif name in _BINARY:
            found = self._binary(name, values, operation)
        elif name in _REDUCTIONS:
            found = self._reduced(operation, values[0])
        elif name in _METHODS:
            found = _METHODS[name](self, operation, values)
        else:
            raise UnsupportedError(
                f"the network must be made of operations that ONNX can be written in, got {name}; export it as "
                "stablehlo or safetensors"
            )
        made = operation.outputs[0]
        if isinstance(found, Tensor):
            found = dataclasses.replace(found, shape=made.shape, dtype=made.dtype)
        self.values[made] = found

    # ------------------------------------------------------------------------------------------- element-wise

    def _made(self, kind: str, like: Tensor, inputs: Sequence[str], **attributes: Any) -> Tensor:
        """Adds a node whose result has the shape and the storage of a tensor."""
        return dataclasses.replace(like, name=self.graph.emit(kind, inputs, **attributes), node=None)

    def _unary(self, kind: str, value: Value) -> Tensor:
        tensor = self.graph.tensor(value)
        if tensor.image is not None:
            return dataclasses.replace(tensor, image=self._unary(kind, tensor.image))
        return self._made(kind, tensor, [tensor.name])

    def _binary(self, name: str, values: Sequence[Value], operation: Operation) -> Tensor:
        kind = _BINARY[name]
        if name in ("and", "or") and operation.outputs[0].dtype != np.bool_:
            kind = f"Bitwise{kind}"
        integer = np.issubdtype(operation.outputs[0].dtype, np.integer)
        if name == "div" and integer:
            _refuse("a division of integers")
        return (
            self._folded(name, values)
            or self._rectified(name, values)
            or self._together(lambda *inputs: self.graph.emit(kind, inputs), values)
        )

    def _together(self, emit: Callable[..., str], values: Sequence[Value]) -> Tensor:
        """Adds a node that reads several values element by element, stored alike, and broadcasts them."""
        maps = [one.image for one in values if isinstance(one, Tensor) and one.image is not None]
        if maps and (images := _as_images(values, maps[0])) is not None:
            image = self._together(emit, images)
            rows = next(one for one in values if isinstance(one, Tensor) and one.image is not None)
            return dataclasses.replace(rows, image=image)
        values = [self.graph.unfolded(one) if isinstance(one, Tensor) else one for one in values]
        first = any(isinstance(one, Tensor) and one.channels_first for one in values)
        rank = max(len(_stored(one)) for one in values)
        names = []
        for one in values:
            if isinstance(one, Tensor):
                turned = self.graph.first(one) if first and len(one.stored) == rank else one
                names.append(turned.name)
            else:
                turns = first and np.ndim(one) == rank
                names.append(self.graph.constant(np.moveaxis(one, -1, 1) if turns else one))
        shape = _broadcast([one.shape if isinstance(one, Tensor) else np.shape(one) for one in values])
        stored = _broadcast([_stored(one) for one in values])
        return Tensor(emit(*names), shape, np.dtype(np.float32), stored, channels_first=first)

    def _folded(self, name: str, values: Sequence[Value]) -> Tensor | None:
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
        made = dataclasses.replace(image, name=self.graph.add(node), node=node)
        return made if tensor.image is None else dataclasses.replace(tensor, image=made)

    def _rectified(self, name: str, values: Sequence[Value]) -> Tensor | None:
        """Returns max(x, 0) and min(max(x, 0), c) as the operators that runtimes put into the convolution before."""
        tensor, limit = values if isinstance(values[0], Tensor) else values[::-1]
        if not isinstance(tensor, Tensor) or not isinstance(limit, np.ndarray) or np.size(limit) != 1:
            return None
        image = tensor.image or tensor
        if name == "max" and limit.item() == 0 and image.dtype == np.float32:
            node = Node("Relu", [image.name], "", {})
            made = dataclasses.replace(image, name=self.graph.add(node), node=node)
        elif name == "min" and image.node is not None and image.node.kind == "Relu":
            image.node.kind = "Clip"
            image.node.inputs += [
                self.graph.constant(np.zeros((), np.float32)),
                self.graph.constant(np.asarray(limit.item(), np.float32)),
            ]
            made = _fixed(image)
        else:
            return None
        return made if tensor.image is None else dataclasses.replace(tensor, image=made)

    def _swish(self, operation: Operation, values: list[Value]) -> Tensor:
        tensor = self.graph.tensor(values[0])
        if tensor.image is not None:
            return dataclasses.replace(tensor, image=self._swish(operation, [tensor.image]))
        gate = self.graph.emit("Sigmoid", [tensor.name])
        return self._made("Mul", tensor, [tensor.name, gate])

    def _select(self, operation: Operation, values: list[Value]) -> Tensor:
        if len(values) != 3 or operation.inputs[0].dtype != np.bool_:
            _refuse("a choice among more than two")
        emit = self.graph.emit

        def where(condition: str, otherwise: str, chosen: str) -> str:
            if operation.outputs[0].dtype != np.bool_:
                return emit("Where", [condition, chosen, otherwise])
            # ONNX Runtime chooses among numbers only.
            refused = emit("And", [emit("Not", [condition]), otherwise])
            return emit("Or", [emit("And", [condition, chosen]), refused])

        return self._together(where, values)

    def _clamp(self, operation: Operation, values: list[Value]) -> Tensor:
        low, x, high = values
        raised = self._together(lambda *names: self.graph.emit("Max", names), [x, low])
        return self._together(lambda *names: self.graph.emit("Min", names), [raised, high])

    def _cast(self, operation: Operation, values: list[Value]) -> Tensor:
        tensor, dtype = self.graph.tensor(values[0]), operation.outputs[0].dtype
        kind = helper.np_dtype_to_tensor_dtype(dtype)
        if tensor.dtype == dtype:
            return tensor
        if tensor.image is not None:
            return dataclasses.replace(
                tensor, image=self._made("Cast", tensor.image, [tensor.image.name], to=kind)
            )
        return self._made("Cast", tensor, [tensor.name], to=kind)

    def _rsqrt(self, operation: Operation, values: list[Value]) -> Tensor:
        return self._unary("Reciprocal", self._unary("Sqrt", values[0]))

    def _square(self, operation: Operation, values: list[Value]) -> Tensor:
        return self._together(lambda *names: self.graph.emit("Mul", names), [values[0]] * 2)

    def _power(self, operation: Operation, values: list[Value]) -> Tensor:
        exponent = np.asarray(operation.params["y"], operation.inputs[0].dtype)
        return self._together(lambda *names: self.graph.emit("Pow", names), [values[0], exponent])

    def _unequal(self, operation: Operation, values: list[Value]) -> Tensor:
        return self._unary("Not", self._together(lambda *names: self.graph.emit("Equal", names), values))

    def _exclusive(self, operation: Operation, values: list[Value]) -> Tensor:
        return self._together(lambda *names: self.graph.emit("Xor", names), values)

    # ---------------------------------------------------------------------------------------- axes and shapes

    def _broadcast_in_dim(self, operation: Operation, values: list[Value]) -> Tensor:
        """Adds axes of 1 where the result has more; what is stored is not stretched before it must be."""
        tensor, shape = self.graph.tensor(values[0]), operation.params["shape"]
        places = operation.params["broadcast_dimensions"]
        rank, before = len(shape), len(tensor.shape)
        if before == rank:
            return dataclasses.replace(self.graph.unfolded(tensor), shape=tuple(shape), node=None)
        tensor = self.graph.plain(tensor)
        added = [axis for axis in range(rank) if axis not in places]
        stored: list[Any] = [1] * rank
        for axis, place in enumerate(places):
            stored[place] = tensor.stored[axis]
        name = self.graph.emit("Unsqueeze", [tensor.name, self.graph.integers(*added)])
        return Tensor(name, tuple(shape), tensor.dtype, tuple(stored))

    def _reshape(self, operation: Operation, values: list[Value]) -> Tensor:
        tensor, shape = self.graph.tensor(values[0]), tuple(operation.outputs[0].shape)
        if operation.name == "reshape" and operation.params["dimensions"] is not None:
            _refuse("a reshape with a transposition")
        if tensor.shape == shape:
            return tensor
        if tensor.image is not None and tensor.image.shape == shape:
            return tensor.image
        grows = len(tensor.shape) > 2 and len(shape) == 2 and tensor.shape[-1] == shape[-1]
        whole = tensor.channels_first and tensor.stored == tensor.shape
        if grows and whole and any(size != 1 for size in tensor.shape[1:-1]):
            return Tensor("", shape, tensor.dtype, shape, image=tensor)
        if (
            tensor.channels_first
            and tensor.stored == tensor.shape
            and all(n == 1 for n in tensor.shape[1:-1])
        ):
            source = tensor  # of one place: no number moves
        else:
            source = self.graph.full(tensor)
        unknown = [axis for axis, size in enumerate(shape) if not is_static((size,))]
        if len(unknown) > 1:
            _refuse("a shape with the number of photos in several axes")
        sizes = [-1 if axis in unknown else int(size) for axis, size in enumerate(shape)]
        name = self.graph.emit("Reshape", [source.name, self.graph.integers(*sizes)])
        return Tensor(name, shape, tensor.dtype, shape)

    def _transpose(self, operation: Operation, values: list[Value]) -> Tensor:
        tensor, order = self.graph.tensor(values[0]), tuple(operation.params["permutation"])
        rank = len(order)
        if tensor.channels_first and order[0] == 0 and order[-1] == rank - 1:
            inner = [0, 1, *(axis + 1 for axis in order[1:-1])]
            stored = tuple(tensor.stored[axis] for axis in order)
            return dataclasses.replace(
                self._made("Transpose", tensor, [tensor.name], perm=inner), stored=stored
            )
        tensor = self.graph.plain(tensor)
        name = self.graph.emit("Transpose", [tensor.name], perm=list(order))
        return Tensor(
            name, operation.outputs[0].shape, tensor.dtype, tuple(tensor.stored[axis] for axis in order)
        )

    def _whole(self, value: Value) -> Tensor:
        """Returns a tensor of its own shape, in either order of axes."""
        tensor = self.graph.unfolded(self.graph.tensor(value))
        return tensor if tensor.stored == tensor.shape else self.graph.full(tensor)

    def _reverse(self, operation: Operation, values: list[Value]) -> Tensor:
        tensor, axes = self._whole(values[0]), operation.params["dimensions"]
        places = [_place(tensor, axis) for axis in axes]
        integers, count = self.graph.integers, len(places)
        inputs = [tensor.name, integers(*[-1] * count), integers(*[-(2**62)] * count), integers(*places)]
        return self._made("Slice", tensor, [*inputs, integers(*[-1] * count)])

    def _slice(self, operation: Operation, values: list[Value]) -> Tensor:
        tensor, params = self._whole(values[0]), operation.params
        starts, limits = params["start_indices"], params["limit_indices"]
        steps = params["strides"] or (1,) * len(starts)
        axes = [
            axis
            for axis, (start, limit, step) in enumerate(zip(starts, limits, steps, strict=True))
            if (start, step) != (0, 1) or limit != tensor.shape[axis]
        ]
        if not all(is_static((starts[axis], limits[axis])) for axis in axes):
            _refuse("a part of the photos")
        integers, places = self.graph.integers, [_place(tensor, axis) for axis in axes]
        cuts = [integers(*(int(of[axis]) for axis in axes)) for of in (starts, limits)]
        name = self.graph.emit(
            "Slice", [tensor.name, *cuts, integers(*places), integers(*(int(steps[a]) for a in axes))]
        )
        return dataclasses.replace(tensor, name=name, stored=operation.outputs[0].shape, node=None)

    def _pad(self, operation: Operation, values: list[Value]) -> Tensor:
        tensor, filling = self._whole(values[0]), values[1]
        config = operation.params["padding_config"]
        if any(low < 0 or high < 0 or inner for low, high, inner in config) or isinstance(filling, Tensor):
            _refuse("a padding that cuts, or that spreads")
        order = (
            [0, len(config) - 1, *range(1, len(config) - 1)] if tensor.channels_first else range(len(config))
        )
        pads = [int(config[axis][side]) for side in (0, 1) for axis in order]
        name = self.graph.emit("Pad", [tensor.name, self.graph.integers(*pads), self.graph.constant(filling)])
        return dataclasses.replace(tensor, name=name, stored=operation.outputs[0].shape, node=None)

    def _concatenate(self, operation: Operation, values: list[Value]) -> Tensor:
        tensors, axis = [self._whole(value) for value in values], operation.params["dimension"]
        if first := any(tensor.channels_first for tensor in tensors):
            tensors = [self.graph.first(tensor) for tensor in tensors]
        name = self.graph.emit("Concat", [one.name for one in tensors], axis=_place(tensors[0], axis))
        shape = operation.outputs[0].shape
        return Tensor(name, shape, tensors[0].dtype, shape, channels_first=first)

    def _iota(self, operation: Operation, values: list[Value]) -> Tensor:
        shape, axis = operation.params["shape"], operation.params["dimension"]
        if not is_static((shape[axis],)):
            _refuse("a numbering of the photos")
        stored = tuple(int(size) if place == axis else 1 for place, size in enumerate(shape))
        numbers = np.arange(stored[axis], dtype=operation.outputs[0].dtype).reshape(stored)
        return dataclasses.replace(self.graph.tensor(numbers), shape=tuple(shape))

    # -------------------------------------------------------------------------------------- sums and look-ups

    def _reduced(self, operation: Operation, value: Value) -> Tensor:
        tensor, axes = self._whole(value), sorted(operation.params["axes"])
        rank = len(tensor.shape)
        if tensor.channels_first and (0 in axes or rank - 1 in axes):
            tensor = self.graph.plain(tensor)
        places = self.graph.integers(*(_place(tensor, axis) for axis in axes))
        stored = tuple(size for axis, size in enumerate(tensor.stored) if axis not in axes)
        logical, name = tensor.dtype == np.bool_, tensor.name
        if logical:
            name = self.graph.emit("Cast", [name], to=helper.np_dtype_to_tensor_dtype(np.dtype(np.int32)))
        kind = _REDUCTIONS[operation.name]
        name = self.graph.emit(kind, [name, places], keepdims=0)
        if logical:
            name = self.graph.emit("Cast", [name], to=helper.np_dtype_to_tensor_dtype(np.dtype(np.bool_)))
        return Tensor(
            name, stored, tensor.dtype, stored, channels_first=tensor.channels_first and len(stored) > 2
        )

    def _arg(self, operation: Operation, values: list[Value]) -> Tensor:
        tensor = self.graph.full(self.graph.tensor(values[0]))
        kind = {"argmax": "ArgMax", "argmin": "ArgMin"}[operation.name]
        found = self.graph.emit(kind, [tensor.name], axis=int(operation.params["axes"][0]), keepdims=0)
        made = operation.outputs[0]
        name = self.graph.emit("Cast", [found], to=helper.np_dtype_to_tensor_dtype(made.dtype))
        return Tensor(name, made.shape, made.dtype, made.shape)

    def _gather(self, operation: Operation, values: list[Value]) -> Tensor:
        """A part at constant places, or entries along one axis: those of constant numbers, or one per row."""
        tensor, index = self.graph.full(self.graph.tensor(values[0])), values[1]
        numbers, made = operation.params["dimension_numbers"], operation.outputs[0]
        sizes, rank = operation.params["slice_sizes"], len(tensor.shape)
        if isinstance(index, np.ndarray) and index.ndim == 1:
            return self._part(
                tensor, dict(zip(numbers.start_index_map, index.tolist(), strict=True)), operation
            )
        axes = numbers.start_index_map
        others = [axis for axis in range(rank) if axis not in (*axes, *numbers.operand_batching_dims)]
        if len(axes) != 1 or tuple(numbers.collapsed_slice_dims) != tuple(axes) or any(
            sizes[axis] != tensor.shape[axis] for axis in others
        ):  # fmt: skip
            _refuse("a look-up of other than entries along one axis")
        axis = axes[0]
        if isinstance(index, np.ndarray) and not numbers.operand_batching_dims:
            places = index[..., 0]
            in_front = [place for place in range(len(made.shape)) if place not in numbers.offset_dims]
            regular = in_front == list(range(axis, axis + places.ndim))
            if not regular or places.min(initial=0) < 0 or places.max(initial=0) >= tensor.shape[axis]:
                _refuse("a look-up in another order, or beyond the end")
            name = self.graph.emit(
                "Gather", [tensor.name, self.graph.constant(places.astype(np.int64))], axis=axis
            )
        elif tuple(numbers.operand_batching_dims) == tuple(range(axis)) and axis == rank - 1:
            rows = self.graph.full(self.graph.tensor(index))
            rows = self._squeezed(rows, len(rows.shape) - 1)
            name = self.graph.emit("GatherElements", [tensor.name, rows.name], axis=axis)
        else:
            _refuse("a look-up of other than entries along one axis")
        return Tensor(name, made.shape, made.dtype, made.shape)

    def _part(self, tensor: Tensor, starts: Mapping[int, int], operation: Operation) -> Tensor:
        """Returns the part that begins at these places of some axes, and is whole along the others."""
        made, sizes = operation.outputs[0], operation.params["slice_sizes"]
        for axis, start in starts.items():
            if (
                not is_static((sizes[axis], tensor.shape[axis]))
                or not 0 <= start <= tensor.shape[axis] - sizes[axis]
            ):
                _refuse("a part of the photos, or one beyond the end")
        ends = [start + int(sizes[axis]) for axis, start in starts.items()]
        cut = [self.graph.integers(*values) for values in (starts.values(), ends, starts)]
        name = self.graph.emit("Slice", [tensor.name, *cut])
        collapsed = operation.params["dimension_numbers"].collapsed_slice_dims
        if collapsed:
            name = self.graph.emit("Squeeze", [name, self.graph.integers(*collapsed)])
        return Tensor(name, made.shape, made.dtype, made.shape)

    def _squeezed(self, tensor: Tensor, axis: int) -> Tensor:
        name = self.graph.emit("Squeeze", [tensor.name, self.graph.integers(axis)])
        shape = tuple(size for place, size in enumerate(tensor.shape) if place != axis)
        return Tensor(name, shape, tensor.dtype, shape)

    # ------------------------------------------------------------------------ products, convolutions, windows

    def _dot(self, operation: Operation, values: list[Value]) -> Tensor:
        (over, with_), (batch, _) = operation.params["dimension_numbers"]
        left, right = values
        made = operation.outputs[0]
        plain = (tuple(over), tuple(with_), len(batch)) == ((len(operation.inputs[0].shape) - 1,), (0,), 0)
        if isinstance(left, Tensor) and left.image is not None and plain and isinstance(right, np.ndarray):
            kernel = right.T.reshape(*right.T.shape, *[1] * (len(left.image.shape) - 2))
            image = self._convolution(left.image, kernel, {}, (*left.image.shape[:-1], right.shape[1]))
            return dataclasses.replace(left, shape=made.shape, image=image)
        names = [self.graph.full(self.graph.tensor(one)).name for one in values]
        if plain and len(operation.inputs[1].shape) == 2:
            name = self.graph.emit("MatMul", names)
        else:
            name = self.graph.emit("Einsum", names, equation=_equation(operation))
        return Tensor(name, made.shape, made.dtype, made.shape)

    def _convolution(
        self, image: Tensor, kernel: np.ndarray, attributes: Mapping[str, Any], shape: tuple[Any, ...]
    ) -> Tensor:
        image = self.graph.first(image)
        bias = np.zeros(kernel.shape[0], np.float32)
        sizes = {"kernel_shape": [int(size) for size in kernel.shape[2:]]}
        node = Convolution("Conv", [image.name], "", {**sizes, **attributes}, kernel.astype(np.float32), bias)
        return Tensor(
            self.graph.add(node), shape, np.dtype(np.float32), shape, channels_first=True, node=node
        )

    def _conv(self, operation: Operation, values: list[Value]) -> Tensor:
        params, rank = operation.params, len(operation.inputs[0].shape)
        numbers, image, kernel = params["dimension_numbers"], self._whole(values[0]), values[1]
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
            _refuse(
                "a convolution other than of [N, H, W, C] by a constant kernel, without spreading or cutting"
            )
        attributes = {
            "strides": [int(one) for one in params["window_strides"]],
            "pads": [int(pair[side]) for side in (0, 1) for pair in pads],
            "dilations": [int(one) for one in params["rhs_dilation"]],
            "group": int(params["feature_group_count"]),
        }
        return self._convolution(
            image, kernel.transpose(numbers.rhs_spec), attributes, operation.outputs[0].shape
        )

    def _window(self, operation: Operation, values: list[Value]) -> Tensor:
        image, params = self.graph.first(self._whole(values[0])), operation.params
        attributes: dict[str, Any] = {
            "kernel_shape": list(params["size"]),
            "strides": list(params["strides"]),
            "pads": [pair[side] for side in (0, 1) for pair in params["pads"]],
        }
        kind = "MaxPool"
        if operation.name == "window_mean":
            kind, attributes["count_include_pad"] = "AveragePool", int(params["counts_padding"])
        shape = operation.outputs[0].shape
        return dataclasses.replace(self._made(kind, image, [image.name], **attributes), stored=shape)

    def _map_mean(self, operation: Operation, values: list[Value]) -> Tensor:
        image, made = self.graph.first(self._whole(values[0])), operation.outputs[0]
        mean = self.graph.emit("GlobalAveragePool", [image.name])
        name = self.graph.emit("Reshape", [mean, self.graph.integers(-1, int(made.shape[1]))])
        return Tensor(name, made.shape, made.dtype, made.shape)

    def _cumulative(self, operation: Operation, values: list[Value]) -> Tensor:
        tensor = self.graph.full(self.graph.tensor(values[0]))
        axis = self.graph.constant(np.asarray(operation.params["axis"], np.int64))
        return self._made("CumSum", tensor, [tensor.name, axis], reverse=int(operation.params["reverse"]))


_METHODS: Mapping[str, Callable[[_Emitter, Operation, list[Value]], Tensor]] = {
    "argmax": _Emitter._arg,
    "argmin": _Emitter._arg,
    "broadcast_in_dim": _Emitter._broadcast_in_dim,
    "clamp": _Emitter._clamp,
    "concatenate": _Emitter._concatenate,
    "conv_general_dilated": _Emitter._conv,
    "convert_element_type": _Emitter._cast,
    "cumsum": _Emitter._cumulative,
    "dot_general": _Emitter._dot,
    "gather": _Emitter._gather,
    "integer_pow": _Emitter._power,
    "iota": _Emitter._iota,
    "map_mean": _Emitter._map_mean,
    "ne": _Emitter._unequal,
    "pad": _Emitter._pad,
    "reshape": _Emitter._reshape,
    "rev": _Emitter._reverse,
    "rsqrt": _Emitter._rsqrt,
    "select_n": _Emitter._select,
    "slice": _Emitter._slice,
    "square": _Emitter._square,
    "squeeze": _Emitter._reshape,
    "swish": _Emitter._swish,
    "transpose": _Emitter._transpose,
    "window_max": _Emitter._window,
    "window_mean": _Emitter._window,
    "xor": _Emitter._exclusive,
}


def _refuse(what: str) -> NoReturn:
    raise UnsupportedError(
        f"the network must be made of operations that ONNX can be written in, got {what}; export it as stablehlo or "
        "safetensors"
    )


def _fixed(tensor: Tensor) -> Tensor:
    """Returns a tensor whose node is not changed any more."""
    image = None if tensor.image is None else dataclasses.replace(tensor.image, node=None)
    return dataclasses.replace(tensor, node=None, image=image)


def _stored(value: Value) -> tuple[Any, ...]:
    return value.stored if isinstance(value, Tensor) else np.shape(value)


def _place(tensor: Tensor, axis: int) -> int:
    """Returns where an axis is stored."""
    rank = len(tensor.shape)
    if not tensor.channels_first or axis == 0:
        return axis
    return 1 if axis == rank - 1 else axis + 1


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
