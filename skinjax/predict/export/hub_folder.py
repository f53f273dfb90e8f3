"""One folder for a model hub, which `load_run` and `skinjax predict` read as a run that predicts.

    README.md           the model card
    LICENSE             under which licence the networks are
    config.json         which networks these are, and how photos are read; written last
    taxonomy.json       the classes
    model.safetensors   weights of the finest level's network; model_<level>.safetensors of coarser ones
    decisions.json      temperatures, threshold of conformal sets, certainty, cut-points, by photo
    decisions_by_case.json    the same by case, and how far the photos of a case may disagree
    limits.npz          limits of quality and novelty, with the means of classes and the covariance of features
    degrees.csv, advice.json, advice_by_case.json, target.json    where the run has such

No photo, no file name, no case and no prediction of one goes with it; what was fitted on them does.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

from skinjax.files.digests import file_hash
from skinjax.files.folders import filling
from skinjax.labels.degrees import NO_TUMOUR
from skinjax.models.weights.formats import PUBLISHED
from skinjax.predict import advice, case_decisions, reference, run_decisions, run_target
from skinjax.predict.cases import CaseContext
from skinjax.predict.export.decision import NOTICE, slug
from skinjax.predict.export.safetensors_file import network_document, write_variables
from skinjax.predict.kept import write_kept
from skinjax.predict.networks import Predictor
from skinjax.predict.photos import AnswerContext
from skinjax.runs.document import SCHEMA
from skinjax.runs.folder import RunFolder
from skinjax.runs.networks import Network
from skinjax.runs.provenance import provenance

_KEPT = ("fit", "test_time_augmentation", "backbone", "image_size", "precision", "target", "strategy")
"""Options of a run that its answers depend on, and that name no place on the machine it was trained on."""


def write_hub(
    predictor: Predictor,
    cases: CaseContext,
    path: str | os.PathLike[str],
    *,
    unusual: float = 0.02,
    card: str = "",
    licence: str = "",
) -> Path:
    """Writes the folder, whole or not at all.

    Args:
      predictor: The networks of one fold.
      cases: The context that `skinjax.predict.cases.prepare_cases` returned.
      path: The folder: a new one, or that of an earlier export, whose README.md is kept as it is.
      unusual: Share of the run's own photos beyond each limit of `cases`.
      card: Markdown of the model card; a short one is written where there is none.
      licence: Of the networks, an identifier of the Hub such as `cc-by-4.0`; empty where it is not stated.

    Returns:
      The path.

    Raises:
      ValueError: Several folds, or a folder that holds something else.
    """
    path, context = Path(path), cases.photo
    if len(predictor.members) > 1:
        raise ValueError(f"a folder for a hub must be of one fold, got {len(predictor.members)}")
    refuse_other_folder(path)
    source = RunFolder.read(predictor.workdir)
    networks = {
        level: dataclasses.replace(one.network, fold=0) for level, one in predictor.members[0].items()
    }
    with filling(path, last="config.json") as hidden:
        weights = _write_networks(predictor, networks, hidden)
        (hidden / "taxonomy.json").write_text(predictor.taxonomy.to_json(), encoding="utf-8")
        options = {name: source.options[name] for name in _KEPT if name in source.options}
        if context.options.degree_of_class:
            options["degrees"] = "degrees.csv"
            _write_degrees(context.options.degree_of_class, predictor, hidden / "degrees.csv")
        document = {
            "schema": SCHEMA,
            "published": True,
            "notice": NOTICE,
            "study": source.study,
            "config": options,
            "taxonomy": predictor.taxonomy.name,
            "data_fingerprint": "published",
            "synthetic": source.synthetic,
            "licence": licence,
            "weights": weights,
            "fold": predictor.fold,
            **provenance(),
        }
        config = hidden / "config.json"
        config.write_text(json.dumps(document, indent=1), encoding="utf-8")  # the fits' keys are made of it
        _write_fits(dataclasses.replace(predictor, workdir=hidden, fold=0), cases, unusual, source)
        document["files"] = {
            one.relative_to(hidden).as_posix(): file_hash(one)
            for one in sorted(hidden.rglob("*"))
            if one.is_file() and one != config
        }
        config.write_text(json.dumps(document, indent=1), encoding="utf-8")
        earlier = path / "README.md"
        text = (
            earlier.read_text(encoding="utf-8")
            if earlier.is_file()
            else _card(card, path.resolve().name, licence, networks, context)
        )
        (hidden / "README.md").write_text(text, encoding="utf-8")
        (hidden / "LICENSE").write_text(_licence(licence, networks), encoding="utf-8")
    return path


def refuse_other_folder(path: Path) -> None:
    """Raises ValueError where a folder is there that is no earlier export."""
    if not path.is_dir() or not any(path.iterdir()):
        return
    if not (path / "config.json").is_file() or not RunFolder.read(path).published:
        raise ValueError(f"out={path} must be a new folder or an earlier export, but holds something else")


def published_licence(path: Path) -> str:
    """Returns the licence that an exported folder states; empty where it states none, or is no such folder."""
    if not (path / "config.json").is_file():
        return ""
    document = RunFolder.read(path).document or {}
    return str(document.get("licence") or "") if document.get("published") else ""


def _write_networks(predictor: Predictor, networks: Mapping[str, Network], hidden: Path) -> dict[str, str]:
    """Writes weights and descriptions, and returns the file of each stage."""
    files = {}
    (hidden / "checkpoints" / "fold_0").mkdir(parents=True)
    for level, network in networks.items():
        finest = level == predictor.taxonomy.finest
        name = PUBLISHED if finest else f"model_{slug(level)}.safetensors"
        metadata = {key: json.dumps(value) for key, value in network_document(network).items()}
        write_variables(predictor.members[0][level].variables, hidden / name, metadata)
        described = hidden / "checkpoints" / "fold_0" / f"{network.stage}.json"
        described.write_text(network.to_json(), encoding="utf-8")
        files[network.stage] = name
    return files


def _write_degrees(degrees: tuple[int, ...], predictor: Predictor, path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["class", "degree"])
        for name, degree in zip(predictor.taxonomy.classes(), degrees, strict=True):
            rows.writerow([name, "none" if degree == NO_TUMOUR else degree])


def _write_fits(published: Predictor, cases: CaseContext, unusual: float, source: RunFolder) -> None:
    """Writes what the run's answers were fitted with, under the keys that a published folder is read by."""
    folder, context = published.workdir, cases.photo
    options = context.options
    key = run_decisions.fit_key(published, options, run_decisions.VERSION)
    write_kept(folder / run_decisions.FILE, key, "decisions", dataclasses.asdict(context.decisions))
    key = case_decisions.case_key(published, options, unusual)
    write_kept(folder / case_decisions.FILE, key, "decisions", dataclasses.asdict(cases.decisions))
    if options.degree_of_class:
        key = run_decisions.fit_key(published, options, advice.VERSION) | advice.target_key(context.target)
        write_kept(folder / advice.FILE, key, "advice", dataclasses.asdict(context.record))
        key = case_decisions.case_key(published, options, unusual) | advice.target_key(cases.target)
        write_kept(folder / case_decisions.ADVICE_FILE, key, "advice", dataclasses.asdict(cases.record))
    if context.limits.photos:
        reference.write_limits(folder / reference.LIMITS, context.limits, unusual)
    for file in (source.target, source.target.with_name(run_target.BY_CASE)):
        if context.target is not None and file.is_file():
            stored = json.loads(file.read_text(encoding="utf-8"))
            stored.pop("key", None)
            (folder / file.name).write_text(json.dumps(stored, indent=1), encoding="utf-8")


def _licence(licence: str, networks: Mapping[str, Network]) -> str:
    stated = f"The networks in this folder are published under the licence {licence}."
    unstated = "Under which licence the networks in this folder may be used is not stated: ask whoever published them."
    starts = sorted({f"{one.backbone}: {one.spec.weights}" for one in networks.values()})
    lines = [
        stated if licence else unstated,
        "",
        "Weights that training may have started from have licences of their own:",
    ]
    return "\n".join(
        [*lines, *starts, "", "They were made with skinjax, which is under the Apache License 2.0.", ""]
    )


def _card(card: str, name: str, licence: str, networks: Mapping[str, Network], context: AnswerContext) -> str:
    """Returns the card of the run's report, or a short one, with what is in this folder behind it."""
    card = (
        card
        or f'---\nlicense: "unknown"\nlibrary_name: "skinjax"\npipeline_tag: "image-classification"\n---\n\n# {name}\n'
    )
    card = card.partition("\n## This folder\n")[0]
    if licence:
        card = re.sub(r"^license: .*$", f"license: {json.dumps(licence)}", card, count=1, flags=re.MULTILINE)
        card = re.sub(r"(?<=\*\*Licence:\*\* )\[to be filled in[^\]]*\]", licence, card)
    fitted = context.decisions
    basis = (
        f"Probabilities are calibrated on {fitted.photos:,} photos of {fitted.cases:,} cases that the networks have "
        f"not seen; sets hold the true class of {100 * context.options.coverage:g}% of photos like those."
        if fitted.photos
        else "Probabilities are not calibrated."
    )
    shown = "\n".join(
        f"- level {level}: {one.backbone} at {one.image_size} pixels, {len(one.classes)} classes"
        for level, one in networks.items()
    )
    return f"""{card.rstrip()}

## This folder

{NOTICE}

{shown}

{basis} No photo, name of a photo, case or prediction is in this folder; what was fitted on them is.

```python
import skinjax

run = skinjax.load_run("{name}")  # this folder, or hf:<organization>/{name} on the Hub
run.predict(["photo.jpg"])  # a frame: classes, calibrated probabilities, set, score, degree, advice
```

On the command line: `skinjax predict --workdir={name} --photos=photo.jpg`. To start another training from these
weights: `--pretrained={name}`.
"""
