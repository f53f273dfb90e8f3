"""The flags that experiments share, in groups; `--help` shows them under these headings."""

from __future__ import annotations

from absl import flags

from skinjax.train.loop import Settings
from skinjax.train.state import Recipe

PHOTOS = "photos"
NETWORK = "network and training"
RECIPE = "hyper-parameters (Table 4-1 of the thesis)"
SCRIPT = "this experiment"
RUN = "running"
GROUPS = (SCRIPT, PHOTOS, NETWORK, RECIPE, RUN)  # the headings of --help
PATHS = ("manifest", "source", "taxonomy", "workdir", "prepared", "pretrained", "compilation_cache")

LARGEST = {"hsv_h": 0.5, "rotation": 180, "scale": 0.9, "shear": 40}  # of a strength; 1 for the others

DEFAULT = Recipe()
_STRENGTHS = DEFAULT.strengths


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


def define_training_flags() -> None:
    """The network and how it is trained; defaults are the thesis's Table 4-1 where it says."""
    flags.DEFINE_string("backbone", "efficientnet_b0", "Name in the registry.", module_name=NETWORK)
    flags.DEFINE_string(
        "pretrained",
        "",
        "Weights to start from; see skinjax.models.pretrained. Empty: from scratch.",
        module_name=NETWORK,
    )
    flags.DEFINE_enum(
        "precision", "float32", ["float32", "bfloat16"], "Dtype of the computation.", module_name=NETWORK
    )
    flags.DEFINE_float(
        "batch_norm_momentum",
        None,
        "Of BatchNorm's running statistics. Default: the backbone's own.",
        module_name=NETWORK,
    )
    flags.DEFINE_float(
        "drop_path_rate", None, "Of stochastic depth. Default: the backbone's own.", module_name=NETWORK
    )
    flags.DEFINE_integer("batch_size", 32, "Photos an update.", lower_bound=1, module_name=NETWORK)
    flags.DEFINE_integer(
        "epochs", Settings.epochs, "Passes over the training photos.", lower_bound=1, module_name=NETWORK
    )
    flags.DEFINE_integer("folds", 5, "Case-grouped folds.", lower_bound=2, module_name=NETWORK)
    flags.DEFINE_integer(
        "fold",
        -1,
        "The fold to train; -1: all folds, or the first where one is trained.",
        lower_bound=-1,
        module_name=NETWORK,
    )
    flags.DEFINE_enum(
        "class_balance",
        "none",
        ["none", "weights", "sampling"],
        "Weigh the loss, or draw classes, evenly.",
        module_name=NETWORK,
    )
    flags.DEFINE_integer(
        "evaluate_every",
        1,
        "Epochs between evaluations on the held-out fold.",
        lower_bound=1,
        module_name=NETWORK,
    )
    flags.DEFINE_float(
        "checkpoint_seconds", 60, "Shortest time between checkpoints.", lower_bound=0, module_name=NETWORK
    )


def define_recipe_flags() -> None:
    """The hyper-parameters of Table 4-1, traced values of the compiled step."""
    flags.DEFINE_float(
        "learning_rate", DEFAULT.learning_rate, "lr, reached at the end of burn-in.", 0, module_name=RECIPE
    )
    flags.DEFINE_float(
        "final_learning_rate", DEFAULT.final_learning_rate, "lrf, of the last update.", 0, module_name=RECIPE
    )
    flags.DEFINE_enum(
        "learning_rate_decay",
        "cosine",
        ["cosine", "exponential", "inverse_exponential", "multistep"],
        "How the learning rate falls.",
        module_name=RECIPE,
    )
    flags.DEFINE_float("momentum", DEFAULT.momentum, "mu of equation 4-1.", 0, 0.9999, module_name=RECIPE)
    flags.DEFINE_float(
        "weight_decay", DEFAULT.weight_decay, "lambda of equations 4-2 to 4-4.", 0, module_name=RECIPE
    )
    flags.DEFINE_enum("decay", "l2", ["l2", "decoupled"], "Equation 4-3 or 4-4.", module_name=RECIPE)
    flags.DEFINE_float(
        "burn_in", DEFAULT.burn_in, "Batches of warm-up (equation 4-5).", 0, module_name=RECIPE
    )
    for name in _STRENGTHS._fields:
        flags.DEFINE_float(
            name,
            getattr(_STRENGTHS, name),
            "Augmentation strength; see skinjax.augment.Strengths.",
            lower_bound=0,
            upper_bound=LARGEST.get(name, 1),
            module_name=RECIPE,
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


def batch_size(photo_count: int) -> int:
    """Returns the photos an update: --batch_size, or with --smoke as many as there are to train on, if fewer."""
    size: int = flags.FLAGS.batch_size
    return min(size, photo_count) if flags.FLAGS.smoke else size


def recipe(steps: int) -> Recipe:
    """Returns the recipe that the flags describe, for a run of so many updates.

    Raises:
      ValueError: burn-in would last as long as the run, which then never reaches its learning rate.
    """
    values = flags.FLAGS
    burn_in = min(values.burn_in, steps / 4) if values.smoke else values.burn_in
    if burn_in >= steps:
        raise ValueError(
            f"--burn_in={values.burn_in:g} batches are not below the {steps} updates of the run, which would "
            "never reach --learning_rate; give a smaller --burn_in or more --epochs"
        )
    return Recipe(
        learning_rate=values.learning_rate,
        final_learning_rate=values.final_learning_rate,
        momentum=values.momentum,
        weight_decay=values.weight_decay,
        burn_in=burn_in,
        total_steps=steps,
        strengths=type(_STRENGTHS)(*(getattr(values, name) for name in _STRENGTHS._fields)),
    )


def settings(seed: int, epochs: int, photo_count: int) -> Settings:
    """Returns the settings that the flags describe, for a network of its own seed, length and photos to train on."""
    values = flags.FLAGS
    return Settings(
        epochs=epochs,
        batch_size=batch_size(photo_count),
        seed=seed,
        class_balance=values.class_balance,
        weight_decay=values.decay,
        learning_rate_decay=values.learning_rate_decay,
        evaluate_every=values.evaluate_every,
        checkpoint_seconds=values.checkpoint_seconds,
        threads=values.threads,
    )


def shrink() -> None:
    """Makes a run tiny (--smoke), but for what the command line says itself."""
    tiny = {
        "backbone": "efficientnet_nano",
        "image_size": 64,
        "synthetic_cases": 4,
        "folds": 2,
        "epochs": 2,
        "batch_size": 16,
        "learning_rate": 0.02,
        "burn_in": 4.0,
        "batch_norm_momentum": 0.9,
    }
    for name, value in tiny.items():
        if name in flags.FLAGS and flags.FLAGS[name].using_default_value:
            setattr(flags.FLAGS, name, value)
