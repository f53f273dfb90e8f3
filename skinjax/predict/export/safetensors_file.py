"""Safetensors: a network's arrays by flat names, and beside them what network it is.

Names are those of variables, `params/stem/kernel`, values float32 as they were trained: read back they are the same to
the bit. `skinjax.load_pretrained` and `--pretrained` read the file; the metadata hold the document as texts.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import traverse_util

from skinjax.files.atomic import replacing
from skinjax.models.weights.safetensors_files import OURS
from skinjax.predict.export.decision import NOTICE
from skinjax.runs.networks import Network


def write_safetensors(network: Network, variables: Mapping[str, Any], path: str | os.PathLike[str]) -> Path:
    """Writes a network's variables, and its description as JSON beside them.

    Args:
      network: What the network is.
      variables: Its parameters and BatchNorm statistics.
      path: The file; the description has its name with `.json` behind it.

    Returns:
      The path.
    """
    path = Path(path)
    described = network_document(network)
    write_variables(variables, path, {name: json.dumps(value) for name, value in described.items()})
    with replacing(path.with_name(f"{path.name}.json")) as temporary:
        text = json.dumps({"format": "safetensors", "file": path.name, **described}, indent=1)
        temporary.write_text(text, encoding="utf-8")
    return path


def write_variables(variables: Mapping[str, Any], path: Path, metadata: Mapping[str, str]) -> None:
    """Writes variables alone.

    Args:
      variables: A tree of arrays.
      path: The file.
      metadata: Texts by name.
    """
    from safetensors.numpy import save

    flat = traverse_util.flatten_dict(jax.device_get(variables), sep="/")
    arrays = {name: np.ascontiguousarray(values) for name, values in flat.items()}
    with replacing(path) as temporary:
        temporary.write_bytes(save(arrays, {"format": OURS, **metadata}))


def network_document(network: Network) -> dict[str, Any]:
    """Returns what network it is, as JSON takes it.

    Args:
      network: The network.
    """
    spec = network.spec
    return {
        "notice": NOTICE,
        "network": network.to_dict(),
        "names": "params/<layer>/... and batch_stats/<layer>/...; kernels [rows, columns, in, out], dense [in, out]",
        "pixels": {"mean": list(spec.mean), "std": list(spec.std), "scale": "black 0, white 1"},
        "bn_epsilon": spec.bn_epsilon,
        "padding": spec.padding,
        "paper": spec.paper,
        "pretrained_weights": spec.weights,
    }
