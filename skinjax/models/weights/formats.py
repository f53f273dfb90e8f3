"""Weight files as they lie on disk: their arrays by name and shape first, values on demand.

Read are folders that Orbax wrote (skinjax's own checkpoints), `.safetensors` files (timm's, Hugging Face's),
PyTorch's `.pth` (zip archives, and the pickles that versions before 1.6 wrote) and Keras's `.h5`,
`.weights.h5` and `.keras`. The content tells the format, not the name. Nothing is executed, no link out of a
file is followed, and neither PyTorch nor Keras is needed. Which array of a file is which variable of a
network is not decided here.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from skinjax.models.weights.hdf5_files import SIGNATURE as HDF5_SIGNATURE
from skinjax.models.weights.keras_files import ARCHIVED, open_hdf5, open_keras_archive
from skinjax.models.weights.orbax_folders import open_orbax
from skinjax.models.weights.safetensors_files import open_safetensors
from skinjax.models.weights.stored import FORMATS, StoredWeights, UnreadableWeightsError, refusing
from skinjax.models.weights.stored import Shape as Shape
from skinjax.models.weights.torch_files import MAGIC, open_torch_pickle, open_torch_zip
from skinjax.models.weights.zip_files import open_zip

PUBLISHED = "model.safetensors"
"""File of the weights in a folder for a model hub."""

_LONGEST_HEADER = 8 << 20  # bytes of a .safetensors file; of a thousand arrays it has an eighth of a megabyte


def open_weights(path: str | Path) -> StoredWeights:
    """Reads the table of contents of a weight file, whatever its format and name.

    How arrays are called:

    - Orbax: by their paths in the tree, like "params/stem/kernel".
    - Safetensors and PyTorch: as in the state dict, like "blocks.0.0.conv_dw.weight", without a prefix
      "module.", "model.", "_orig_mod.", "net.", "network." or "backbone." that all have. Of a PyTorch checkpoint
      the averaged weights are taken, else the plain ones, by the entries' usual names; else its only state dict, or
      all that it has, with the entry's name before those of its arrays.
    - Keras's `.h5`: "<layer>/<weight>", like "block1_conv1/kernel", in the order of layers.
    - Keras's `.weights.h5` and `.keras`: by their paths, like "layers/conv2d_1/vars/0", numbers in numeric
      order; `layer_names` has the layer's own name.

    Args:
      path: A file, or a folder: what Orbax saved a pytree into, a step of a checkpoint manager, the manager's folder,
        whose latest step is taken, or a folder for a model hub, with a `model.safetensors`. Behind a file's name may
        stand "#" and a part of it, the beginning of names or an entry, like "last.ckpt#teacher.backbone"; "#." are the
        names in no module.

    Returns:
      Names, shapes, and a way to the values.

    Raises:
      ValueError: Nothing is there, the format is unknown, or the file is damaged or would run something;
        one sentence that begins with the path.
    """
    found, part = _parted(path)
    with refusing(found, "weight file"):
        if not found.exists():
            raise UnreadableWeightsError(f"{path} must be {FORMATS}, got a path that does not exist")
        if found.is_dir():
            if part:
                raise UnreadableWeightsError(
                    f"{path} must have no # behind the name of a folder, got #{part}"
                )
            published = found / PUBLISHED
            stored = open_safetensors(published) if published.is_file() else open_orbax(found)
        elif not found.is_file():
            raise UnreadableWeightsError(f"{path} must be {FORMATS}, got neither a file nor a folder")
        else:
            stored = _open_file(found, part)
    # Names end up in messages and logs.
    for name in stored.shapes:
        if not name.isprintable():
            raise UnreadableWeightsError(f"{path} has an array whose name cannot be printed: {name[:100]}")
    return stored


def _parted(path: str | Path) -> tuple[Path, str]:
    """Splits a part of a file off its path, unless the whole is the name of one."""
    file, sharp, part = str(path).rpartition("#")
    if sharp and file and part and not os.path.lexists(path) and os.path.lexists(file):
        return Path(file), part
    return Path(path), ""


def _open_file(path: Path, part: str) -> StoredWeights:
    with path.open("rb") as file:
        head = file.read(512)
    if head.startswith(HDF5_SIGNATURE):
        return dataclasses.replace(open_hdf5(path), part=part)
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _open_zip(path, part)
    if head[:1] == b"\x80" and MAGIC in head[:32]:
        return open_torch_pickle(path, part)
    length = int.from_bytes(head[:8], "little")
    if head[8:9] == b"{" and length <= _LONGEST_HEADER:
        return open_safetensors(path, part)
    if head[257:262] == b"ustar":
        raise UnreadableWeightsError(
            f"{path} is a tar archive, which is how PyTorch before 0.1.10 saved and which is not read: "
            "load it there and save it again"
        )
    found = f"a file that begins with {head[:24]!r}" if head else "an empty file"
    raise UnreadableWeightsError(f"{path} must be {FORMATS}, got {found}")


def _open_zip(path: Path, part: str) -> StoredWeights:
    with refusing(path, "PyTorch file or Keras archive"), open_zip(path) as archive:
        names = archive.namelist()
    if ARCHIVED in names:
        return dataclasses.replace(open_keras_archive(path), part=part)
    if any(name.split("/")[-1] == "data.pkl" for name in names):
        return open_torch_zip(path, part)
    raise UnreadableWeightsError(
        f"{path} is a zip archive with neither PyTorch's data.pkl nor Keras's {ARCHIVED} in it"
    )
