"""Floor 2: the folder of a run: its layout, configuration, locks, metrics, stored networks and predictions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skinjax.runs.folder import RunFolder

__all__ = ["RunFolder"]


def __getattr__(name: str) -> Any:
    """Imports `RunFolder` where it is first asked for: configurations, which commands start with, do without."""
    if name in __all__:
        from skinjax.runs.folder import RunFolder

        return RunFolder
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
