"""Work whose cost `benchmarks.growth` measures at growing sizes: its input, and what is timed."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from skinjax.labels.taxonomy import Taxonomy

CLASSES, PHOTOS_OF_A_CASE = 20, 3

Work = Callable[[], "dict[str, float] | None"]
"""The work that is timed; what else it returns is kept with the cell."""


@dataclasses.dataclass(frozen=True)
class Series:
    """One row of a table.

    Attributes:
      title: Of the row.
      unit: What grows, the table's title.
      sizes: In ascending order.
      make: `make(size, folder)` writes the input.
      load: `load(size, folder)` reads it and returns the work.
    """

    title: str
    unit: str
    sizes: tuple[int, ...]
    make: Callable[[int, Path], None]
    load: Callable[[int, Path], Work]


def taxonomy(classes: int = CLASSES) -> Taxonomy:
    """Returns a tree whose classes are divided among about as many groups as each has classes."""
    groups = max(1, round(classes**0.5))
    return Taxonomy(
        f"{classes} classes",
        ("group", "class"),
        tuple((f"group_{number % groups:02d}", f"class_{number:03d}") for number in range(classes)),
    )


def manifest(photos: int, classes: int = CLASSES) -> Any:
    """Returns a manifest of photos that need not be there; one case in twenty has photos of two classes."""
    import pandas as pd

    rng = np.random.default_rng(0)
    case = np.arange(photos) // PHOTOS_OF_A_CASE
    cases = int(case.max()) + 1
    label = rng.integers(classes, size=cases)[case]
    other = (rng.random(cases) < 0.05)[case] & (np.arange(photos) % PHOTOS_OF_A_CASE == 0)
    label = np.where(other, rng.integers(classes, size=photos), label)
    return pd.DataFrame(
        {
            "image": [f"{number // 1000:04d}/{number:07d}.jpg" for number in range(photos)],
            "label": [f"class_{number:03d}" for number in label],
            "case_id": [f"case_{number:06d}" for number in case],
            "sex": np.array(["female", "male"])[rng.integers(2, size=cases)[case]],
            "age": rng.integers(1, 95, cases)[case].astype(str),
            "address": [f"https://example.org/{number}" for number in range(photos)],
        }
    )


def write_manifest(size: int, folder: Path, classes: int = CLASSES) -> None:
    """Writes a manifest without its photos."""
    manifest(size, classes).to_csv(folder / "manifest.csv", index=False)
    (folder / "classes.json").write_text(taxonomy(classes).to_json(), encoding="utf-8")


def read_text(folder: Path) -> Any:
    """Returns the manifest as written, unchecked."""
    import pandas as pd

    return pd.read_csv(folder / "manifest.csv", dtype=str)


def write_photos(size: int, folder: Path) -> None:
    """Writes photos, no two alike, and their manifest."""
    from PIL import Image

    write_manifest(size, folder)
    rng = np.random.default_rng(0)
    for number, image in enumerate(read_text(folder)["image"]):
        path = folder / image
        if number % 1000 == 0:
            path.parent.mkdir()
        coarse = Image.fromarray(rng.integers(60, 230, (9, 12, 3), dtype=np.uint8))
        coarse.resize((64, 48), Image.Resampling.BILINEAR).save(path, quality=85)


# Photos: the manifest, the audit, splits and records.


def load_read(size: int, folder: Path) -> Work:
    """Reads and checks a manifest, and identifies its content."""
    from skinjax.data.manifest import fingerprint, read_manifest
    from skinjax.labels.taxonomy import load_taxonomy

    tree = load_taxonomy(folder / "classes.json")

    def work() -> None:
        frame = read_manifest(folder / "manifest.csv", tree)
        assert len(frame) == size
        assert fingerprint(frame)

    return work


def load_audit(size: int, folder: Path) -> Work:
    """Audits photos on disk, as the command does, and writes the reports."""
    from skinjax.data.audit import audit_manifest

    frame = read_text(folder)
    return lambda: audit_manifest(frame, folder, taxonomy=taxonomy()).write(folder / "audit")


def write_digests(size: int, folder: Path) -> None:
    """Writes a manifest and what reading its photos would give."""
    write_manifest(size, folder)
    rng = np.random.default_rng(1)
    hashes = rng.integers(2**64, size=(size, 4), dtype=np.uint64)
    copies = rng.choice(size, size // 50, replace=False)
    hashes[copies] = hashes[rng.integers(size, size=len(copies))] ^ np.uint64(1 << 40)
    np.save(folder / "hashes.npy", hashes)
    np.save(folder / "bytes.npy", rng.integers(20_000, 900_000, size))


def load_digests(size: int, folder: Path) -> Work:
    """Audits as `load_audit` does, but for opening the photos."""
    from skinjax.data import audit
    from skinjax.data.images.photos import PhotoFacts
    from skinjax.data.survey import PhotoRecord

    frame = read_text(folder)
    hashes, sizes = np.load(folder / "hashes.npy"), np.load(folder / "bytes.npy").tolist()
    records = [
        PhotoRecord(
            image, None, PhotoFacts(600, 450, "JPEG", "RGB", 8, length, 1, 1, ()), f"{number:064x}", look
        )
        for number, (image, length, look) in enumerate(zip(frame["image"], sizes, hashes, strict=True))
    ]

    def work() -> None:
        with mock.patch.object(audit, "survey", return_value=records):
            audit.audit_manifest(frame, folder, taxonomy=taxonomy()).write(folder / "audit")

    return work


def load_split(size: int, folder: Path) -> Work:
    """Deals cases into five folds, and tells what is wrong with them."""
    from skinjax.data.split import kfold_by_case, split_warnings

    frame = read_text(folder)
    labels, cases = frame["label"].to_numpy(str), frame["case_id"].to_numpy(str)

    def work() -> None:
        split_warnings(labels, cases, kfold_by_case(labels, cases, 5, 0))

    return work


def load_prepare(size: int, folder: Path) -> Work:
    """Decodes photos into records of 64 × 64 pixels and opens them."""
    from skinjax.data.pipeline.prepare import prepare

    frame = read_text(folder)

    def work() -> None:
        found = prepare(frame, folder, folder / "prepared", image_size=64)
        assert len(found.rows) == size

    return work


def prepare_before(size: int, folder: Path) -> None:
    """Writes photos and prepares them."""
    write_photos(size, folder)
    load_prepare(size, folder)()


# Predictions: reading, statistics and the report.


def write_predictions(photos: int, classes: int, folder: Path, models: int = 1) -> None:
    """Writes tables of predictions."""
    from skinjax.data.invented import invent_predictions

    tree = taxonomy(classes)
    (folder / "classes.json").write_text(tree.to_json(), encoding="utf-8")
    skills = np.linspace(2.0, 2.5, models)
    for number, frame in enumerate(invent_predictions(tree, -(-photos // PHOTOS_OF_A_CASE), skills)):
        frame[:photos].to_parquet(folder / f"model_{number:02d}.parquet", index=False)


def load_predictions(folder: Path) -> Any:
    """Returns the first model's predictions as arrays."""
    from skinjax.data.predictions import Predictions, read_predictions
    from skinjax.labels.taxonomy import load_taxonomy

    path = folder / "model_00.parquet"
    return Predictions.from_frame(read_predictions(path), load_taxonomy(folder / "classes.json"))


def load_check(size: int, folder: Path) -> Work:
    """Reads and checks a table of predictions."""

    def work() -> None:
        assert len(load_predictions(folder)) == size

    return work


def load_statistics(kind: str) -> Callable[[int, Path], Work]:
    """Returns the loader of one computation on predictions."""

    def load(size: int, folder: Path) -> Work:
        from skinjax.decide.calibrate import fit_temperature
        from skinjax.evaluate.bootstrap import by_case, macro_f1
        from skinjax.evaluate.calibration import calibration_error
        from skinjax.evaluate.multiclass import macro_auc_interval
        from skinjax.evaluate.roc import weighted_auc

        found = load_predictions(folder)
        labels, cases, probs = found.label, found.case_id, found.probabilities()
        positive, sure = labels == 0, probs.argmax(axis=1) == labels

        def work() -> None:
            if kind == "f1":
                by_case(macro_f1, (labels, probs.argmax(axis=1)), cases)
            elif kind == "auc":
                by_case(weighted_auc, (positive, probs[:, 0]), cases, replicates=200)
            elif kind == "delong":
                macro_auc_interval(labels, probs, cases=cases)
            else:
                fit_temperature(np.log(np.maximum(probs, 1e-12)), labels)
                by_case(calibration_error(), (sure, probs.max(axis=1)), cases, replicates=200)

        return work

    return load


def load_report(size: int, folder: Path, target: str = "class_000") -> Work:
    """Does what `skinjax evaluate --target` does, for all tables in the folder."""
    from skinjax.studies import evaluation

    files = {path.stem: path for path in sorted(folder.glob("model_*.parquet"))}
    config = evaluation.Config(
        taxonomy=str(folder / "classes.json"), target=(target,) if target else (), out=str(folder / "report")
    )

    def work() -> dict[str, float]:
        page = evaluation.run(files, config).report
        assert page is not None
        whole = sum(path.stat().st_size for path in page.parent.rglob("*") if path.is_file())
        return {"page": page.stat().st_size / 2**20, "folder": whole / 2**20}

    return work


# Devices.


def load_devices(backend: str) -> Callable[[int, Path], Work]:
    """Returns the loader of a step on so many virtual devices of one CPU, of 32 photos in all."""

    def load(size: int, folder: Path) -> Work:
        import jax
        import jax.numpy as jnp

        from skinjax.models import registry
        from skinjax.train.method import Method
        from skinjax.train.parallel import Parallel
        from skinjax.train.state import Recipe, create_state
        from skinjax.train.step import compiled_train_step, make_optimizer

        assert len(jax.devices()) == size
        spec, model = registry.spec("efficientnet_nano"), registry.create("efficientnet_nano", CLASSES)
        parallel = Parallel(backend=backend)  # type: ignore[arg-type]
        optimizer = make_optimizer(Recipe(), Method())
        variables = registry.init_variables(model, jax.random.key(0))
        state = parallel.place_state(parallel.place(create_state(variables, optimizer=optimizer, seed=0)))
        recipe, weights = parallel.place((jax.tree.map(jnp.float32, Recipe()), jnp.ones(CLASSES)))
        images = np.random.default_rng(0).integers(0, 256, (32, 64, 64, 3), dtype=np.uint8)
        batch = parallel.place_batch({"image": images, "label": (np.arange(32) % CLASSES).astype(np.int32)})
        step: Any = compiled_train_step(model, spec, Method(), parallel)

        def work() -> dict[str, float]:
            now, started = state, time.perf_counter()
            now, loss = step(now, batch, recipe, weights)
            jax.block_until_ready(loss)
            compiled, times = time.perf_counter() - started, []
            for _ in range(15):
                started = time.perf_counter()
                now, loss = step(now, batch, recipe, weights)
                jax.block_until_ready((now, loss))
                times.append(time.perf_counter() - started)
            return {"first": compiled, "step": 1e3 * float(np.median(times))}

        return work

    return load


TENS = (1_000, 10_000, 100_000, 1_000_000)
ON_DISK = (1_000, 3_000, 10_000, 30_000, 100_000)
SERIES = {
    "manifest": Series("read and check a manifest", "photos", TENS, write_manifest, load_read),
    "audit": Series("audit, from files", "photos", ON_DISK, write_photos, load_audit),
    "digests": Series("audit, from digests", "photos", TENS, write_digests, load_digests),
    "split": Series("split by case, 5 folds", "photos", TENS, write_manifest, load_split),
    "prepare": Series("prepare records", "photos", ON_DISK, write_photos, load_prepare),
    "prepared": Series("find records prepared", "photos", ON_DISK, prepare_before, load_prepare),
    **{
        name: Series(title, "photos", TENS, lambda size, at: write_predictions(size, CLASSES, at), load)
        for name, title, load in (
            ("check", "read and check predictions", load_check),
            ("f1", "bootstrap of macro F1, 2,000 replicates", load_statistics("f1")),
            ("auc", "bootstrap of an AUC, 200 replicates", load_statistics("auc")),
            ("delong", "DeLong's interval of the macro AUC", load_statistics("delong")),
            ("calibration", "temperature, and bootstrap of the calibration error", load_statistics("ece")),
            ("evaluate", "evaluate: the whole report", load_report),
        )
    },
    "split_classes": Series(
        "split by case, 100,000 photos",
        "classes",
        (2, 10, 100, 1000),
        lambda size, at: write_manifest(100_000, at, size),
        load_split,
    ),
    "digests_classes": Series(
        "audit, from digests, 100,000 photos",
        "classes",
        (2, 10, 100, 1000),
        lambda size, at: (write_digests(100_000, at), write_manifest(100_000, at, size))[1],
        load_digests,
    ),
    "classes": Series(
        "evaluate, 10,000 photos",
        "classes",
        (2, 10, 100, 1000),
        lambda size, at: write_predictions(10_000, size, at),
        load_report,
    ),
    "models": Series(
        "evaluate, 3,000 photos, a target",
        "models",
        (2, 5, 10, 20),
        lambda size, at: write_predictions(3_000, CLASSES, at, size),
        load_report,
    ),
    "models_macro": Series(
        "evaluate, 3,000 photos, all classes alike",
        "models",
        (2, 5, 10, 20),
        lambda size, at: write_predictions(3_000, CLASSES, at, size),
        lambda size, at: load_report(size, at, target=""),
    ),
    "jit": Series("jit over a mesh", "devices", (1, 2, 4, 8), lambda size, at: None, load_devices("jit")),
    "pmap": Series("pmap", "devices", (1, 2, 4, 8), lambda size, at: None, load_devices("pmap")),
}
