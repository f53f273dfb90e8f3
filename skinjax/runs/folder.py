"""The folder of a run, and all that is known of its layout.

    config.json            the study, its options, versions, seeds, fingerprint of the photos
    taxonomy.json          the classes
    photos_seen.txt        identities of the photos that were trained on or held out
    cases_seen.txt         identities of their cases
    audit/  photos/        findings of the audit; the built-in photos, where they serve
    prepared/              decoded photos
    checkpoints/fold_k/    <stage>.json, a network's description, beside <stage>/, its checkpoints
    metrics.csv            one row per network, epoch and split; tensorboard/ has the same as events
    predictions/           what networks said of photos that they have not seen
    report/                index.html with its figures, tables and summary; its presence means that the run is finished
    target.json            of a two-stage run: target, output strategies, their thresholds and what these are worth
    decisions.json, ...    what `predict` fitted on the run's own predictions

A folder that `skinjax export --format=hub` wrote (`published`) has weights, classes and fits and none of the rest.

`RunFolder.open` begins or resumes a run, `RunFolder.read` looks at one. Locks keep a second process out of a run in
training; runs of single folds keep out only each other.
"""

from __future__ import annotations

import dataclasses
import glob
import json
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from skinjax.files.atomic import replacing
from skinjax.files.digests import file_hash
from skinjax.files.locks import HeldError, Lock
from skinjax.labels.taxonomy import Taxonomy, load_taxonomy
from skinjax.runs.document import SCHEMA, read_document, stored_predictions
from skinjax.runs.options import Options

if TYPE_CHECKING:
    import pandas as pd

    from skinjax.runs.networks import Network

LAST_PAGE = "index.html"
_MAIN_STAGES = ("sub", "two_stage", "a")


@dataclasses.dataclass(frozen=True, eq=False)
class RunFolder:
    """The folder of one run.

    Attributes:
      path: The folder.
      study: Name of the study that runs or ran in it.
    """

    path: Path
    study: str
    _locks: tuple[Lock, ...] = dataclasses.field(default=(), repr=False)

    @classmethod
    def open(cls, path: str | os.PathLike[str], study: str, config: Options) -> RunFolder:
        """Opens a folder to begin or resume a run, and keeps other processes out until `close` or the process ends.

        Args:
          path: The folder, made if missing.
          study: Name of the study.
          config: Its options; where there is an option `fold` of 0 or more, only runs of the same fold are kept out.

        Raises:
          ValueError: The folder holds another run, every difference named, is in use, or cannot be used.
        """
        path = Path(path)
        # Orbax takes these characters for patterns, and finds no checkpoint again.
        if glob.has_magic(str(path.absolute())):
            raise ValueError(f"workdir={path.absolute()} must have none of the characters *, ? and [ in it")
        if path.exists() and not path.is_dir():
            raise ValueError(f"workdir={path} must be a folder, but is a file")
        path.mkdir(parents=True, exist_ok=True)
        folder = cls(path, study, _hold(path, getattr(config, "fold", -1)))
        try:
            folder._refuse_differences(config)
        except BaseException:
            folder.close()
            raise
        return folder

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> RunFolder:
        """Opens the folder of a run to look at it; nothing is locked or changed.

        Args:
          path: The folder.

        Raises:
          ValueError: It is not the folder of a run.
        """
        path = Path(path)
        if not (path / "config.json").is_file():
            raise ValueError(f"workdir={path} is not the folder of a run: it has no config.json")
        document = read_document(path)
        assert document is not None
        return cls(path, document["study"])

    def close(self) -> None:
        """Lets other processes in."""
        for lock in self._locks:
            lock.release()

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # ------------------------------------------------------------------------------------------- configuration

    @property
    def document(self) -> dict[str, Any] | None:
        """Content of `config.json`: `study`, `config` (the options) and more; None before the run has begun."""
        return read_document(self.path)

    @property
    def options(self) -> dict[str, Any]:
        """The options that the run was made with, by name; empty before it has begun."""
        options = dict((self.document or {}).get("config", {}))
        if self.published and options.get("degrees"):
            options["degrees"] = str(self.path / options["degrees"])
        return options

    @property
    def published(self) -> bool:
        """True where the folder is not of a run but was exported from one, with neither photos nor predictions."""
        return (self.document or {}).get("published") is True

    def check_published(self) -> None:
        """Refuses a published folder in which a file is not as it was exported; of a run it checks nothing.

        Raises:
          ValueError: Naming the file that is missing or has changed.
        """
        stored = (self.document or {}).get("files", {}) if self.published else {}
        for name, digest in stored.items():
            file = self.path / name
            if not file.is_file() or file_hash(file) != digest:
                state = "has changed" if file.is_file() else "is missing"
                raise ValueError(
                    f"{file} must be as it was exported, but {state}; download or export it again"
                )

    def weights_file(self, network: Network) -> Path | None:
        """Returns the file of a network's weights in a published folder; None in the folder of a run.

        Args:
          network: Of this run.
        """
        stored = (self.document or {}).get("weights", {}) if self.published else {}
        name = stored.get(network.stage)
        return None if name is None else self.path / name

    @property
    def synthetic(self) -> bool:
        """True where the run's photos are the built-in ones."""
        return (self.document or {}).get("synthetic") is True

    @property
    def taxonomy(self) -> Taxonomy:
        """The classes of the run."""
        return load_taxonomy(self.path / "taxonomy.json")

    def begin(
        self,
        config: Options,
        fingerprint: str,
        taxonomy: Taxonomy,
        seen: Collection[str],
        seen_cases: Collection[str] = (),
        **facts: Any,
    ) -> dict[str, Any]:
        """Writes the run's configuration, or checks that the run which began here is the same.

        Args:
          config: The options.
          fingerprint: Identifies photos, labels, cases, classes and how the photos were prepared.
          taxonomy: The classes.
          seen: Identities of the photos that are trained on or held out.
          seen_cases: Identities of their cases.
          facts: What else `config.json` holds, such as `photos` and `cases`.

        Returns:
          What `config.json` holds.

        Raises:
          ValueError: The run that began here has other options, or the photos have changed since.
        """
        with Lock(self.path / ".lock_config", wait=True):
            before = self._refuse_differences(config)
            if before is not None:
                if before["data_fingerprint"] != fingerprint:
                    raise ValueError(
                        f"workdir={self.path} cannot be resumed: photos, labels, cases or classes have changed since "
                        "it began; name another folder"
                    )
                return before
            document = {
                "schema": SCHEMA,
                "study": self.study,
                "config": config.to_dict(),
                "taxonomy": taxonomy.name,
                "data_fingerprint": fingerprint,
                **facts,
            }
            for name, identities in (("photos_seen.txt", seen), ("cases_seen.txt", seen_cases)):
                self._write(name, "".join(f"{identity}\n" for identity in sorted(identities)))
            self._write("taxonomy.json", taxonomy.to_json())
            self._write("config.json", json.dumps(document, indent=1))
            return document

    @property
    def photos_seen(self) -> frozenset[str]:
        """Identities of the photos that the run has trained on or held out; empty where that is not known."""
        return self._lines("photos_seen.txt")

    @property
    def cases_seen(self) -> frozenset[str]:
        """Identities of the cases of these photos; empty where that is not known, as in runs of former versions."""
        return self._lines("cases_seen.txt")

    def place_of(self, path: Path) -> str:
        """Returns a path as the run's folder keeps it: relative where it lies inside, so that the folder may be moved.

        Args:
          path: A file or folder.
        """
        whole, own = path.resolve(), self.path.resolve()
        return str(whole.relative_to(own)) if whole.is_relative_to(own) else str(whole)

    @property
    def photo_root(self) -> Path | None:
        """The folder that the run's photos lie in; None where it is not there any more."""
        options, stored = self.options, (self.document or {}).get("photo_root")
        if stored is not None:
            root = self.path / stored  # an absolute path stays as it is
        elif options.get("manifest"):
            root = Path(options["manifest"]).parent
        elif options.get("dataset"):
            root = Path(options.get("source") or "")
        else:
            root = self.path / "photos"
        return root if root.is_dir() else None

    # ------------------------------------------------------------------------------------------------- contents

    def prepared(self, options: Mapping[str, Any] | Options, suffix: str = "") -> Path:
        """Returns the folder of the decoded photos.

        Args:
          options: Whose `prepared`, where it is given, names another place.
          suffix: Tells several preparations of a run apart.
        """
        named = options.get("prepared") if isinstance(options, Mapping) else getattr(options, "prepared", "")
        folder = Path(named) if named else self.path / "prepared"
        return folder.with_name(folder.name + suffix)

    def part(self, name: str) -> RunFolder:
        """Returns the folder of one of several sets of photos, which has rooms of its own for photos and audit.

        Args:
          name: Of the set, such as `a`.
        """
        return RunFolder(self.path / name, self.study)

    @property
    def photos(self) -> Path:
        """The folder of the built-in photos, where they serve."""
        return self.path / "photos"

    @property
    def audit(self) -> Path:
        """The folder of the audit's findings."""
        return self.path / "audit"

    @property
    def audit_table(self) -> pd.DataFrame | None:
        """The findings of the audit by kind: how many, and the first of them in words; None where there are none."""
        places = (self.audit, self.part("a").audit)  # of two sets the first
        path = next((place / "audit.csv" for place in places if (place / "audit.csv").exists()), None)
        if path is None:
            return None
        import pandas as pd

        findings = pd.read_csv(path, dtype=str, keep_default_na=False)
        kinds = findings.groupby(["severity", "kind"], sort=False, as_index=False)
        return kinds.agg(count=("message", "size"), photo=("image", "first"), first=("message", "first"))

    @property
    def metrics(self) -> pd.DataFrame | None:
        """The rows of `metrics.csv`; None where nothing was trained yet."""
        path = self.path / "metrics.csv"
        if not path.is_file():
            return None
        import pandas as pd

        return pd.read_csv(path)

    @property
    def remarks(self) -> tuple[str, ...]:
        """Sentences about the run's networks that its report has to say."""
        path = self.path / "remarks.txt"
        return tuple(path.read_text(encoding="utf-8").splitlines()) if path.is_file() else ()

    def remark(self, sentence: str) -> None:
        """Adds a sentence to the remarks, once."""
        if sentence not in self.remarks:
            with (self.path / "remarks.txt").open("a", encoding="utf-8") as file:
                file.write(sentence + "\n")

    @property
    def report(self) -> Path:
        """The folder of the report."""
        return self.path / "report"

    @property
    def page(self) -> Path:
        """The report's page."""
        return self.report / LAST_PAGE

    @property
    def shown(self) -> Path:
        """The file of the options that a two-stage run's report was written with, where it may be written again."""
        return self.report / "asked.json"

    @property
    def target(self) -> Path:
        """The file of a two-stage run's target and thresholds; see `skinjax.predict.run_target`."""
        return self.path / "target.json"

    @property
    def finished(self) -> bool:
        """True where the run has come to its end: its report is written."""
        return self.page.is_file()

    # ------------------------------------------------------------------------------------------------ predictions

    def predictions_file(self, *names: str) -> Path:
        """Returns the path of stored predictions.

        Args:
          names: Of the file without its ending, preceded by those of folders.
        """
        return self.path.joinpath("predictions", *names[:-1], f"{names[-1]}.parquet")

    @property
    def predictions(self) -> dict[str, Path]:
        """The predictions that the run's report is about: name of a model -> file, the main one first.

        All are of the same photos. Of a study across two data sets these are the photos of the first.

        Raises:
          ValueError: The run has not come so far.
        """
        stored = stored_predictions(self.study, self.options, self.path.resolve().name)
        if not stored:
            raise ValueError(f"workdir={self.path} is a run of {self.study}, which makes no predictions")
        found = {name: self.predictions_file(file) for name, file in stored.items()}
        missing = [path for path in found.values() if not path.is_file()]
        if missing:
            raise ValueError(
                f"workdir={self.path} has no predictions/{missing[0].name}: the run has not finished; repeat the "
                "command that began it to resume"
            )
        return found

    # --------------------------------------------------------------------------------------------------- networks

    @property
    def folds(self) -> list[int]:
        """The folds that networks were trained for."""
        names = (path.name.removeprefix("fold_") for path in (self.path / "checkpoints").glob("fold_*"))
        return sorted(int(name) for name in names if name.isdecimal())

    def network(self, stage: str = "", fold: int = 0) -> Network:
        """Returns the description of one network.

        Args:
          stage: Which of the fold's networks; empty for the study's main one.
          fold: The fold that the network has not seen.

        Raises:
          FileNotFoundError: The run has no such network.
        """
        from skinjax.runs.networks import Network

        folder = self.path / "checkpoints" / f"fold_{fold}"
        there = sorted(path.stem for path in folder.glob("*.json"))
        if not stage:
            named = [*_MAIN_STAGES, *self.options.get("backbones", ())]
            stage = next((name for name in named if name in there), there[0] if there else _MAIN_STAGES[0])
        path = folder / f"{stage}.json"
        if self.study == "evolution" and not there:
            raise FileNotFoundError(
                f"workdir={self.path} is a run of evolution, which keeps no networks; train one with its evolved.flags"
            )
        if not path.is_file():
            trained = (
                f"fold={fold} has {', '.join(there)}" if there else f"folds with networks: {self._told()}"
            )
            raise FileNotFoundError(
                f"{path} is missing: no network of that stage and fold is here ({trained})"
            )
        return Network.from_json(path.read_text(encoding="utf-8"))

    def networks(self, fold: int) -> list[Network]:
        """Returns the descriptions of all networks of a fold.

        Args:
          fold: The fold that they have not seen.
        """
        stages = sorted(path.stem for path in (self.path / "checkpoints" / f"fold_{fold}").glob("*.json"))
        return [self.network(stage, fold) for stage in stages]

    def checkpoints(self, network: Network) -> Path:
        """Returns the folder of a network's checkpoints.

        Args:
          network: Of this run.
        """
        return self.path / "checkpoints" / f"fold_{network.fold}" / network.stage

    def write_network(self, network: Network) -> None:
        """Stores the description of a network beside the folder of its checkpoints.

        Args:
          network: Of this run.

        Raises:
          ValueError: Another network is described there, whose checkpoints this one must not resume.
        """
        path = self.checkpoints(network).with_suffix(".json")
        if path.is_file():
            there = self.network(network.stage, network.fold)
            changed = [
                field.name
                for field in dataclasses.fields(network)
                if getattr(there, field.name) != getattr(network, field.name)
            ]
            if changed:
                raise ValueError(
                    f"{path} describes another network ({', '.join(changed)} differ); name another folder"
                )
        with replacing(path) as temporary:
            temporary.write_text(network.to_json(), encoding="utf-8")

    # ---------------------------------------------------------------------------------------------------- privately

    def _told(self) -> str:
        return ", ".join(map(str, self.folds)) or "none"

    def _lines(self, name: str) -> frozenset[str]:
        path = self.path / name
        return frozenset(path.read_text(encoding="utf-8", errors="replace").split() if path.is_file() else ())

    def _write(self, name: str, text: str) -> None:
        with replacing(self.path / name) as temporary:
            temporary.write_text(text, encoding="utf-8")

    def _refuse_differences(self, config: Options) -> dict[str, Any] | None:
        """Returns what `config.json` holds, if the run that began here is the same."""
        before = read_document(self.path)
        if before is None:
            return None
        if before["study"] != self.study:
            raise ValueError(
                f"workdir={self.path} cannot be resumed: it holds a run of {before['study']}; name another folder"
            )
        # An option that the run's version did not have yet counts as its default.
        try:
            differences = config.differences(type(config).from_dict(before["config"]))
        except ValueError as error:
            differences = [f"it was begun with options that are refused now ({error})"]
        if differences:
            raise ValueError(
                f"workdir={self.path} cannot be resumed: {'; '.join(differences)}; name another folder"
            )
        return before


def _hold(path: Path, fold: int) -> tuple[Lock, ...]:
    """Locks a run's folder, or one fold of it; of several processes of one run the first holds for all."""
    from skinjax.runs import processes

    if not processes.is_first():
        return ()
    names: Sequence[tuple[str, bool]] = [(".lock", fold >= 0)]
    if fold >= 0:
        names = [*names, (f".lock_fold_{fold}", False)]
    held: list[Lock] = []
    try:
        for name, shared in names:
            held.append(Lock(path / name, shared=shared))
    except HeldError as error:
        for lock in held:
            lock.release()
        raise ValueError(
            f"workdir={path} is in use by another run; wait for it to end, or name another folder"
        ) from error
    return tuple(held)
