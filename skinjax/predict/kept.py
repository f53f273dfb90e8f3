"""Values that were worked out once and are kept in a run's folder as JSON, with the key under which they hold."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from skinjax.files.atomic import replacing


def read_kept(path: Path, key: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    """Returns what `write_kept` wrote under this key; None where it is not there, of another key, or damaged.

    Args:
      path: The file.
      key: What the values depend on.
      name: Of the values.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        same = document["key"] == json.loads(json.dumps(key))
        return dict(document[name]) if same else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_kept(path: Path, key: Mapping[str, Any], name: str, values: Mapping[str, Any]) -> None:
    """Writes values with their key, whole or not at all; null stands for infinity, which JSON does not know.

    Args:
      path: The file.
      key: What the values depend on.
      name: Of the values.
      values: Numbers, texts, sequences and mappings.
    """
    document = json.dumps(_written({"key": key, name: values}), indent=1, allow_nan=False)
    with replacing(path) as temporary:
        temporary.write_text(document, encoding="utf-8")


def _written(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _written(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_written(entry) for entry in value]
    return None if isinstance(value, float) and math.isinf(value) else value
