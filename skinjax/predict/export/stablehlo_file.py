"""StableHLO by `jax.export`: a file that JAX runs without this package, for years by its promise of compatibility."""

from __future__ import annotations

import os
from pathlib import Path

import jax
from jax import export as jax_export

from skinjax.files.atomic import replacing
from skinjax.predict.export.decision import NOTICE, Exported
from skinjax.predict.export.onnx_file import write_document

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
"""Platforms that a file runs on."""

_README = """# {name}

{notice}

A function from photos to decisions, as StableHLO. It needs JAX and NumPy, and nothing of skinjax:

```python
import pathlib
import jax
import numpy as np

function = jax.export.deserialize(bytearray(pathlib.Path("{name}").read_bytes()))
images = np.zeros((2, {size}, {size}, 3), np.uint8)  # any number of photos
found = function.call(images{columns})
print({{name: values.shape for name, values in found.items()}})
```

`{document}` says what goes in and what comes out.
"""


def write_stablehlo(exported: Exported, path: str | os.PathLike[str]) -> Path:
    """Writes a function as serialised StableHLO, its document as JSON and how to call it beside it.

    Args:
      exported: The function.
      path: The file; the others have its name with `.json` and `.md` behind it.

    Returns:
      The path.
    """
    path = Path(path)
    artefact = jax_export.export(jax.jit(exported.function), platforms=PLATFORMS)(*exported.shapes())
    with replacing(path) as temporary:
        temporary.write_bytes(artefact.serialize())
    write_document(exported, path, format="stablehlo", calling_convention=artefact.calling_convention_version)
    count = len(exported.column_features)
    readme = _README.format(
        name=path.name, document=f"{path.name}.json", notice=NOTICE, size=exported.image_size,
        columns=f", np.zeros((2, {count}), np.float32)" if count else "",
    )  # fmt: skip
    with replacing(path.with_name(f"{path.name}.md")) as temporary:
        temporary.write_text(readme, encoding="utf-8")
    return path
