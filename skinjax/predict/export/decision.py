"""Answers of a run as one pure function, from pixels to decisions, which is exported.

Pixels are normalised inside, symmetries of test-time augmentation averaged, levels fused, temperatures applied, sets
and degrees decided, all as `skinjax.predict.decisions` does it for the run's own answers. What needs more than the
pixels that a network reads stays behind, and the document beside a file says so: limits of quality and novelty, and the
second stage of a two-stage run.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export as jax_export

from skinjax.data.columns import ColumnCoding
from skinjax.labels.degrees import URGENCIES
from skinjax.labels.taxonomy import Taxonomy
from skinjax.models.pixels import normalize
from skinjax.predict.decisions import DecisionOptions, Decisions, compiled_decide
from skinjax.predict.load import Run
from skinjax.predict.networks import Loaded, Predictor
from skinjax.runs.networks import Network

NOTICE = "Research software, not a medical device: nothing it returns is a diagnosis."
ABSENT = (
    "quality and novelty: a photo that is blurred, dark, or unlike the run's photos is answered like any other",
    "the second stage of a two-stage run, and what it adds to the urgency",
    "reading, cropping and resizing of photos",
)
"""Parts of `skinjax predict` that an exported decision lacks."""


@dataclasses.dataclass(frozen=True, eq=False)
class Exported:
    """A function that leaves, with all that has to be known of it.

    Attributes:
      function: (images uint8[N, S, S, 3][, columns float32[N, D]]) -> results by name, each with N rows.
      image_size: S.
      column_features: Names of the D features; none where no network reads columns.
      outputs: Names of the results, in order.
      document: What else there is to say, as JSON takes it.
    """

    function: Callable[..., dict[str, jax.Array]]
    image_size: int
    column_features: tuple[str, ...]
    outputs: tuple[str, ...]
    document: Mapping[str, Any]

    @property
    def inputs(self) -> tuple[str, ...]:
        """Returns the names of the arguments."""
        return ("images", "columns") if self.column_features else ("images",)

    def shapes(self) -> tuple[jax.ShapeDtypeStruct, ...]:
        """Returns the arguments' shapes, for any number of photos."""
        (count,) = jax_export.symbolic_shape("n")
        images = jax.ShapeDtypeStruct((count, self.image_size, self.image_size, 3), jnp.uint8)
        columns = jax.ShapeDtypeStruct((count, len(self.column_features)), jnp.float32)
        return (images, columns) if self.column_features else (images,)

    def texts(self) -> dict[str, str]:
        """Returns the document's entries as texts, for formats that know nothing else."""
        return {
            name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            for name, value in self.document.items()
        }


def exported_network(run: Run) -> Exported:
    """Returns one network: probabilities of its classes, not calibrated, and logits.

    Args:
      run: The network.
    """
    network = run.network
    loaded = Loaded(network, run.variables)

    def function(images: jax.Array, *table: jax.Array) -> dict[str, jax.Array]:
        logits = _logits(loaded, images, table)
        return {f"probabilities_{slug(network.level)}": jax.nn.softmax(logits), "logits": logits}

    names = (f"probabilities_{slug(network.level)}", "logits")
    coding = network.columns
    document = {
        "notice": NOTICE,
        "model": _described(network),
        "levels": {network.level: list(network.classes)},
        "inputs": _inputs(network.image_size, "as the run's photos were", coding),
        "outputs": dict(
            zip(
                names,
                ("probabilities of the classes, not calibrated", "logits: their softmax is probabilities"),
                strict=True,
            )
        ),
        "calibrated": False,
    }
    return Exported(function, network.image_size, coding.names if coding else (), names, document)


def exported_decision(predictor: Predictor, options: DecisionOptions, decisions: Decisions) -> Exported:
    """Returns what a run says of photos: the networks of all levels and folds that answer, and the decision.

    Args:
      predictor: The networks.
      options: What the answers must be like.
      decisions: What was fitted on the run's own predictions.

    Raises:
      ValueError: The networks read columns that are encoded differently, of which one array cannot be given.
    """
    taxonomy, coding = predictor.taxonomy, _coding(predictor)
    decide = compiled_decide(taxonomy, options)
    temperatures = {level: np.float32(decisions.temperatures.get(level, 1.0)) for level in predictor.levels}
    cutpoints = np.asarray(decisions.cutpoints or np.zeros(max(options.num_degrees - 1, 0)), np.float32)
    fitted = (np.float32(decisions.set_threshold), np.float32(decisions.certainty), cutpoints)

    def function(images: jax.Array, *table: jax.Array) -> dict[str, jax.Array]:
        # One batch of all views, so that a file holds the weights once.
        views = jnp.concatenate([transform(images) for transform in predictor.transforms])
        count = len(predictor.transforms)
        tables = tuple(jnp.concatenate([rows] * count) for rows in table)

        def probabilities(level: str) -> jax.Array:
            of_folds = []
            for member in predictor.members:
                probs = jax.nn.softmax(_logits(member[level], views, tables))
                of_folds.append(probs.reshape(count, -1, probs.shape[-1]).mean(axis=0))
            return jnp.mean(jnp.stack(of_folds), axis=0) if len(of_folds) > 1 else of_folds[0]

        probs = {level: probabilities(level) for level in predictor.levels}
        outcome = decide(probs, temperatures, *fitted, np.bool_(decisions.photos > 0))
        return _named(outcome, taxonomy)

    told = _meanings(taxonomy, options)
    shown = _decision_document(options, decisions)
    document = {
        "notice": NOTICE,
        "networks": [_described(one.network) for member in predictor.members for one in member.values()],
        "taxonomy": json.loads(taxonomy.to_json()),
        "levels": {level: list(taxonomy.classes(level)) for level in taxonomy.levels},
        "inputs": _inputs(predictor.image_size, str(predictor.fit), coding),
        "views": len(predictor.transforms),
        "outputs": told,
        "decision": shown,
        "calibrated": decisions.photos > 0,
        "not_included": list(ABSENT),
    }
    features = coding.names if coding else ()
    return Exported(function, predictor.image_size, features, tuple(told), document)


def slug(name: str) -> str:
    """Returns a name as an identifier, as ONNX has them.

    >>> slug("skin disease")
    'skin_disease'
    """
    return re.sub(r"\W", "_", name)


def _logits(loaded: Loaded, images: jax.Array, table: tuple[jax.Array, ...]) -> jax.Array:
    """Computes a network's logits in float32, whatever the precision that it was trained in."""
    network = dataclasses.replace(loaded.network, precision="float32")
    rows = table if network.columns is not None else ()
    pixels = normalize(images, network.spec)
    logits: jax.Array = network.model().apply(loaded.variables, pixels, *rows, train=False)
    return logits.astype(jnp.float32)


def _coding(predictor: Predictor) -> ColumnCoding | None:
    networks = [loaded.network for member in predictor.members for loaded in member.values()]
    codings = [network.columns for network in networks if network.columns is not None]
    if any(one != codings[0] for one in codings):
        raise ValueError(
            "networks that are exported together must read columns in one encoding, got several "
            f"({', '.join(codings[0].column_names)}), as of several folds; export one fold without ensemble"
        )
    return codings[0] if codings else None


def _named(outcome: Mapping[str, Any], taxonomy: Taxonomy) -> dict[str, jax.Array]:
    named = {f"probabilities_{slug(level)}": outcome["probs"][level] for level in taxonomy.levels}
    named |= {name: outcome[name] for name in ("set", "set_size", "backed_off", "certainty", "certain")}
    if outcome["above"] is not None:
        named[f"set_{slug(taxonomy.levels[-2])}"] = outcome["above"]
    if "degree" in outcome:
        named |= {"tumour_probability": outcome["tumour"], "degree_probabilities": outcome["degree_probs"]}
        named |= {name: outcome[name] for name in ("score", "degree", "urgency", "urgency_unusable")}
    return named


def _meanings(taxonomy: Taxonomy, options: DecisionOptions) -> dict[str, str]:
    """Returns what each result is, in the order of `_named`."""
    told = {
        f"probabilities_{slug(level)}": f"float32[N, K], calibrated, of the classes of level {level}"
        for level in taxonomy.levels
    }
    told |= {
        "set": "bool[N, S], the finest classes that cannot be ruled out",
        "set_size": "int32[N], how many these are before the set backs off to the level above",
        "backed_off": "bool[N], whether the set holds all classes of those above that it touches",
        "certainty": "float32[N], the largest calibrated probability of a finest class",
        "certain": "bool[N], whether that is enough for a diagnosis, which also needs a set of at most "
        f"{options.set_limit} classes",
    }
    if len(taxonomy.levels) > 1:
        above = taxonomy.levels[-2]
        told[f"set_{slug(above)}"] = f"bool[N, M], the classes of level {above} that the set touches"
    if options.degree_of_class:
        told |= {
            "tumour_probability": "float32[N]",
            "degree_probabilities": "float32[N, D], as far as it is a tumour",
            "score": "float32[N], 0 the most benign to 100",
            "degree": "int32[N], -1 for no tumour",
            "urgency": f"int32[N], {', '.join(f'{place} {name}' for place, name in enumerate(URGENCIES))}, -1 where "
            "it is withheld; for a photo that is sharp, well lit and of skin",
            "urgency_unusable": "int32[N], the same for any other photo",
        }
    return told


def _decision_document(options: DecisionOptions, decisions: Decisions) -> dict[str, Any]:
    shown = dataclasses.asdict(options) | dataclasses.asdict(decisions)
    threshold = shown["set_threshold"]
    shown["set_threshold"] = threshold if np.isfinite(threshold) else None
    return {**shown, "temperatures": dict(decisions.temperatures)}


def _described(network: Network) -> dict[str, Any]:
    spec = network.spec
    return {
        "backbone": network.backbone,
        "stage": network.stage,
        "fold": network.fold,
        "level": network.level,
        "image_size": network.image_size,
        "mean": list(spec.mean),
        "std": list(spec.std),
        "paper": spec.paper,
        "pretrained_weights": spec.weights,
    }


def _inputs(size: int, fit: str, coding: ColumnCoding | None) -> dict[str, Any]:
    images = f"uint8[N, {size}, {size}, 3], red, green and blue in 0 to 255, made square: {fit}"
    if coding is None:
        return {"images": images}
    return {
        "images": images,
        "columns": f"float32[N, {coding.width}], as column_coding encodes them; all 0 is the average photo",
        "column_features": list(coding.names),
        "column_coding": dataclasses.asdict(coding),
    }
