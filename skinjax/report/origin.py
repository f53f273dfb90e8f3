"""Origin of a page: the photos that it is of, and the day."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

NOT_SET = ("", "None", "[]", "{}")
"""Values of settings that the page leaves out, as nothing was set."""


def page_origin(config: Mapping[str, Any], date: str = "") -> str:
    """Returns the line below a page's title: the photos' source and the day.

    Args:
      config: The run's configuration, whose options name a data set, a manifest, or files of features or predictions.
      date: The day, such as "2026-03-01"; empty for today.

    >>> page_origin({"config": {"dataset": "pad_ufes_20"}}, date="2026-03-01")
    'pad_ufes_20, 1 March 2026'
    >>> page_origin({"config": {"manifest": "mine/all.csv", "other_dataset": "ham10000"}}, date="2026-03-01")
    'mine/all.csv and ham10000, 1 March 2026'
    >>> page_origin({"synthetic": True, "config": {"manifest": ""}}, date="2026-03-01")
    'photos rendered by skinjax, 1 March 2026'
    """
    day = datetime.date.fromisoformat(date) if date else datetime.date.today()
    shown = f"{day.day} {day:%B} {day.year}"
    source = _source(config)
    return f"{source}, {shown}" if source else shown


def _source(config: Mapping[str, Any]) -> str:
    options = config.get("config")
    options = options if isinstance(options, Mapping) else {}
    asked = config.get("evaluation")
    new = asked.get("config", {}) if isinstance(asked, Mapping) else {}
    for named in (new, options):  # an evaluation of new photos before the run that answers them
        sources = [_named(named, prefix) for prefix in ("", "other_")]
        if any(sources):
            return " and ".join(filter(None, sources))
        if named.get("features"):
            return ", ".join(_file(str(entry).rpartition("=")[2]) for entry in named["features"])
    if config.get("synthetic") is True:
        return "photos rendered by skinjax"
    models = asked.get("models", {}) if isinstance(asked, Mapping) else {}
    files = [
        str(model["file"]) for model in models.values() if isinstance(model, Mapping) and "file" in model
    ]
    return ", ".join(dict.fromkeys(_file(file) for file in files))


def _named(options: Mapping[str, Any], prefix: str) -> str:
    """Returns the data set or manifest that options name, of which a second one's begin with `other_`."""
    if options.get(f"{prefix}dataset"):
        return str(options[f"{prefix}dataset"])
    return _file(options[f"{prefix}manifest"]) if options.get(f"{prefix}manifest") else ""


def _file(path: str) -> str:
    """Returns a file with its folder, which tells one manifest.csv from another."""
    place = PurePath(path)
    return str(PurePath(*place.parts[-2:])) if place.parts else ""
