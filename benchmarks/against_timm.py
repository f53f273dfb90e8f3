r"""A run of `skinjax train` beside timm/PyTorch: same backbone, photos, split, passes and photos per update.

    python -m experiments.train --flagfile=experiments/flagfiles/ham_from_scratch.flags --dataset=ham10000 \
        --source=HAM10000 --workdir=runs/ham_b0
    python -m benchmarks.against_timm --workdir=runs/ham_b0 --prepared=runs/ham_b0/prepared

Needs the `peers` extra. PyTorch trains timm's network from scratch with plain SGD (momentum 0.9, weight decay 5e-4 on
kernels, one cycle to 0.1, mirror images), float32 on the CPU or a GPU, on the photos that the run has prepared, less
those whose cases it held out. Both are then judged on the latter: intervals and paired differences by case. What timm
said of them is kept as `timm_<recipe>.parquet` in `--out`, so that the report can be written on it, too:

    python -m experiments.evaluate --predictions=ours=runs/ham_b0/predictions/held_out.parquet,timm=OUT/timm_sgd.parquet

With `--recipe=adamw` timm is trained as `ham_from_scratch.flags` trains: AdamW, moving averages of the weights, batch
normalisation's momentum, quarter turns, and the mean over the eight symmetries of a photo. What is left between the two
is then the frameworks' and, of the augmentation, shifts, zoom and colour, which PyTorch does not get here.

    python -m skinjax train --dataset=ham10000 --source=HAM10000 --fold=0 --workdir=runs/ham_lite0
    python -m benchmarks.against_timm --workdir=runs/ham_lite0 --recipe=finetune

`--recipe=finetune` gives timm the start and the recipe of `--preset=laptop`: the same file of ImageNet weights, timm's
own AdamW with layer decay, cosine schedule with warm-up and moving average, torchvision's rotations, shifts, zoom,
mirror images and colour at the same strengths, the mean over the eight symmetries, and the same weights of the classes.
"""

import argparse
import copy
import dataclasses
import json
import math
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from skinjax.data.importers import import_dataset
from skinjax.data.manifest import as_manifest, read_manifest
from skinjax.data.pipeline.prepare import prepare
from skinjax.data.predictions import from_arrays, probabilities, read_predictions, write_predictions
from skinjax.evaluate import metrics
from skinjax.evaluate.bootstrap import by_case, paired_by_case
from skinjax.evaluate.multiclass import compare_macro_auc, macro_auc_interval
from skinjax.files.host import restart_tuned
from skinjax.models.registry import spec
from skinjax.models.weights.packages import find_imagenet
from skinjax.runs.folder import RunFolder
from skinjax.studies.steps import presets
from skinjax.train.priors import log_weights
from tests.peers.adapters import import_timm

TIMM = {
    "efficientnet_b0": "tf_efficientnet_b0",
    "efficientnet_b3": "tf_efficientnet_b3",
    "efficientnet_lite0": "tf_efficientnet_lite0",
    "densenet121": "densenet121",
}


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How timm's network is trained.

    Attributes:
      options: Of `timm.create_model`.
      pretrained: Whether it starts from the backbone's ImageNet weights.
      average_decay: Of the moving averages of the weights; 0 for none.
      augmentation: "mirrors", "turns" (and mirrors), or "affine" (turns by any angle, shifts, zoom and colour too).
      symmetries: Whether photos are predicted as the mean over eight.
      prior: Share of balanced accuracy in what the answers maximise (`skinjax.train.priors`).
    """

    options: dict[str, float]
    pretrained: bool = False
    average_decay: float = 0.0
    augmentation: str = "mirrors"
    symmetries: bool = True
    prior: float = 0.0


RECIPES = {
    "sgd": Recipe({}, symmetries=False),
    "adamw": Recipe(
        {"bn_momentum": 1 - 0.97, "drop_path_rate": 0.0}, average_decay=0.995, augmentation="turns"
    ),
    "finetune": Recipe({"bn_momentum": 1 - 0.9}, True, 0.98, "affine", prior=0.5),
}
METRICS = {
    "accuracy": metrics.accuracy,
    "balanced accuracy": metrics.balanced_accuracy,
    "macro F1": metrics.macro_f1,
}


def photos_of(run: Any, prepared_folder: Path, threads: int) -> tuple[pd.DataFrame, Any]:
    """Returns the manifest of the run's photos and their decoded records, in one order."""
    flags = run.options
    if flags["manifest"]:
        path = Path(flags["manifest"])
        frame, root = read_manifest(path, run.taxonomy), path.resolve().parent
    else:
        root = Path(flags["source"]).resolve()
        frame = as_manifest(import_dataset(flags["dataset"], root)[0], run.taxonomy)
    size = json.loads((prepared_folder / "prepared.json").read_text(encoding="utf-8"))["image_size"]
    prepared = prepare(
        frame,
        root,
        prepared_folder,
        image_size=size,
        fit=flags["fit"],
        threads=threads,
        replace_other_settings=False,
    )
    return frame.iloc[prepared.rows].reset_index(drop=True), prepared.source


def train_timm(
    name: str, images: Callable[[int], np.ndarray], labels: np.ndarray, classes: int, args: argparse.Namespace
) -> tuple[Any, str]:
    """Trains timm's network on photos by row; returns it with what its training took, in words."""
    import torch

    recipe, steps = RECIPES[args.recipe], args.epochs * (len(labels) // args.batch_size)
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    rng = np.random.default_rng(args.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = import_timm().create_model(TIMM[name], num_classes=classes, pretrained=False, **recipe.options)
    if recipe.pretrained:
        load_imagenet(model, name)
    model = model.to(device, memory_format=torch.channels_last).train()
    optimizer, advance = optimizer_of(args.recipe, model, steps)
    average = copy.deepcopy(model) if recipe.average_decay else None
    loss_of, done = torch.nn.CrossEntropyLoss(), 0
    began, times = time.monotonic(), []
    for epoch in range(args.epochs):
        order = rng.permutation(len(labels))[: len(labels) // args.batch_size * args.batch_size]
        for rows in order.reshape(-1, args.batch_size):
            batch = augmented(np.stack([images(row) for row in rows]), rng, recipe.augmentation)
            optimizer.zero_grad(set_to_none=True)
            loss = loss_of(
                model(as_tensor(batch, name, device)), torch.as_tensor(labels[rows], device=device).long()
            )
            loss.backward()
            optimizer.step()
            done += 1
            advance(done)
            if average is not None:
                decay = min(recipe.average_decay, (1 + done) / (10 + done))
                with torch.no_grad():
                    for kept, new in zip(
                        average.state_dict().values(), model.state_dict().values(), strict=True
                    ):
                        kept.lerp_(new, 1 - decay) if kept.is_floating_point() else kept.copy_(new)
        times.append(time.monotonic() - began)
        print(f"timm: epoch {epoch + 1}/{args.epochs}, loss {loss.item():.3f}, {times[-1]:.0f} s", flush=True)
    speed = args.epochs * len(labels) / times[-1]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    took = f"{times[-1]:.0f} s of training, {speed:.1f} photos/s, first epoch {times[0]:.0f} s, peak {peak:.0f} MiB"
    return (average or model).eval(), took


def load_imagenet(model: Any, name: str) -> None:
    """Fills a network of timm with the installed ImageNet weights, which are stored in timm's order; not the head."""
    import torch

    stored = torch.load(find_imagenet(spec(name)).path, map_location="cpu", weights_only=True)
    state = model.state_dict()
    for (ours, tensor), (theirs, value) in zip(state.items(), stored.items(), strict=True):
        if ours.startswith("classifier."):
            continue
        if tensor.shape != value.shape:
            raise SystemExit(
                f"{ours} must have the shape of {theirs}, {tuple(value.shape)}, got {tuple(tensor.shape)}"
            )
        tensor.copy_(value)


def optimizer_of(recipe: str, model: Any, steps: int) -> tuple[Any, Callable[[int], None]]:
    """Returns the optimiser of a recipe and a function that sets its learning rate after so many updates."""
    import torch

    decayed = [p for p in model.parameters() if p.ndim >= 2]
    rest = [p for p in model.parameters() if p.ndim < 2]
    if recipe == "finetune":
        from timm.optim import create_optimizer_v2
        from timm.scheduler import CosineLRScheduler

        made = create_optimizer_v2(model, "adamw", lr=1e-3, weight_decay=0.02, layer_decay=0.85)
        cosine = CosineLRScheduler(
            made, steps, lr_min=1e-5, warmup_t=20, warmup_lr_init=1e-5, warmup_prefix=True, t_in_epochs=False
        )
        cosine.step_update(0)
        return made, lambda done: cosine.step_update(done)
    if recipe == "adamw":
        groups = [{"params": decayed, "weight_decay": 0.05}, {"params": rest, "weight_decay": 0.0}]
        optimizer: Any = torch.optim.AdamW(groups, lr=1e-3)
        scheduler: Any = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda done: _burnt_in_cosine(done, steps)
        )
    else:
        groups = [{"params": decayed, "weight_decay": 5e-4}, {"params": rest, "weight_decay": 0.0}]
        optimizer = torch.optim.SGD(groups, lr=0.1, momentum=0.9)
        scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=steps)
    return optimizer, lambda done: scheduler.step()


def _burnt_in_cosine(done: int, steps: int, burn_in: int = 200) -> float:
    way = min(max((done + 1 - burn_in) / max(steps - burn_in, 1), 0), 1)
    return (0.01 + 0.99 * (1 + math.cos(math.pi * way)) / 2) * min((done + 1) / burn_in, 1) ** 4


def augmented(batch: np.ndarray, rng: np.random.Generator, kind: str) -> np.ndarray:
    """Returns uint8[N, h, w, 3] photos, mirrored at random; with "turns" and "affine" changed as `Recipe` says."""
    batch = np.stack([image[:, ::-1] if rng.random() < 0.5 else image for image in batch])
    batch = np.stack([image[::-1] if rng.random() < 0.5 else image for image in batch])
    if kind == "turns":
        return np.stack([image.swapaxes(0, 1) if rng.random() < 0.5 else image for image in batch])
    if kind == "affine":
        import torch
        from torchvision.transforms import v2

        bilinear = v2.InterpolationMode.BILINEAR
        change = v2.Compose(
            [
                v2.RandomAffine(180, (0.08, 0.08), (0.8, 1.2), 1, interpolation=bilinear, fill=127),
                v2.ColorJitter(brightness=0.1, saturation=0.15, hue=0.01),
            ]
        )
        photos = torch.from_numpy(batch.transpose(0, 3, 1, 2).copy())
        return torch.stack([change(photo) for photo in photos]).numpy().transpose(0, 2, 3, 1)
    return batch


def as_tensor(batch: np.ndarray, name: str, device: str) -> Any:
    import torch

    mean, std = (np.asarray(values, np.float32) for values in (spec(name).mean, spec(name).std))
    pixels = (np.ascontiguousarray(batch, np.float32) / 255 - mean) / std
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).to(device, memory_format=torch.channels_last)


def predict_timm(
    model: Any,
    name: str,
    images: Callable[[int], np.ndarray],
    count: int,
    weights: np.ndarray,
    args: argparse.Namespace,
) -> np.ndarray:
    """Returns float64[count, K] probabilities, the mean over a photo's eight symmetries where the recipe says so.

    `weights` is float[K], the logarithms of the classes' weights, which are added to the logits.
    """
    import torch

    device = next(model.parameters()).device
    symmetries = [(turn, mirror) for turn in range(4) for mirror in (False, True)]
    answers = []
    with torch.inference_mode():
        for first in range(0, count, args.batch_size):
            batch = np.stack([images(row) for row in range(first, min(first + args.batch_size, count))])
            total = np.zeros(())
            for turn, mirror in symmetries if RECIPES[args.recipe].symmetries else symmetries[:1]:
                seen = np.rot90(batch[:, :, ::-1] if mirror else batch, turn, (1, 2))
                logits = model(as_tensor(seen, name, device)).double() + torch.as_tensor(
                    weights, device=device
                )
                total = total + torch.softmax(logits, 1).cpu().numpy()
            answers.append(total / total.sum(axis=1, keepdims=True))
    return np.concatenate(answers)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workdir", type=Path, required=True, help="a finished run of skinjax train")
    parser.add_argument("--prepared", type=Path, help="its prepared photos; default: WORKDIR/prepared")
    parser.add_argument("--out", type=Path, help="folder for timm's predictions; default: WORKDIR")
    parser.add_argument("--recipe", choices=tuple(RECIPES), default="sgd")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    run = RunFolder.read(args.workdir)
    flags = run.options
    ours = read_predictions(next(iter(run.predictions.values())))
    frame, source = photos_of(run, args.prepared or args.workdir / "prepared", args.threads)
    held_out = frame["image"].isin(ours["image"]).to_numpy()
    taxonomy = run.taxonomy
    labels = taxonomy.encode(frame["label"])
    train, test = np.flatnonzero(~held_out), np.flatnonzero(held_out)
    if shared := set(frame["case_id"].iloc[train]) & set(frame["case_id"].iloc[test]):
        raise SystemExit(f"{len(shared)} cases are trained on and held out")
    args.batch_size = flags["batch_size"]
    args.epochs = flags["epochs"] or presets.epochs_for(flags["preset"], len(train))
    path = (args.out or args.workdir) / f"timm_{args.recipe}.parquet"
    took = "predictions of a former call"
    if not path.exists():
        classes = len(taxonomy.classes())
        name = flags["backbone"]
        model, took = train_timm(
            name,
            lambda row: source[int(train[row])]["image"],
            labels[train],
            classes,
            args,
        )
        weights = log_weights(labels[train], classes, RECIPES[args.recipe].prior)
        probs = predict_timm(
            model, name, lambda row: source[int(test[row])]["image"], len(test), weights, args
        )
        of = frame.iloc[test]
        write_predictions(
            from_arrays(of["image"], of["case_id"], of["label"], 0, probs, taxonomy, extra=of), path, taxonomy
        )
    theirs = read_predictions(path).set_index("image").loc[ours["image"]].reset_index()
    print_table(ours, theirs, taxonomy, f"timm, {args.recipe}")
    size = f"{len(train)} photos, {args.epochs} epochs, {args.batch_size} photos per update"
    print(f"\ntimm: {took}; {size}")


def print_table(ours: pd.DataFrame, theirs: pd.DataFrame, taxonomy: Any, title: str) -> None:
    labels, cases = taxonomy.encode(ours["label"]), ours["case_id"]
    a, b = probabilities(ours, taxonomy), probabilities(theirs, taxonomy)
    print(
        f"| {len(ours):,} photos, {cases.nunique():,} cases | skinjax | {title} | difference |\n|---|---|---|---|"
    )
    for name, metric in METRICS.items():
        one, other = (by_case(metric, (labels, x.argmax(axis=1)), cases) for x in (a, b))
        gap = paired_by_case(metric, labels, a.argmax(axis=1), b.argmax(axis=1), cases)
        print(
            f"| {name} | {_told(one.estimate, one)} | {_told(other.estimate, other)} | {_told(gap.difference, gap)} |"
        )
    one, other = (macro_auc_interval(labels, x, cases=cases) for x in (a, b))
    gap = compare_macro_auc(labels, a, b, cases=cases)
    print(f"| macro AUC | {_told(one.auc, one)} | {_told(other.auc, other)} | {_told(gap.difference, gap)} |")


def _told(value: float, interval: Any) -> str:
    return f"{value:.3f} ({interval.low:.3f} to {interval.high:.3f})"


if __name__ == "__main__":
    restart_tuned()
    main()
