"""ONNX: one file that ONNX Runtime and others run, with all that has to be known of it in its metadata.

The graph is written by code of our own (`program.py`, `graph.py`, `operators.py`), which needs no package but
`onnx`.
"""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import jax

from skinjax.files.atomic import replacing
from skinjax.predict.export.decision import NOTICE, Exported

if TYPE_CHECKING:
    import onnx


def onnx_model(exported: Exported) -> onnx.ModelProto:
    """Writes a function as an ONNX model, checked.

    Args:
      exported: The function.

    Returns:
      The model: any number of photos, `exported.inputs` in, `exported.outputs` out, and in its metadata the
      document's entries as texts, each JSON unless it is a text itself.

    Raises:
      ValueError: The package `onnx` is missing, or an operation cannot be written.
    """
    if importlib.util.find_spec("onnx") is None:
        raise ValueError('format=onnx needs the package onnx: pip install "skinjax[export]"')
    from skinjax.predict.export.operators import emit
    from skinjax.predict.export.program import trace

    def listed(*arguments: jax.Array) -> list[jax.Array]:
        found = exported.function(*arguments)
        return [found[name] for name in exported.outputs]

    graph = emit(trace(listed, *exported.shapes()), exported.inputs, exported.outputs)
    return graph.finished(exported.texts(), NOTICE)


def write_onnx(exported: Exported, path: str | os.PathLike[str]) -> Path:
    """Writes a function as an ONNX file, and its document as JSON beside it.

    Args:
      exported: The function.
      path: The file; the document has its name with `.json` behind it.

    Returns:
      The path.

    Raises:
      ValueError: As `onnx_model`.
    """
    path = Path(path)
    model = onnx_model(exported)
    with replacing(path) as temporary:
        temporary.write_bytes(model.SerializeToString())
    opset = model.opset_import[0].version
    write_document(exported, path, format="onnx", opset=opset, ir_version=model.ir_version)
    return path


def write_document(exported: Exported, path: Path, **facts: str | int) -> None:
    """Writes the document of an exported file beside it.

    Args:
      exported: The function.
      path: The file.
      facts: Of the format.
    """
    document = {**facts, "file": path.name, **exported.document}
    with replacing(path.with_name(f"{path.name}.json")) as temporary:
        temporary.write_text(json.dumps(document, indent=1, ensure_ascii=False), encoding="utf-8")
