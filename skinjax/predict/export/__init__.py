"""Networks that leave: ONNX, StableHLO, safetensors, and a folder for a model hub.

    from skinjax.predict.export import to_onnx
    to_onnx(skinjax.load_run("runs/mine"), "mine.onnx")             # one network: pixels in, probabilities out

    skinjax export --workdir=runs/mine --format=onnx --out=mine.onnx   # the decision: all levels, calibrated, sets

Files for other programs have a JSON of the same name beside them that says what goes in and what comes out.
"""

from __future__ import annotations

import os
from pathlib import Path

from skinjax.predict.export.decision import exported_network
from skinjax.predict.export.onnx_file import write_onnx
from skinjax.predict.export.safetensors_file import write_safetensors
from skinjax.predict.export.stablehlo_file import write_stablehlo
from skinjax.predict.load import Run

__all__ = ["to_onnx", "to_safetensors", "to_stablehlo"]


def to_onnx(run: Run, path: str | os.PathLike[str]) -> Path:
    """Writes one network as ONNX: uint8 photos in, probabilities and logits out, for any number of photos.

    Args:
      run: The network, of `load_run`.
      path: The file; its description gets the ending `.json` instead.

    Returns:
      The path.

    Raises:
      ValueError: The package `onnx` is missing, or the network has an operation that cannot be written.
    """
    return write_onnx(exported_network(run), path)


def to_stablehlo(run: Run, path: str | os.PathLike[str]) -> Path:
    """Writes one network as StableHLO, which JAX runs without this package.

    Args:
      run: The network, of `load_run`.
      path: The file; its description and how to call it get the endings `.json` and `.md` instead.

    Returns:
      The path.
    """
    return write_stablehlo(exported_network(run), path)


def to_safetensors(run: Run, path: str | os.PathLike[str]) -> Path:
    """Writes one network's variables by flat names, which `skinjax.load_pretrained` reads back to the bit.

    Args:
      run: The network, of `load_run`.
      path: The file; its description gets the ending `.json` instead.

    Returns:
      The path.
    """
    return write_safetensors(run.network, run.variables, path)
