"""The flags of networks and their training, and what the loop takes from them."""

from __future__ import annotations

from typing import get_args

from absl import flags

from experiments.flags import METHODS, NETWORK, PARALLEL, RECIPE, define_data_flags, define_run_flags
from skinjax.train.loop import Settings
from skinjax.train.losses import Loss
from skinjax.train.method import Method
from skinjax.train.optimizers import Optimizer
from skinjax.train.parallel import Parallel
from skinjax.train.state import Recipe
from skinjax.train.stopping import Metric

LARGEST = {"hsv_h": 0.5, "rotation": 180, "scale": 0.9, "shear": 40}  # of a strength; 1 for the others

DEFAULT, METHOD = Recipe(), Method()
_STRENGTHS = DEFAULT.strengths


def define_all_flags(*, folds: bool) -> None:
    """What every experiment that trains has: photos, networks and their training, devices, running.

    Args:
      folds: whether it cross-validates.
    """
    define_data_flags()
    define_training_flags()
    if folds:
        define_fold_flags()
    define_method_flags()
    define_recipe_flags()
    define_parallel_flags()
    define_run_flags()


def define_training_flags() -> None:
    """The network and how it is trained; defaults are the thesis's Table 4-1 where it says."""
    flags.DEFINE_string("backbone", "efficientnet_b0", "Name in the registry.", module_name=NETWORK)
    flags.DEFINE_string(
        "pretrained",
        "",
        "Weights to start from, {backbone} standing for its name; see skinjax.models.pretrained. Empty: from scratch.",
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
    flags.DEFINE_enum(
        "class_balance",
        "none",
        ["none", "weights", "effective", "sampling"],
        "Weigh the loss evenly, or by effective numbers of photos, or draw classes evenly.",
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
        "validation_fraction",
        0,
        "Share of the training cases that are set apart to choose the best epoch by.",
        0,
        0.5,
        module_name=NETWORK,
    )
    flags.DEFINE_enum(
        "choose_by",
        "",
        ["", *get_args(Metric)],
        "Metric of the validation photos that chooses the epoch. Empty: the last epoch is taken.",
        module_name=NETWORK,
    )
    flags.DEFINE_integer(
        "patience",
        0,
        "Epochs without a better --choose_by after which training ends; 0: never.",
        lower_bound=0,
        module_name=NETWORK,
    )
    flags.DEFINE_enum(
        "test_time_augmentation",
        "none",
        ["none", "flips", "dihedral"],
        "Predict held-out photos as the mean over mirror images, or quarter turns of them too.",
        module_name=NETWORK,
    )
    flags.DEFINE_float(
        "checkpoint_seconds", 60, "Shortest time between checkpoints.", lower_bound=0, module_name=NETWORK
    )


def define_fold_flags() -> None:
    """Cross-validation, for experiments that hold out one fold of whole cases after another."""
    flags.DEFINE_integer("folds", 5, "Case-grouped folds.", lower_bound=2, module_name=NETWORK)
    flags.DEFINE_integer(
        "fold",
        -1,
        "The fold to train; -1: all folds, or the first where one is trained.",
        lower_bound=-1,
        module_name=NETWORK,
    )


def define_parallel_flags() -> None:
    """Devices and processes."""
    flags.DEFINE_enum(
        "parallel", "jit", ["jit", "pmap"], "How the step is spread over devices.", module_name=PARALLEL
    )
    flags.DEFINE_enum(
        "batch_norm",
        "global",
        ["global", "per_device"],
        "Photos that BatchNorm takes its statistics from: of all devices, or of each, as the thesis's two had it.",
        module_name=PARALLEL,
    )
    flags.DEFINE_string(
        "coordinator",
        "",
        "host:port of the first process, where a run has several. SLURM and Kubernetes need none of these three.",
        module_name=PARALLEL,
    )
    flags.DEFINE_integer("processes", None, "How many processes the run has.", 1, module_name=PARALLEL)
    flags.DEFINE_integer("process_index", None, "Which of them this one is, from 0.", 0, module_name=PARALLEL)
    flags.DEFINE_integer(
        "workers", 0, "Processes that read prepared photos; 0: threads do.", 0, module_name=PARALLEL
    )


def define_method_flags() -> None:
    """Optimiser, loss and what goes with them."""
    flags.DEFINE_enum(
        "optimizer", METHOD.optimizer, get_args(Optimizer), "Chapter 4: sgd.", module_name=METHODS
    )
    flags.DEFINE_bool(
        "decay_all", METHOD.decay_all, "Whether BatchNorm and biases decay too.", module_name=METHODS
    )
    flags.DEFINE_enum("loss", METHOD.loss, get_args(Loss), "What is minimised.", module_name=METHODS)
    flags.DEFINE_float(
        "label_smoothing", 0, "Share of a label spread over all classes.", 0, 0.9, module_name=METHODS
    )
    flags.DEFINE_float("focal_gamma", METHOD.focal_gamma, "Of --loss=focal.", 0, module_name=METHODS)
    flags.DEFINE_float(
        "clip_norm", 0, "Norm that gradients are scaled down to; 0: none.", 0, module_name=METHODS
    )
    flags.DEFINE_integer(
        "accumulate", 1, "Parts that a batch is computed in, to save memory.", 1, module_name=METHODS
    )
    flags.DEFINE_float(
        "average_decay",
        0,
        "Of the moving averages of the weights, which are then used; 0: none.",
        0,
        0.99999,
        module_name=METHODS,
    )
    flags.DEFINE_integer(
        "frozen_blocks", 0, "Blocks from the stem on that are not trained.", 0, module_name=METHODS
    )
    flags.DEFINE_float(
        "layer_decay",
        1,
        "Factor of the learning rate with each block away from the head.",
        0.01,
        1,
        module_name=METHODS,
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
        method=method(),
        parallel=Parallel(values.parallel, values.batch_norm),
        evaluate_every=values.evaluate_every,
        choose_by=values.choose_by or None,
        patience=values.patience,
        checkpoint_seconds=values.checkpoint_seconds,
        threads=values.threads,
        workers=values.workers,
    )


def method() -> Method:
    """Returns the optimiser, loss and the like that the flags describe."""
    values = flags.FLAGS
    return Method(
        optimizer=values.optimizer,
        weight_decay=values.decay,
        decay_all=values.decay_all,
        learning_rate_decay=values.learning_rate_decay,
        loss=values.loss,
        label_smoothing=values.label_smoothing,
        focal_gamma=values.focal_gamma,
        clip_norm=values.clip_norm,
        accumulate=values.accumulate,
        average_decay=values.average_decay,
        frozen_blocks=values.frozen_blocks,
        layer_decay=values.layer_decay,
    )
