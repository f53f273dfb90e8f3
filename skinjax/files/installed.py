"""Packages that some installations lack, and the sentence that says so where one of them is needed.

Preparing and training need all of them, `predict` only Orbax; statistics, the audit and `evaluate` on a table of
predictions need none. On Windows the first two have no packages to install.
"""

from __future__ import annotations

import importlib
import sys

_PACKAGES = {
    "array_record": "array-record",
    "tensorflow_datasets": "tensorflow-datasets",
    "grain": "grain",
    "orbax": "orbax-checkpoint",
}
_NOT_ON_WINDOWS = {"array_record", "tensorflow_datasets"}


def require(*modules: str) -> None:
    """Imports packages before work begins that would fail without them.

    Args:
      *modules: Their names in Python, of those that some installations lack.

    Raises:
      ModuleNotFoundError: One is not installed; the message is the sentence of `explained`.
    """
    for module in modules:
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            if sentence := explained(error):
                raise ModuleNotFoundError(sentence, name=error.name) from error
            raise


def explained(error: ModuleNotFoundError) -> str:
    """Returns a sentence that says what to install, or where to run; empty for a package that is always there.

    Args:
      error: From the import of the package or of a part of it.

    >>> explained(ModuleNotFoundError("No module named 'grain'", name="grain"))
    'the package grain must be installed for this, and is not; pip install grain'
    >>> explained(ModuleNotFoundError("No module named 'nowhere'", name="nowhere"))
    ''
    """
    module = (error.name or "").partition(".")[0]
    package = _PACKAGES.get(module)
    if package is None:
        return ""
    if sys.platform == "win32" and module in _NOT_ON_WINDOWS:
        return (
            f"the package {package} must be installed for this, and does not exist for Windows; run it on Linux or "
            "macOS, or in WSL (audit, predict and evaluate run on Windows)"
        )
    return f"the package {package} must be installed for this, and is not; pip install {package}"
