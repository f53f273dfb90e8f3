"""Weight files by their names on the Hugging Face Hub, from the network or from the local cache.

Needs the library `huggingface_hub` (`pip install "skinjax[hub]"`); where its cache lies and whether it may use
the network is set as for everything else that uses it (`HF_HOME`, `HF_HUB_CACHE`, `HF_HUB_OFFLINE`,
`HF_TOKEN`).
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from skinjax.models.weights.stored import UnreadableWeightsError

PREFIX = "hf:"
_FORM = "hf:<organization>/<repository>[@<revision>][:<file>]"
_WORD = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_NAME = re.compile(rf"hf:({_WORD}/{_WORD})(?:@([^@:\s]+))?(?::([^:\s][^:]*))?")
# What holds a network's arrays, the safest format first.
_WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin", "*.weights.h5", "*.h5")


class _HubName(NamedTuple):
    repository: str
    revision: str | None
    file: str | None


def fetch(name: str) -> Path:
    """Finds a weight file of the Hub: downloads it, or takes it from the cache where there is no network.

    Args:
      name: "hf:<organization>/<repository>[@<revision>][:<file>]", like "hf:timm/densenet121.ra_in1k" or
        "hf:timm/densenet121.ra_in1k@main:model.safetensors". The revision is a branch, tag or commit. Without a
        file the repository's `model.safetensors` is taken, else its `pytorch_model.bin`, else its only
        `.weights.h5` or `.h5`.

    Returns:
      The file in the local cache, for `open_weights`.

    Raises:
      ValueError: The name is not of that form, `huggingface_hub` is not installed, the repository has no such
        file (or several), or neither network nor cache has it.

    Example:
      >>> fetch("hf:densenet")  # doctest: +ELLIPSIS
      Traceback (most recent call last):
      skinjax.models.weights.stored.UnreadableWeightsError: a name on the Hub must be ..., got hf:densenet
    """
    address = _parse(name)
    library = _library(name)
    try:
        return _download(library, name, address)
    except UnreadableWeightsError:
        raise
    except Exception as error:  # what a network raises depends on the library's version and on the weather
        found = _cached(library, name, address)
        if found is None:
            raise UnreadableWeightsError(_reason(name, error)) from error
        return found


def fetch_folder(name: str) -> Path:
    """Finds a whole repository of the Hub: downloads it, or takes it from the cache where there is no network.

    Args:
      name: "hf:<organization>/<repository>[@<revision>]", of what `skinjax export --format=hub` wrote.

    Returns:
      The folder in the local cache.

    Raises:
      ValueError: As `fetch`; or the name is of a single file.
    """
    address = _parse(name)
    if address.file is not None:
        raise UnreadableWeightsError(f"{name} must name a repository, got a file in one: {address.file}")
    library = _library(name)
    try:
        return Path(library.snapshot_download(address.repository, revision=address.revision))
    except Exception as error:
        with contextlib.suppress(Exception):
            found = library.snapshot_download(
                address.repository, revision=address.revision, local_files_only=True
            )
            return Path(found)
        raise UnreadableWeightsError(_reason(name, error)) from error


def _library(name: str) -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise UnreadableWeightsError(
            f'{name} needs the library huggingface_hub: pip install "skinjax[hub]"'
        ) from error
    return huggingface_hub


def _parse(name: str) -> _HubName:
    match = _NAME.fullmatch(name)
    parts = [part for text in match.groups()[1:] if text for part in text.split("/")] if match else []
    if match is None or "" in parts or ".." in parts or "\\" in name:
        raise UnreadableWeightsError(f"a name on the Hub must be {_FORM}, got {name}")
    return _HubName(match[1], match[2], match[3])


def _download(library: Any, name: str, address: _HubName) -> Path:
    file = address.file
    if file is None:
        files = library.HfApi().list_repo_files(address.repository, revision=address.revision)
        file = _pick(name, files)
        if file is None:
            raise UnreadableWeightsError(
                f"{name} has none of {', '.join(_WEIGHT_FILES)}: add :<file> to the name"
            )
    return Path(library.hf_hub_download(address.repository, file, revision=address.revision))


def _cached(library: Any, name: str, address: _HubName) -> Path | None:
    """Returns the file in the cache, if it is there."""
    try:
        found = library.snapshot_download(
            address.repository, revision=address.revision, local_files_only=True
        )
    except Exception as error:
        # Newer versions of the library refuse a snapshot that has only some of the repository's files, but say
        # where it is.
        found = getattr(error, "snapshot_path", None)
    if found is None:
        return None
    folder = Path(found)
    files = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    if address.file is not None:
        return folder / address.file if address.file in files else None
    picked = _pick(name, files)
    return folder / picked if picked else None


def _pick(name: str, files: Iterable[str]) -> str | None:
    """Returns the file of a repository that holds the weights, if there is one."""
    files = sorted(files)
    for pattern in _WEIGHT_FILES:
        matching = [file for file in files if "/" not in file and Path(file).match(pattern)]
        if len(matching) > 1:
            raise UnreadableWeightsError(
                f"{name} has several weight files ({', '.join(matching)}): add :<file> to the name"
            )
        if matching:
            return matching[0]
    return None


def _reason(name: str, error: Exception) -> str:
    kind = type(error).__name__
    if "EntryNotFound" in kind and "Local" not in kind:
        return f"{name} has no such file"
    if kind in ("RepositoryNotFoundError", "GatedRepoError", "RevisionNotFoundError"):
        return f"{name} is not on the Hub, or not for everyone, and not in the local cache either ({kind})"
    return f"{name} is not in the local cache, and the Hub could not be asked ({kind})"
