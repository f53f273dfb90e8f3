"""Fits linear heads to features of any network, and fuses their levels (thesis, chapter 4, without training).

    skinjax probe --manifest=photos/manifest.csv --taxonomy=classes.csv --workdir=runs/mine        # from photos
    skinjax probe --dataset=pad_ufes_20 --source=PAD-UFES-20 --columns=age,sex,body_site --workdir=runs/pad
    skinjax probe --features=lite0.parquet,PanDerm=panderm.parquet --taxonomy=ham10000 --workdir=runs/ham
    skinjax probe --smoke

For every case-grouped, stratified fold: a multinomial logistic regression per level of the taxonomy on the features of
the other folds, its penalty chosen on inner folds of whole cases; the levels fused (section 4.4: soft, hard and
conditional) and calibrated in the report, as a trained network's are. With several features files each gets heads, and
all are compared with the first, paired by case. With --columns the heads read columns of the manifest beside the
features, and the report says what these add.

Features are those of --features (`skinjax.data.features`; `skinjax features` and any other program write such files),
or computed from the photos by --backbone with --pretrained weights. Where the network is known, backbone and heads
together are stored as networks, and `skinjax predict --workdir=...` answers photos with them.

The same command again resumes a run that was stopped.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from skinjax.data import predictions, split
from skinjax.data.features import Features, read_features
from skinjax.data.photo_set import PhotoSet, flat_taxonomy
from skinjax.labels.taxonomy import Taxonomy, load_taxonomy
from skinjax.models import registry
from skinjax.report.sections.metadata import metadata_section
from skinjax.runs import processes
from skinjax.runs.document import named_file, probe_models, stored_predictions
from skinjax.runs.folder import RunFolder
from skinjax.runs.options import option
from skinjax.studies.result import StudyResult
from skinjax.studies.steps import inputs, networks, pooled, probed, reporting, running
from skinjax.studies.steps.data_options import PreparationOptions, RunOptions
from skinjax.studies.steps.options import BALANCE_HELP, FeatureOptions
from skinjax.train.probe import INNER_FOLDS

NAME = "probe"
KNOWN = {"backbone", "pretrained", "image_size", "precision", "fit", "seed", "weights"}
"""Facts of its network that a features file must hold for it to be stored with the heads."""
_LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(PreparationOptions, FeatureOptions, RunOptions):
    """Options of the study; all are ours."""

    group: ClassVar[str] = "this study"

    features: tuple[str, ...] = option(
        (),
        "Features files of any network, comma-separated, each as path or name=path; the first is the "
        "main one. Default: compute features of the photos by --backbone.",
        path=True,
        smoke=(),
    )
    columns: tuple[str, ...] = option(
        (), "Columns of the manifest that the heads read beside the features, e.g. age,sex,body_site."
    )
    prior_adjustment: float = option(0.5, BALANCE_HELP, low=0, high=1)
    meta_level: str = option("", "Coarser level that is fused with the finest. Default: the level above it.")
    folds: int = option(
        5,
        "Number of folds of the cross-validation; whole cases are held out, stratified by class.",
        low=2,
        smoke=2,
    )
    inner_folds: int = option(INNER_FOLDS, "Number of inner folds that choose the penalty.", low=2, smoke=2)

    def __post_init__(self) -> None:
        super().__post_init__()
        names = [named_file(entry)[0] for entry in self.features]
        if repeated := [name for name in names if names.count(name) > 1]:
            raise ValueError(
                f"features={','.join(self.features)} must have a name of its own for each file, and has "
                f"{repeated[0]!r} {names.count(repeated[0])} times; give name=path"
            )
        if self.features and (self.manifest or self.dataset):
            given = f"manifest={self.manifest}" if self.manifest else f"dataset={self.dataset}"
            raise ValueError(
                f"features={','.join(self.features)} and {given} are both given; give one of them"
            )


@dataclasses.dataclass(frozen=True, eq=False)
class Result(StudyResult):
    """Answers of the first features' heads; `predictions` are out of fold, with the coarser heads' columns."""

    @property
    def table(self) -> pd.DataFrame | None:
        """Returns the models compared, where there are several; else the methods."""
        return self.tables.get("models", self.tables.get(self.main_table))


@dataclasses.dataclass(frozen=True, eq=False)
class _Files:
    """Features of the same photos by several networks, as files have them.

    Attributes:
      sets: One per file, in the order of the first one's photos.
      photos: Their photos.
      fingerprint: Identifies photos, labels, cases, classes and all vectors.
    """

    sets: Sequence[Features]
    photos: PhotoSet
    fingerprint: str


@dataclasses.dataclass(frozen=True, eq=False)
class _Subject:
    """Data that heads are fitted to.

    Attributes:
      sets: Features of the same photos, one per network.
      photos: The photos.
      variables: Of the network of the first, where it is known.
      document: What `config.json` holds.
    """

    sets: Sequence[Features]
    photos: PhotoSet
    variables: dict[str, Any] | None
    document: dict[str, Any]


def run(photos: PhotoSet | None, config: Config, workdir: str | os.PathLike[str]) -> Result:
    """Fits heads on every fold and reports, or goes on where that was stopped.

    Args:
      photos: The photos; None takes the features or photos that the options name, or the built-in photos.
      config: The options.
      workdir: Folder of the run, made if missing.

    Returns:
      The result, read from the folder where the run has finished.

    Raises:
      ValueError: Options, features, photos or the folder do not fit; the message names what was found and what must be.
    """
    if photos is not None and config.features:
        raise ValueError("features and photos are both given; give one of them")
    config = inputs.named_by(config, photos) if photos is not None else config
    files = _read(config) if config.features else None
    if files is not None:
        _folds(config, files.photos)
        config = _of_their_network(config, files.sets[0])
        _refuse_other_features(files, workdir)
    return running.carry_out(
        Result, NAME, config, workdir, lambda folder: _probe(photos, files, config, folder), photos
    )


def _probe(photos: PhotoSet | None, files: _Files | None, config: Config, folder: RunFolder) -> list[str]:
    subject = _of_files(files, config, folder) if files else _computed(photos, config, folder)
    first, taxonomy = subject.sets[0].frame, subject.photos.taxonomy
    meta_level = _coarse_level(taxonomy, config.meta_level)
    labels, cases = taxonomy.encode(first["label"]), first["case_id"].to_numpy(str)
    fold_of = _folds(config, subject.photos)
    settings = probed.ProbeSettings(config.folds, config.inner_folds, config.prior_adjustment, config.seed)
    models = probe_models(folder.options)
    stored = stored_predictions(NAME, folder.options, "")
    frames: dict[str, pd.DataFrame] = {}
    main_heads: list[probed.FoldHeads] = []
    for name, (number, with_columns) in models.items():
        features = dataclasses.replace(subject.sets[number], frame=first)
        columns = config.columns if with_columns else ()
        frames[name], heads = probed.fit_heads(
            features, taxonomy, taxonomy.levels, fold_of, settings, columns, name
        )
        main_heads = main_heads or heads
        if processes.is_first():
            predictions.write_predictions(frames[name], folder.predictions_file(stored[name]), taxonomy)
    if subject.variables is not None:
        network = dict(subject.sets[0].network)
        probed.store_networks(folder, network, subject.variables, taxonomy, main_heads, meta_level)
    main, *others = models
    heads_section = probed.heads_section(main, main_heads, subject.sets[0].network)
    more: dict[str, Any] = {"details": [heads_section]}
    if config.columns:
        with_, without = (predictions.probabilities(frames[name], taxonomy) for name in (main, others[0]))
        section, finding = metadata_section(
            labels, cases, with_, without, config.columns, "linear", trained=False, seed=config.seed
        )
        more |= {"extra": [section], "verdict": [finding]}
    reporting.report(
        folder,
        f"Probe: linear heads on the features of {main}",
        frames[main],
        meta_level,
        subject.photos,
        subject.document,
        split.split_warnings(first["label"].to_numpy(), cases, fold_of),
        name=main,
        noun="head",
        others={name: frames[name] for name in others},
        **more,
    )
    return []


def _folds(config: Config, photos: PhotoSet) -> np.ndarray:
    """Returns the fold of each photo, having checked that heads can be fitted to the others.

    Raises:
      ValueError: One class, too few cases, another level than the taxonomy's, or weights that have seen the photos.
    """
    networks.refuse_one_class(photos.labels_by_name)
    _coarse_level(photos.taxonomy, config.meta_level)
    if not config.features:
        networks.refuse_weights_of_these_photos(config, photos)
    cases = photos.cases.astype(str)
    return split.kfold_by_case(photos.labels, cases, config.folds, config.seed)


def _coarse_level(taxonomy: Taxonomy, named: str) -> str | None:
    """Returns the level that is fused with the finest; None where there is a single one."""
    from skinjax.studies.hierarchy import coarse_level

    return coarse_level(taxonomy, named) if named or len(taxonomy.levels) > 1 else None


def _computed(photos: PhotoSet | None, config: Config, folder: RunFolder) -> _Subject:
    """Returns features of photos, computed here."""
    variables = pooled.weights(config, config.seed)
    read = inputs.photos_of(photos, config, folder)
    audited = inputs.audited(read, config, folder, lambda photos: _folds(config, photos))
    data = inputs.prepared(audited, config, folder, networks.image_size(config))
    _folds(config, data.photos)  # those that could be read
    document = inputs.begin(folder, config, data)
    found = pooled.features_of(config, data, folder, variables, config.threads)
    return _Subject((found,), data.photos, variables, document)


def _read(config: Config) -> _Files:
    """Reads and compares the features files that the options name."""
    named = [named_file(entry) for entry in config.features]
    taxonomy = load_taxonomy(config.taxonomy) if config.taxonomy else None
    first = read_features(named[0][1], taxonomy)
    taxonomy = taxonomy or first.taxonomy or flat_taxonomy(first.frame)
    images, sets = first.frame["image"].tolist(), [first]
    for name, path in named[1:]:
        other = read_features(path, taxonomy).in_order_of(images, f"features={name}={path}")
        _refuse_other_facts(first, other, path)
        sets.append(other)
    photos = PhotoSet(first.frame, Path(named[0][1]).resolve().parent, taxonomy)
    photos = inputs.checked_columns(photos, config.columns)
    values = hashlib.sha256(b"".join(np.ascontiguousarray(one.values).tobytes() for one in sets)).hexdigest()
    classes = hashlib.sha256(taxonomy.to_json().encode()).hexdigest()
    fingerprint = f"{photos.fingerprint[:16]}-{classes[:16]}-{values[:16]}"
    return _Files(sets, photos, fingerprint)


def _of_their_network(config: Config, features: Features) -> Config:
    """Returns the options with the network that made the features, so that `config.json` is true of them.

    Raises:
      ValueError: The options name another network, which would not be used.
    """
    if not config.smoke:
        defaults = {field.name: field.default for field in dataclasses.fields(Config)}
        for name in ("backbone", "pretrained", "precision", "image_size"):
            if getattr(config, name) != defaults[name]:
                raise ValueError(
                    f"{name}={getattr(config, name)} is not used with features={','.join(config.features)}, which were "
                    "made already; leave it out"
                )
    network = features.network
    return dataclasses.replace(
        config,
        backbone=str(network.get("backbone", "")),
        pretrained=str(network.get("pretrained", "")),
        image_size=0,
    )


def _refuse_other_features(files: _Files, workdir: str | os.PathLike[str]) -> None:
    """Refuses a finished run of other features, whose result would be taken for that of these."""
    folder = RunFolder(Path(workdir), NAME)
    document = folder.document if folder.finished else None
    if (
        document is not None
        and document["study"] == NAME
        and document["data_fingerprint"] != files.fingerprint
    ):
        raise ValueError(
            f"workdir={workdir} holds a finished run of other features, photos, labels or cases; name another folder"
        )


def _of_files(files: _Files, config: Config, folder: RunFolder) -> _Subject:
    """Begins the run of features files."""
    document = inputs.begin_photos(folder, config, files.fingerprint, files.photos)
    return _Subject(files.sets, files.photos, _variables(files.sets[0], config.fit), document)


def _refuse_other_facts(first: Features, other: Features, path: str) -> None:
    for column in ("label", "case_id"):
        differ = np.flatnonzero((first.frame[column] != other.frame[column]).to_numpy())
        if len(differ):
            row = int(differ[0])
            raise ValueError(
                f"{path} must have the labels and cases of the first features file, but {column} of "
                f"{first.frame['image'].iloc[row]} is {other.frame[column].iloc[row]} and not "
                f"{first.frame[column].iloc[row]}"
            )


def _variables(features: Features, fit: str) -> dict[str, Any] | None:
    """Returns the weights of the network that made features, where skinjax did and the weights are still the same."""
    network = features.network
    try:
        if not set(network) >= KNOWN:
            raise ValueError("skinjax did not make these features, or they passed through a CSV")
        if not isinstance(network["image_size"], int) or network["precision"] not in ("float32", "bfloat16"):
            raise ValueError(f"what the file says of its network is not valid: {dict(network)}")
        if network["fit"] != fit:
            raise ValueError(f"the photos were prepared with fit={network['fit']}; give fit={network['fit']}")
        options = FeatureOptions(backbone=network["backbone"], pretrained=network["pretrained"])
        width = registry.spec(options.backbone).feature_width
        if features.values.shape[1] != width:
            raise ValueError(
                f"{options.backbone} has {width} features, and these are {features.values.shape[1]}"
            )
        variables = pooled.weights(options, network["seed"])
        if pooled.digest(variables, options.backbone) != network["weights"]:
            raise ValueError(
                f"the weights {options.pretrained or 'drawn'} are not those that made these features"
            )
    except (ValueError, TypeError) as error:
        _LOG.warning("no networks are stored, so predict cannot answer photos with these heads: %s", error)
        return None
    return variables
