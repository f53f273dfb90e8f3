"""Weight files as they lie on disk: their arrays by name and shape first, values when they are wanted.

Read are folders that Orbax wrote (skinjax's own checkpoints), `.safetensors` files (timm's, Hugging Face's),
PyTorch's `.pth` (zip archives, and the pickles that versions before 1.6 wrote) and Keras's `.h5`,
`.weights.h5` and `.keras`. The content tells the format, not the name. Nothing is executed, no link out of a
file is followed, and neither PyTorch nor Keras is needed. Which array of a file is which variable of a
network is not decided here.
"""

from __future__ import annotations

from pathlib import Path

from skinjax.models.stored_arrays import FORMATS, StoredWeights, UnreadableWeightsError, refusing
from skinjax.models.stored_arrays import Shape as Shape
from skinjax.models.stored_hdf5 import SIGNATURE as HDF5_SIGNATURE
from skinjax.models.stored_keras import open_hdf5, open_keras_archive
from skinjax.models.stored_orbax import open_orbax
from skinjax.models.stored_safetensors import LONGEST_HEADER, open_safetensors
from skinjax.models.stored_torch import MAGIC, open_torch_pickle, open_torch_zip
from skinjax.models.stored_zip import StoredZip


def open_weights(path: str | Path) -> StoredWeights:
    """Reads the table of contents of a weight file, whatever its format and name.

    How arrays are called:

    - Orbax: by their paths in the tree, like "params/stem/kernel".
    - Safetensors and PyTorch: as in the state dict, like "blocks.0.0.conv_dw.weight", without a prefix
      "module.", "model.", "_orig_mod.", "net.", "network." or "backbone." that all have. Of a PyTorch checkpoint
      the averaged weights are taken, else the plain ones, by the entries' usual names; else its only state dict.
    - Keras's `.h5`: "<layer>/<weight>", like "block1_conv1/kernel", in the order of layers.
    - Keras's `.weights.h5` and `.keras`: by their paths, like "layers/conv2d_1/vars/0", numbers in numeric
      order; `layer_names` has the layer's own name.

    Args:
      path: a file; or a folder: what Orbax saved a pytree into, a step of a checkpoint manager, or the
        manager's folder, whose latest step is taken.

    Returns:
      Names, shapes, and a way to the values.

    Raises:
      ValueError: nothing is there, the format is unknown, or the file is damaged or wants to run something;
        one sentence that begins with the path.
    """
    found = Path(path)
    with refusing(found, "weight file"):
        if not found.exists():
            raise UnreadableWeightsError(f"{path} does not exist; pretrained weights want {FORMATS}")
        if found.is_dir():
            stored = open_orbax(found)
        elif not found.is_file():
            raise UnreadableWeightsError(f"{path} is neither a file nor a folder; weights want {FORMATS}")
        else:
            stored = _open_file(found)
    # Names end up in messages and logs.
    for name in stored.shapes:
        if not name.isprintable():
            raise UnreadableWeightsError(f"{path} has an array whose name cannot be printed: {name[:100]}")
    return stored


def _open_file(path: Path) -> StoredWeights:
    with path.open("rb") as file:
        head = file.read(512)
    if head.startswith(HDF5_SIGNATURE):
        return open_hdf5(path)
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _open_zip(path)
    if head[:1] == b"\x80" and MAGIC in head[:32]:
        return open_torch_pickle(path)
    length = int.from_bytes(head[:8], "little")
    if head[8:9] == b"{" and length <= LONGEST_HEADER:
        return open_safetensors(path)
    if head[257:262] == b"ustar":
        raise UnreadableWeightsError(
            f"{path} is a tar archive, which is how PyTorch before 0.1.10 saved and which is not read: "
            "load it there and save it again"
        )
    found = f"begins with {head[:24]!r}, which no format that is read does" if head else "is empty"
    raise UnreadableWeightsError(f"{path} {found}; pretrained weights want {FORMATS}")


def _open_zip(path: Path) -> StoredWeights:
    with refusing(path, "PyTorch file or Keras archive"):
        archive = StoredZip(path)
    if "model.weights.h5" in archive.names:
        return open_keras_archive(archive)
    if any(name.split("/")[-1] == "data.pkl" for name in archive.names):
        return open_torch_zip(archive)
    raise UnreadableWeightsError(
        f"{path} is a zip archive with neither PyTorch's data.pkl nor Keras's model.weights.h5 in it"
    )
