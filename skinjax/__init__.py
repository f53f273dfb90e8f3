"""skinjax: hierarchical diagnosis of skin disease from clinical photos, in JAX. Not a medical device.

    import skinjax

    photos = skinjax.read_photos("mine/manifest.csv", taxonomy="mine/classes.csv")
    config = skinjax.studies.hierarchy.Config(backbone="efficientnet_b0")
    result = skinjax.studies.hierarchy.run(photos, config, "runs/mine")
    skinjax.load_run("runs/mine").predict(["clinic/a.jpg"])
    skinjax.evaluate("theirs.csv", taxonomy="ham10000", target="mel")

Names are imported where they are first asked for: `import skinjax` loads neither JAX nor TensorFlow Datasets.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skinjax import studies
    from skinjax.data.grain import as_grain
    from skinjax.data.photo_set import PhotoSet, read_photos
    from skinjax.decide.hierarchy import fuse
    from skinjax.labels.taxonomy import load_taxonomy
    from skinjax.models.pretrained import load_pretrained
    from skinjax.models.registry import create, list_models, spec
    from skinjax.predict.load import load_run
    from skinjax.studies.evaluation import evaluate
    from skinjax.studies.steps.inputs import synthetic_photos

__version__ = "0.2.0"

_HOMES = {
    "PhotoSet": "skinjax.data.photo_set",
    "as_grain": "skinjax.data.grain",
    "create": "skinjax.models.registry",
    "fuse": "skinjax.decide.hierarchy",
    "list_models": "skinjax.models.registry",
    "load_pretrained": "skinjax.models.pretrained",
    "load_run": "skinjax.predict.load",
    "load_taxonomy": "skinjax.labels.taxonomy",
    "read_photos": "skinjax.data.photo_set",
    "spec": "skinjax.models.registry",
    "synthetic_photos": "skinjax.studies.steps.inputs",
}

__all__ = [
    "PhotoSet",
    "as_grain",
    "create",
    "evaluate",
    "fuse",
    "list_models",
    "load_pretrained",
    "load_run",
    "load_taxonomy",
    "read_photos",
    "spec",
    "studies",
    "synthetic_photos",
]


def __getattr__(name: str) -> Any:
    """Imports a public name where it is first asked for."""
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    if name in ("evaluate", "studies"):  # the first is a package and a function
        return importlib.import_module(f"skinjax.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Evaluate(ModuleType):
    """`skinjax.evaluate`: the package of statistics, and when called, the evaluation of anybody's predictions."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Evaluates anybody's predictions; see `skinjax.studies.evaluation.evaluate`."""
        return _evaluation()(*arguments, **options)

    @property
    def __signature__(self) -> Any:
        """Returns the function's signature, which `help` shows."""
        import inspect

        return inspect.signature(_evaluation())


def _evaluation() -> Any:
    return importlib.import_module("skinjax.studies.evaluation").evaluate


class _Package(ModuleType):
    """This package, whose sub-package `evaluate` is a function too, whichever of them is imported first."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "evaluate" and isinstance(value, ModuleType):
            value.__class__ = _Evaluate
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
