"""timm and Keras behind one face: set their arrays, read their feature maps, take a training step, save a file.

Everything is computed in float64. Images and feature maps are [N, h, w, c], arrays as the library has them.
"""

from __future__ import annotations

import contextlib
import os
import sys
import types
import warnings
from collections.abc import Iterator, Mapping
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

Arrays = dict[str, np.ndarray]


class _StandIn(MetaPathFinder, Loader):
    """Empty modules in torchvision's place, which timm imports and its networks do not use."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        return ModuleSpec(name, self, is_package=True) if name.split(".")[0] == "torchvision" else None

    def create_module(self, spec: ModuleSpec) -> types.ModuleType:
        class Module(types.ModuleType):
            def __getattr__(self, attribute: str) -> type:
                if attribute.startswith("__"):
                    raise AttributeError(attribute)
                modes = ("NEAREST", "NEAREST_EXACT", "BILINEAR", "BICUBIC", "BOX", "HAMMING", "LANCZOS")
                return type(attribute, (), {mode: mode for mode in modes})

        return Module(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        pass


def import_timm() -> Any:
    """timm, with or without torchvision."""
    try:
        import torchvision  # noqa: F401
    except Exception:
        if not any(isinstance(finder, _StandIn) for finder in sys.meta_path):
            sys.meta_path.insert(0, _StandIn())
            for name in [name for name in sys.modules if name.split(".")[0] in ("torchvision", "timm")]:
                del sys.modules[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import timm
    return timm


def import_keras() -> Any:
    """Keras on JAX."""
    os.environ.setdefault("KERAS_BACKEND", "jax")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import keras
    return keras


def open_peer(library: str, model: str, size: tuple[int, int], num_classes: int, **options: Any) -> Any:
    """A network of a library, for images of this size."""
    if library == "timm":
        return TimmPeer(model, num_classes, **options)
    return KerasPeer(model, size, num_classes, **options)


class TimmPeer:
    """A network of timm.

    Args:
      model: its name there.
      num_classes: outputs of the head.
      options: for `timm.create_model`.
    """

    def __init__(self, model: str, num_classes: int, **options: Any) -> None:
        self.timm = import_timm()
        import torch

        self.torch = torch
        self.model = self.timm.create_model(model, num_classes=num_classes, **options).double().eval()

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the arrays by name, the counters aside."""
        return {name: tuple(value.shape) for name, value in self.model.state_dict().items() if value.ndim}

    def set(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Takes the arrays over."""
        counters = {name: value for name, value in self.model.state_dict().items() if not value.ndim}
        self.model.load_state_dict(
            counters | {name: self.torch.from_numpy(value.copy()) for name, value in arrays.items()}
        )

    def features(self, images: np.ndarray, maps: Mapping[str, str]) -> Arrays:
        """Feature maps of the modules, and "pooled" and "logits", in evaluation."""
        found: dict[str, Any] = {}
        hooks = [
            self.model.get_submodule(place).register_forward_hook(
                lambda _, __, output, name=name: found.update({name: output.clone()})
            )
            for name, place in maps.items()
        ]
        with self.torch.no_grad():
            inputs = self._inputs(images)
            found["logits"] = self.model(inputs)
            result = dict(found)
            last = self.model.forward_features(inputs)
            result["pooled"] = self.model.forward_head(last, pre_logits=True)
        for hook in hooks:
            hook.remove()
        return {
            name: (value.permute(0, 2, 3, 1) if value.ndim == 4 else value).numpy()
            for name, value in result.items()
        }

    def train_step(self, images: np.ndarray, weights: np.ndarray) -> tuple[Arrays, Arrays]:
        """Running statistics after one forward pass, and gradients of sum(weights * logits).

        PyTorch updates by the unbiased variance, n / (n - 1) times the biased one that it normalises by; of n numbers
        a channel. That factor is taken out again.
        """
        before = {name: value.numpy().copy() for name, value in self.model.named_buffers() if value.ndim}
        numbers: dict[str, int] = {}
        hooks = [
            module.register_forward_pre_hook(
                lambda _, inputs, name=name: numbers.update({name: inputs[0][:, 0].numel()})
            )
            for name, module in self.model.named_modules()
            if hasattr(module, "running_var")
        ]
        self.model.train()
        (self.model(self._inputs(images)) * self.torch.from_numpy(weights).double()).sum().backward()
        self.model.eval()
        for hook in hooks:
            hook.remove()
        statistics = {name: value.numpy().copy() for name, value in self.model.named_buffers() if value.ndim}
        for name, n in numbers.items():
            key = f"{name}.running_var"
            kept = (1 - self.model.get_submodule(name).momentum) * before[key]
            statistics[key] = kept + (statistics[key] - kept) * (n - 1) / n
        return statistics, {name: value.grad.numpy() for name, value in self.model.named_parameters()}

    def save(self, path: Path) -> Path:
        """Writes the arrays in single precision, by the path's suffix as PyTorch or as safetensors."""
        state = {
            name: value.float().contiguous() if value.ndim else value
            for name, value in self.model.state_dict().items()
        }
        if path.suffix == ".safetensors":
            from safetensors.torch import save_file

            save_file(state, path)
        else:
            self.torch.save(state, path)
        return path

    def _inputs(self, images: np.ndarray) -> Any:
        return self.torch.from_numpy(images.transpose(0, 3, 1, 2).copy()).double()


class KerasPeer:
    """A network of `keras.applications`, without its softmax.

    Args:
      model: the name of its function there.
      size: rows and columns of the images.
      num_classes: outputs of the head.
      options: for the function.
    """

    def __init__(self, model: str, size: tuple[int, int], num_classes: int, **options: Any) -> None:
        import jax

        self.jax, self.keras = jax, import_keras()
        self.keras.backend.clear_session()
        options = {"weights": None, "classes": num_classes, "classifier_activation": None} | options
        make = getattr(self.keras.applications, model)
        with warnings.catch_warnings(), self._double():
            warnings.simplefilter("ignore")
            self.keras.config.set_floatx("float64")  # or layers would cast what they are given
            self.model = make(input_shape=(*size, 3), **options)
            self.keras.config.set_floatx("float32")

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the arrays by name, like "conv2d/kernel", counters of the normalisation of pixels aside."""
        return {name: tuple(value.shape) for name, value in self._variables().items()}

    def set(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Takes the arrays over."""
        with self._double():
            for name, variable in self._variables().items():
                variable.assign(np.asarray(arrays[name], np.float64))
            for layer in self.model.layers:
                if isinstance(layer, self.keras.layers.Normalization):
                    layer.finalize_state()

    def features(self, images: np.ndarray, maps: Mapping[str, str]) -> Arrays:
        """Feature maps of the layers, and "pooled" and "logits", in evaluation."""
        places = {**maps, "pooled": "avg_pool", "logits": self.model.layers[-1].name}
        outputs = {name: self.model.get_layer(place).output for name, place in places.items()}
        with self._double():
            model = self.keras.Model(self.model.inputs, outputs)
            run = self.jax.jit(
                lambda weights, images: model.stateless_call(weights[0], weights[1], images, training=False)[
                    0
                ]
            )
            found = run(self._values(model), np.asarray(images, np.float64))
            return {name: np.asarray(value) for name, value in found.items()}

    def train_step(self, images: np.ndarray, weights: np.ndarray) -> tuple[Arrays, Arrays]:
        """Running statistics after one forward pass, and gradients of sum(weights * logits)."""
        model = self.model

        def loss(trainable: Any, others: Any) -> Any:
            logits, changed = model.stateless_call(trainable, others, images, training=True)
            return (logits * weights).sum(), changed

        with self._double():
            images, weights = np.asarray(images, np.float64), np.asarray(weights, np.float64)
            gradients, changed = self.jax.jit(self.jax.grad(loss, has_aux=True))(*self._values(model))
        names = {id(variable): name for name, variable in self._variables().items()}
        return tuple(
            {
                names[id(variable)]: np.asarray(value)
                for variable, value in zip(variables, values, strict=True)
                if id(variable) in names
            }
            for variables, values in (
                (model.non_trainable_variables, changed),
                (model.trainable_variables, gradients),
            )
        )

    def save(self, path: Path) -> Path:
        """Writes the arrays in double precision, as the path's suffix says: ".weights.h5", ".keras" or ".h5"."""
        with warnings.catch_warnings(), self._double():
            warnings.simplefilter("ignore")
            self.model.save_weights(path) if path.name.endswith(".weights.h5") else self.model.save(path)
        return path

    @contextlib.contextmanager
    def _double(self) -> Iterator[None]:
        """Double precision throughout: normalisation and means would take their inputs for single ones."""
        from keras.src import backend

        original = backend.result_type

        def result_type(*dtypes: Any) -> str:
            names = [getattr(dtype, "name", str(dtype)) for dtype in dtypes]
            return "float64" if "float64" in names else original(*dtypes)

        with (
            self.jax.enable_x64(True),
            mock.patch.object(backend, "result_type", result_type),
            mock.patch.object(backend.common.dtypes, "result_type", result_type),
        ):
            yield

    def _variables(self) -> dict[str, Any]:
        return {
            f"{layer.name}/{variable.name}": variable
            for layer in self.model.layers
            for variable in layer.weights
            if variable.name != "count"
        }

    def _values(self, model: Any) -> tuple[Any, Any]:
        return tuple(
            [np.asarray(variable.value, np.float64) for variable in variables]
            for variables in (model.trainable_variables, model.non_trainable_variables)
        )
