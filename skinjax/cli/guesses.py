"""Names that other programs have for our flags: what was meant by a flag, or by a path without one."""

from __future__ import annotations

import difflib
import os
from collections.abc import Collection, Mapping
from pathlib import Path

OURS: Mapping[tuple[str, ...], str] = {
    ("predictions", "manifest", "photos"): "data csv csv_file data_csv data_path dataframe input inputs train_csv "
    "annotations metadata file table manifest",
    ("photos", "manifest", "predictions"): "image images img imgs image_dir image_folder images_dir img_dir folder "
    "data_dir root data_root image_root directory photos",
    ("predictions", "workdir"): "pred preds prediction probabilities probs scores predictions",
    ("out", "workdir"): "out output outdir out_dir output_dir output_folder save_dir save_path result results report",
    ("workdir",): "run run_dir rundir log_dir logdir model_dir model_path exp experiment project work_dir workdir",
    ("backbones", "backbone", "workdir"): "backbone backbones model arch architecture net network model_name encoder",
    ("pretrained", "workdir"): "weights checkpoint ckpt checkpoint_path init pretrain",
    ("learning_rate",): "lr lr0 base_lr learningrate max_lr",
    ("final_learning_rate",): "lrf min_lr final_lr eta_min",
    ("learning_rate_decay",): "scheduler lr_scheduler sched schedule",
    ("burn_in",): "warmup warmup_steps warmup_epochs warm_up",
    ("weight_decay",): "wd l2 weightdecay",
    ("momentum",): "mu beta1",
    ("optimizer",): "opt optim optimiser",
    ("epochs",): "epoch num_epochs n_epochs max_epochs nepochs",
    ("batch_size",): "batch bs batchsize bsz b",
    ("image_size",): "size img_size imgsz input_size resolution res imagesize",
    ("folds",): "k kfold kfolds k_fold cv num_folds n_folds n_splits",
    ("parts", "validation_fraction", "folds"): "split splits val_split test_split test_size val_fraction",
    ("seed",): "random_state random_seed rng",
    ("taxonomy",): "classes labels class_names label_map hierarchy",
    ("class_balance", "prior_adjustment"): "balanced class_weight class_weights balance sampler weighted",
    ("precision",): "amp fp16 bf16 dtype mixed_precision half",
    ("test_time_augmentation",): "tta",
    ("patience",): "early_stopping early_stop",
    ("label_smoothing",): "smoothing",
    ("average_decay",): "ema ema_decay",
    ("accumulate",): "grad_accum accumulation_steps gradient_accumulation",
    ("clip_norm",): "grad_clip clip_grad max_grad_norm",
    ("frozen_blocks",): "freeze frozen",
    ("drop_path_rate",): "drop_path stochastic_depth",
    ("rotation",): "rotate rotate_degrees degrees_of_rotation",
    ("flip_horizontal",): "hflip fliplr horizontal_flip flip",
    ("flip_vertical",): "vflip flipud vertical_flip",
    ("translation",): "translate shift",
    ("hsv_v",): "brightness",
    ("hsv_s",): "saturation color_jitter",
    ("hsv_h",): "hue",
    ("workers", "threads"): "num_workers n_workers jobs n_jobs j",
    ("threads",): "num_threads",
    ("replicates",): "bootstrap n_bootstrap bootstraps n_boot",
    ("confidence",): "alpha ci level confidence_level",
    ("target",): "positive positive_class pos_label",
    ("explain",): "gradcam grad_cam cam heatmap",
    ("columns",): "tabular features_columns covariates meta metadata_columns",
    ("smoke",): "test dry_run debug trial quick_test",
}  # fmt: skip
"""Flags of ours, of which the first that a command has is meant, by the names that others give them."""

ANSWERS: Mapping[str, str] = {
    "device devices gpu gpus cuda cpu": "JAX takes the devices that it finds; JAX_PLATFORMS=cpu in the environment "
    "keeps to the CPU",
    "resume continue": "the same command with the same --workdir resumes",
    "num_classes n_classes nclasses": "the classes are those of --taxonomy, or else of the labels",
    "verbose v quiet debug_level": "progress is printed on standard error",
    "config cfg": "a file of flags is given as --flagfile=FILE",
}
"""Sentences for what no flag is for, by the names that others give it."""


def meant_flag(name: str, known: Collection[str]) -> str:
    """Says which flag was meant, or what takes its place; empty where that cannot be guessed.

    Args:
      name: A flag that the command does not have, without its dashes.
      known: The names of its flags.

    >>> meant_flag("lr", {"learning_rate", "loss"}), meant_flag("Batch-Size", {"batch_size"})
    ('did you mean --learning_rate?', 'did you mean --batch_size?')
    >>> meant_flag("epohcs", {"epochs"}), meant_flag("zzz", {"epochs"})
    ('did you mean --epochs?', '')
    """
    plain = name.lower().replace("-", "_")
    if plain in known:
        return f"did you mean --{plain}?"
    for candidates, names in OURS.items():
        if plain in names.split() and (there := [one for one in candidates if one in known]):
            return f"did you mean --{there[0]}?"
    for names, words in ANSWERS.items():
        if plain in names.split():
            return words
    near = difflib.get_close_matches(plain, sorted(known), n=1)
    return f"did you mean --{near[0]}?" if near else ""


def meant_argument(word: str, known: Collection[str]) -> str:
    """Says as which flag a word without one is to be given; empty where that cannot be guessed.

    A folder with a `config.json` is a run's, another folder holds photos; files are recognised by their ending.

    Args:
      word: The word, as it was typed.
      known: The names of the command's flags.

    >>> meant_argument("photos.csv", {"manifest"}), meant_argument("theirs.csv", {"manifest", "predictions"})
    ('did you mean --manifest=photos.csv?', 'did you mean --predictions=theirs.csv?')
    >>> meant_argument("lr=0.1", {"learning_rate"})
    'did you mean --learning_rate=0.1?'
    """
    name, equals, value = word.partition("=")
    if equals and not os.path.exists(word):
        hint = meant_flag(name.lstrip("-"), known)
        return hint.replace("?", f"={value}?") if hint.startswith("did you mean --") else ""
    path = Path(word).expanduser()
    ending = path.suffix.lower()
    if path.is_dir():
        kinds = ("workdir", "photos", "manifest") if (path / "config.json").exists() else ("photos",)
    elif ending in (".csv", ".tsv", ".txt", ".xlsx", ".parquet", ".pq", ".jsonl"):
        kinds = ("predictions", "manifest", "photos")
    elif ending in (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".heic"):
        kinds = ("photos",)
    elif ending in (".pth", ".pt", ".safetensors", ".h5", ".keras"):
        kinds = ("pretrained",)
    elif ending in (".flags",):
        return f"did you mean --flagfile={word}?"
    else:
        return ""
    there = next((kind for kind in kinds if kind in known), "")
    if there:
        return f"did you mean --{there}={word}?"
    if path.is_dir() and "manifest" in known:
        return (
            "photos are named by a table: --manifest=FILE.csv with the columns image, label and case_id, its paths "
            f"from the table's folder, such as {word}"
        )
    return ""
