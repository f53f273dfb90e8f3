"""A model card in the Hugging Face format: YAML front matter, then Markdown.

Sections follow Mitchell et al., "Model Cards for Model Reporting", FAT* 2019, doi:10.1145/3287560.3287596, and the
Hub's own template. The front matter holds every metric in full (`model-index`); the text rounds to four decimals.
What only the authors can know stands as a mark, `[to be filled in: ...]`.

A card is made to be published, so give it no path, and no setting that names a person or a clinic.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import numbers
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd

_TEMPLATES = Path(__file__).parent / "templates"


@dataclasses.dataclass(frozen=True)
class Metric:
    """A figure with its interval, which resamples cases and not photos.

    Attributes:
      name: For people, such as "Macro F1".
      value: NaN where it is not defined.
      low: Lower limit; NaN, as `high`, where there is no interval.
      high: Upper limit.
      confidence: Confidence level of the interval, in (0, 1).
    """

    name: str
    value: float
    low: float = math.nan
    high: float = math.nan
    confidence: float = 0.95


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Calibration before and after temperature scaling.

    Attributes:
      ece_before: Expected calibration error in [0, 1].
      ece_after: The same after scaling.
      temperature: Above 0.
    """

    ece_before: float
    ece_after: float
    temperature: float


@dataclasses.dataclass(frozen=True, eq=False)
class CardFacts:
    """Contents of a model card. Any text may hold any character.

    Attributes:
      name: Name of the model.
      synthetic: Whether the photos were rendered.
      backbone: Name in the registry; empty where it is not known, as of another program's predictions.
      image_size: Side of the photos that the network is fed, in pixels; None where it is not known.
      taxonomy: Its name.
      levels: Class names by level, coarsest first; the model answers at the last.
      photos: That were tested.
      cases: That they are of.
      folds: That they were tested in; with more than one, by networks trained on the other folds.
      metrics: The model's figures.
      method: What the figures are of where several networks answer together, such as "soft fusion".
      dataset: Name of the photos' source; may be empty.
      licence: An identifier of the Hub, such as "apache-2.0", or any other name; may be empty.
      stages: The networks that `load_run` finds in the run's folder; none for another program's predictions.
      subgroups: One row per group, shown as it is; None where no groups were looked at.
      calibration: None where it was not looked at.
      config: Settings, nested or flat.
      versions: Versions of packages, by their names.
      notes: Sentences to be read beside the figures.
      counted_cases: What stands for the cases, in words; empty where they are known.
      noun: What answered, for people: "network", "head" on features, or "model" of others.
    """

    name: str
    synthetic: bool
    backbone: str
    image_size: int | None
    taxonomy: str
    levels: Mapping[str, Sequence[str]]
    photos: int
    cases: int
    folds: int
    metrics: Sequence[Metric]
    method: str = ""
    dataset: str = ""
    licence: str = ""
    stages: Sequence[str] = ()
    subgroups: pd.DataFrame | None = None
    calibration: Calibration | None = None
    config: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)
    notes: Sequence[str] = ()
    counted_cases: str = ""
    noun: str = "network"


def model_card(facts: CardFacts) -> str:
    """Writes the model card.

    Args:
      facts: See `CardFacts`.

    Returns:
      The text of a `README.md`, to be written as UTF-8. No text of the facts can end the front matter or act
      as YAML, Markdown or HTML. Control characters become spaces in the Markdown, and half surrogate pairs
      the replacement character everywhere.

    Raises:
      ValueError: Facts that cannot be, such as no name, no photos, or an interval with its limits swapped.

    Example:
      >>> facts = CardFacts(
      ...     name="demo", synthetic=True, backbone="efficientnet_nano", image_size=64, taxonomy="synthetic19",
      ...     levels={"group": ["a", "b"], "disease": ["c", "d", "e"]}, photos=786, cases=300, folds=3,
      ...     metrics=[Metric("Accuracy", 0.61, 0.57, 0.65)], stages=["meta", "sub"],
      ... )
      >>> print(model_card(facts)[:107])
      ---
      license: "unknown"  # [to be filled in: the licence of the model]
      library_name: "skinjax"
      pipeline_tag:
    """
    _check(facts)
    body = (
        _environment()
        .get_template("model_card.md.j2")
        .render(
            facts=facts,
            num_classes=len(list(facts.levels.values())[-1]),
            metric_rows=[(metric.name, metric.value, _interval(metric)) for metric in facts.metrics],
            settings=list(_flatten(facts.config)),
        )
    )
    return f"---\n{_front_matter(facts)}---\n\n{body}\n"


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        finalize=_escape,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"blank": _blank, "table": _table, "listing": _listing, "literal": _literal}
    return environment


def _check(facts: CardFacts) -> None:
    if not facts.name.strip():
        raise ValueError(f"name must not be empty, got {facts.name!r}")
    for field in ("photos", "cases", "folds"):
        if getattr(facts, field) < 1:
            raise ValueError(f"{field} must be at least 1, got {getattr(facts, field)}")
    if facts.image_size is not None and facts.image_size < 1:
        raise ValueError(f"image_size must be at least 1, got {facts.image_size}")
    if not facts.levels or not all(facts.levels.values()):
        raise ValueError(f"levels must name at least one level, each with its classes, got {facts.levels!r}")
    if facts.subgroups is not None and not len(facts.subgroups.columns):
        raise ValueError("subgroups must have columns, got a table of none")
    if facts.stages and not (facts.backbone and facts.image_size):
        raise ValueError(
            "stages can be loaded only with a backbone and an image_size, one of which is missing"
        )
    for metric in facts.metrics:
        if not 0 < metric.confidence < 1:
            raise ValueError(f"confidence of {metric.name!r} must be in (0, 1), got {metric.confidence}")
        if metric.low > metric.high:
            raise ValueError(
                f"low of {metric.name!r} must not be above high, got {metric.low}, {metric.high}"
            )
    if facts.calibration is not None and not facts.calibration.temperature > 0:
        raise ValueError(f"temperature must be above 0, got {facts.calibration.temperature}")


def _front_matter(facts: CardFacts) -> str:
    licence: dict[str, Any] = {"license": facts.licence.strip().lower() or "unknown"}
    if not re.fullmatch(r"[a-z0-9][a-z0-9.+-]*", licence["license"]):
        slug = re.sub(r"[^a-z0-9.]+", "-", licence["license"]).strip("-.")
        licence = {"license": "other", "license_name": slug or "custom"}
    # Somebody else's predictions say nothing of the framework that made them.
    ours = ["jax", "skinjax"] if facts.noun != "model" else []
    tags = sorted(["dermatology", "image-classification", "skin", *ours])
    results = {
        "task": {"type": "image-classification", "name": "Image classification"},
        "dataset": {
            "type": "custom",
            "name": facts.dataset or f"photos labelled by {facts.taxonomy}",
            "split": "out-of-fold" if facts.folds > 1 else "test",
        },
        "metrics": [_result(metric, facts) for metric in facts.metrics if math.isfinite(metric.value)],
    }
    content = {
        **licence,
        **({"library_name": "skinjax"} if facts.stages else {}),
        "pipeline_tag": "image-classification",
        "tags": [*tags, "synthetic-photos"] if facts.synthetic else tags,
        "model-index": [{"name": facts.name, "results": [results] if results["metrics"] else []}],
    }
    lines = _yaml(content)
    if licence["license"] == "unknown":
        lines[0] += "  # " + _blank("the licence of the model")
    return "".join(f"{line}\n" for line in lines)


def _result(metric: Metric, facts: CardFacts) -> dict[str, Any]:
    interval = _interval(metric)
    limits = {"low": metric.low, "high": metric.high} if interval else {}
    return {
        "type": re.sub(r"[^a-z0-9]+", "_", metric.name.lower()).strip("_") or "metric",
        "value": metric.value,
        "name": f"{metric.name} (interval by case {interval})" if interval else metric.name,
        **(
            {
                "args": {
                    "confidence": metric.confidence,
                    **limits,
                    "resampled": "photos" if facts.counted_cases else "cases",
                }
            }
            if limits
            else {}
        ),
    }


def _yaml(content: Mapping[str, Any], indent: str = "") -> list[str]:
    """Lines of block YAML. Keys are our own, strings are JSON's, which YAML reads as they are."""
    lines = []
    for key, value in content.items():
        if isinstance(value, Mapping):
            lines += [f"{indent}{key}:", *_yaml(value, indent + "  ")]
        elif isinstance(value, list) and value:
            lines.append(f"{indent}{key}:")
            for entry in value:
                inner = _yaml(entry, indent + "  ") if isinstance(entry, Mapping) else [_scalar(entry)]
                lines += [f"{indent}- {inner[0].lstrip()}", *inner[1:]]
        else:
            lines.append(f"{indent}{key}: {_scalar(value)}")
    return lines


def _scalar(value: Any) -> str:
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        # YAML 1.1 takes an exponent for one only after a decimal point.
        return re.sub(r"^(-?\d+)e", r"\1.0e", repr(value if isinstance(value, int) else float(value)))
    quoted = json.dumps(_whole(value) if isinstance(value, str) else value, ensure_ascii=False)
    # What JSON leaves bare and YAML forbids, or reads as a line break.
    return re.sub(
        "[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]", lambda found: f"\\u{ord(found[0]):04x}", quoted
    )


def _whole(text: str) -> str:
    """Returns the text with halves of surrogate pairs, which no file can hold, replaced."""
    return re.sub("[\ud800-\udfff]", "\ufffd", text)


class _Markdown(str):
    """Text that is Markdown already and is not escaped again."""


def _escape(value: object) -> str:
    """Returns any value as Markdown that shows it in one line, without a meaning of its own; a dash for nothing."""
    if isinstance(value, _Markdown):
        return value
    if value is None or value is pd.NA or value is pd.NaT:
        return _Markdown("–")
    if isinstance(value, numbers.Real) and not isinstance(value, bool | np.bool_):
        return _number(value)
    # Marks that turn the direction of writing would turn what follows the text, too.
    text = re.sub("[\u202a-\u202e\u2066-\u2069]", "", _whole(str(value)))
    text = " ".join(re.sub("[\x00-\x1f\x7f-\x9f]", " ", text).split()) or "–"
    text = re.sub(r"([\\`*_\[\]<>#|~&$:])", r"\\\1", text)
    text = re.sub(r"(?i)\b(www)\.", r"\1\\.", text)
    # A list, a rule or an underline at the beginning of a line.
    text = re.sub(r"^([-+=])(?=[-+= ]|$)", r"\\\1", text)
    return _Markdown(re.sub(r"^(\d{1,9})(?=[.)]( |$))", r"\1\\", text))


def _number(value: Any) -> _Markdown:
    """Returns a number for people: all digits of a count, four decimals of a fraction, a dash where there is none."""
    if isinstance(value, numbers.Integral):
        return _Markdown(f"{int(value):,}")
    value = float(value)
    if not math.isfinite(value):
        return _Markdown("–")
    if value == 0 or 0.001 <= abs(value) < 1e6:
        return _Markdown(f"{value:.4f}")
    return _Markdown(f"{value:.4g}")


def _interval(metric: Metric) -> _Markdown:
    """Returns the interval with its confidence, empty where there is none."""
    if not (math.isfinite(metric.low) and math.isfinite(metric.high)):
        return _Markdown()
    return _Markdown(f"{_number(metric.low)} to {_number(metric.high)}, {100 * metric.confidence:g}%")


def _blank(what: str) -> _Markdown:
    return _Markdown(f"[to be filled in: {what}]")


def _table(columns: Iterable[Any], rows: Iterable[Iterable[Any]]) -> _Markdown:
    """Returns a table of GitHub's Markdown, its cells escaped."""
    heads = [_escape(str(column)) for column in columns]
    lines = [heads, ["---"] * len(heads), *([_escape(value) for value in row] for row in rows)]
    return _Markdown("\n".join(f"| {' | '.join(line)} |" for line in lines))


def _listing(texts: Iterable[str]) -> _Markdown:
    return _Markdown(", ".join(map(_escape, texts)))


def _literal(value: str | int) -> _Markdown:
    """Returns the value as Python writes it, in ASCII and on one line."""
    text = str(value)
    return _Markdown(json.dumps(value) if text.isascii() else ascii(value))


def _flatten(config: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", str(value)
