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
"""

import argparse
import copy
import json
import math
import time
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
from skinjax.runs.folder import RunFolder
from tests.peers.adapters import import_timm

TIMM = {
    "efficientnet_b0": "tf_efficientnet_b0",
    "efficientnet_b3": "tf_efficientnet_b3",
    "densenet121": "densenet121",
}
MEAN, STD = 0.5, 0.5
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
    name: str, images: Any, labels: np.ndarray, classes: int, args: argparse.Namespace
) -> tuple[Any, float]:
    """Trains timm's network and returns it with the seconds that took."""
    import torch

    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    rng = np.random.default_rng(args.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    options = {"bn_momentum": 1 - 0.97, "drop_path_rate": 0.0} if args.recipe == "adamw" else {}
    model = import_timm().create_model(name, num_classes=classes, pretrained=False, **options)
    model = model.to(device, memory_format=torch.channels_last).train()
    decayed = [p for p in model.parameters() if p.ndim >= 2]
    rest = [p for p in model.parameters() if p.ndim < 2]
    steps = args.epochs * (len(labels) // args.batch_size)
    if args.recipe == "adamw":
        groups = [{"params": decayed, "weight_decay": 0.05}, {"params": rest, "weight_decay": 0.0}]
        optimizer: Any = torch.optim.AdamW(groups, lr=1e-3)
        scheduler: Any = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda done: _burnt_in_cosine(done, steps)
        )
    else:
        groups = [{"params": decayed, "weight_decay": 5e-4}, {"params": rest, "weight_decay": 0.0}]
        optimizer = torch.optim.SGD(groups, lr=0.1, momentum=0.9)
        scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=steps)
    average = copy.deepcopy(model) if args.recipe == "adamw" else None
    loss_of, began, done = torch.nn.CrossEntropyLoss(), time.monotonic(), 0
    for epoch in range(args.epochs):
        order = rng.permutation(len(labels))[: len(labels) // args.batch_size * args.batch_size]
        for rows in order.reshape(-1, args.batch_size):
            batch = mirrored(np.stack([images(row) for row in rows]), rng, turns=args.recipe == "adamw")
            optimizer.zero_grad(set_to_none=True)
            loss = loss_of(
                model(as_tensor(batch, device)), torch.as_tensor(labels[rows], device=device).long()
            )
            loss.backward()
            optimizer.step()
            scheduler.step()
            done += 1
            if average is not None:
                decay = min(0.995, (1 + done) / (10 + done))
                with torch.no_grad():
                    for kept, new in zip(
                        average.state_dict().values(), model.state_dict().values(), strict=True
                    ):
                        kept.lerp_(new, 1 - decay) if kept.is_floating_point() else kept.copy_(new)
        seconds = time.monotonic() - began
        print(f"timm: epoch {epoch + 1}/{args.epochs}, loss {loss.item():.3f}, {seconds:.0f} s", flush=True)
    return (average or model).eval(), time.monotonic() - began


def _burnt_in_cosine(done: int, steps: int, burn_in: int = 200) -> float:
    way = min(max((done + 1 - burn_in) / max(steps - burn_in, 1), 0), 1)
    return (0.01 + 0.99 * (1 + math.cos(math.pi * way)) / 2) * min((done + 1) / burn_in, 1) ** 4


def mirrored(batch: np.ndarray, rng: np.random.Generator, turns: bool) -> np.ndarray:
    """Photos mirrored on both axes at random, and turned by a quarter where asked."""
    batch = np.stack([image[:, ::-1] if rng.random() < 0.5 else image for image in batch])
    batch = np.stack([image[::-1] if rng.random() < 0.5 else image for image in batch])
    return (
        np.stack([image.swapaxes(0, 1) if rng.random() < 0.5 else image for image in batch])
        if turns
        else batch
    )


def as_tensor(batch: np.ndarray, device: str) -> Any:
    import torch

    pixels = (np.ascontiguousarray(batch, np.float32) / 255 - MEAN) / STD
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).to(device, memory_format=torch.channels_last)


def predict_timm(model: Any, images: Any, count: int, args: argparse.Namespace) -> np.ndarray:
    """Returns float64[count, K] probabilities; with the second recipe the mean over a photo's eight symmetries."""
    import torch

    device = next(model.parameters()).device
    symmetries = [(turn, mirror) for turn in range(4) for mirror in (False, True)]
    answers = []
    with torch.inference_mode():
        for first in range(0, count, args.batch_size):
            batch = np.stack([images(row) for row in range(first, min(first + args.batch_size, count))])
            total = np.zeros(())
            for turn, mirror in symmetries if args.recipe == "adamw" else symmetries[:1]:
                seen = np.rot90(batch[:, :, ::-1] if mirror else batch, turn, (1, 2))
                total = total + torch.softmax(model(as_tensor(seen, device)).double(), 1).cpu().numpy()
            answers.append(total / total.sum(axis=1, keepdims=True))
    return np.concatenate(answers)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workdir", type=Path, required=True, help="a finished run of skinjax train")
    parser.add_argument("--prepared", type=Path, help="its prepared photos; default: WORKDIR/prepared")
    parser.add_argument("--out", type=Path, help="folder for timm's predictions; default: WORKDIR")
    parser.add_argument("--recipe", choices=("sgd", "adamw"), default="sgd")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    run = RunFolder.read(args.workdir)
    flags = run.options
    args.epochs, args.batch_size = flags["epochs"], flags["batch_size"]
    ours = read_predictions(next(iter(run.predictions.values())))
    frame, source = photos_of(run, args.prepared or args.workdir / "prepared", args.threads)
    held_out = frame["image"].isin(ours["image"]).to_numpy()
    taxonomy = run.taxonomy
    labels = taxonomy.encode(frame["label"])
    train, test = np.flatnonzero(~held_out), np.flatnonzero(held_out)
    if shared := set(frame["case_id"].iloc[train]) & set(frame["case_id"].iloc[test]):
        raise SystemExit(f"{len(shared)} cases are trained on and held out")
    path = (args.out or args.workdir) / f"timm_{args.recipe}.parquet"
    seconds = float("nan")
    if not path.exists():
        classes = len(taxonomy.classes())
        model, seconds = train_timm(
            TIMM[flags["backbone"]],
            lambda row: source[int(train[row])]["image"],
            labels[train],
            classes,
            args,
        )
        probs = predict_timm(model, lambda row: source[int(test[row])]["image"], len(test), args)
        of = frame.iloc[test]
        write_predictions(
            from_arrays(of["image"], of["case_id"], of["label"], 0, probs, taxonomy, extra=of), path, taxonomy
        )
    theirs = read_predictions(path).set_index("image").loc[ours["image"]].reset_index()
    print_table(ours, theirs, taxonomy, f"timm, {args.recipe}")
    size = f"{len(train)} photos, {args.epochs} epochs, {args.batch_size} photos per update"
    print(f"\ntimm: {seconds:.0f} s of training; {size}")


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
