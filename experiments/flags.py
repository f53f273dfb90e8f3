"""The flags that every experiment shares, in groups; `--help` shows them under these headings.

Those of networks and their training are in `experiments.training_flags`, which imports the training loop.
"""

from __future__ import annotations

from absl import flags

PHOTOS = "photos"
NETWORK = "network and training"
METHODS = "optimiser and loss"
PARALLEL = "devices and processes"
RECIPE = "hyper-parameters (Table 4-1 of the thesis)"
SCRIPT = "this experiment"
RUN = "running"
GROUPS = (SCRIPT, PHOTOS, NETWORK, METHODS, RECIPE, PARALLEL, RUN)  # the headings of --help
PATHS = (
    "manifest", "source", "taxonomy", "workdir", "prepared", "pretrained", "compilation_cache",
    "degrees", "readers", "out", "foreign", "other_manifest", "other_source", "other_taxonomy", "shared_taxonomy",
)  # fmt: skip


def define_data_flags() -> None:
    """Which photos, with which labels, prepared how."""
    flags.DEFINE_string(
        "manifest",
        "",
        "CSV or Parquet with columns image, label, case_id; photos lie beside it.",
        module_name=PHOTOS,
    )
    flags.DEFINE_enum(
        "dataset",
        "",
        ["", "pad_ufes_20", "ham10000", "fitzpatrick17k", "isic2019", "folders"],
        "A public set as its publisher ships it, or a folder a class; instead of --manifest.",
        module_name=PHOTOS,
    )
    flags.DEFINE_string("source", "", "Folder of the --dataset.", module_name=PHOTOS)
    flags.DEFINE_string(
        "taxonomy", "", "Catalogue name or file. Default: the data set's own.", module_name=PHOTOS
    )
    flags.DEFINE_string(
        "workdir",
        "",
        "Folder of this run; made if missing. The same command again resumes it.",
        module_name=PHOTOS,
    )
    flags.DEFINE_string(
        "prepared", "", "Folder of decoded photos. Default: <workdir>/prepared.", module_name=PHOTOS
    )
    flags.DEFINE_integer(
        "image_size",
        0,
        "Side of the square photos in pixels. 0: the backbone's own.",
        lower_bound=0,
        module_name=PHOTOS,
    )
    flags.DEFINE_enum(
        "fit", "stretch", ["stretch", "crop", "pad"], "How a photo becomes square.", module_name=PHOTOS
    )
    flags.DEFINE_float(
        "max_bad_fraction",
        0.01,
        "Stop when more than this share of photos cannot be read.",
        0,
        1,
        module_name=PHOTOS,
    )
    flags.DEFINE_bool(
        "audit", True, "Audit the photos before the first training of a run.", module_name=PHOTOS
    )
    flags.DEFINE_integer(
        "synthetic_cases", 12, "Cases a class of the built-in photos.", lower_bound=2, module_name=PHOTOS
    )
    flags.DEFINE_integer(
        "threads", 2, "Threads for reading and decoding photos.", lower_bound=1, module_name=PHOTOS
    )


def define_readers_flag() -> None:
    """What people said of the photos."""
    flags.DEFINE_string(
        "readers",
        "",
        "CSV (reader, image, call): what readers called, 1 for --target.",
        module_name=SCRIPT,
    )


def define_run_flags() -> None:
    """How a script behaves."""
    flags.DEFINE_integer(
        "seed",
        0,
        "Of rendered photos, folds, initial weights, data order, augmentation and bootstrap.",
        lower_bound=0,
        module_name=RUN,
    )
    flags.DEFINE_bool("smoke", False, "All of it, tiny, in about a minute.", module_name=RUN)
    flags.DEFINE_bool("traceback", False, "Show the full traceback of an error.", module_name=RUN)
    flags.DEFINE_string(
        "compilation_cache",
        "~/.cache/skinjax",
        "Folder of compiled steps, for quicker starts; empty for none.",
        module_name=RUN,
    )


def shrink() -> None:
    """Makes a run tiny (--smoke), but for what the command line says itself."""
    tiny = {
        "backbone": "efficientnet_nano",
        "image_size": 64,
        "synthetic_cases": 8 if "parts" in flags.FLAGS else 4,  # some of each class in all three parts
        "folds": 2,
        "epochs": 2,
        "batch_size": 16,
        "learning_rate": 0.02,
        "burn_in": 4.0,
        "batch_norm_momentum": 0.9,
        "replicates": 200,
        "parts": ["2", "1", "1"],
        "draws": 3,
        "backbones": ["efficientnet_nano", "efficientnet_b0"],
        "generations": 3,
        "population": 2,
        "search_fraction": 0.5,
        "repeats": 1,
        "retrain_seeds": 2,
    }
    for name, value in tiny.items():
        if name in flags.FLAGS and flags.FLAGS[name].using_default_value:
            setattr(flags.FLAGS, name, value)
