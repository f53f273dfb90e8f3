"""A fusion rule of one's own, from stored predictions to the report (beside those of the thesis's section 4.4).

`fuse` takes any function of (coarse probabilities, fine probabilities, parents). Here it is a product of experts,
p_j ~ p^f_j (p^l_l(j))^a. The exponent says how far to believe the coarse network: at 0 the fine one answers alone, 1 is
soft fusion. It is fitted by likelihood, for each fold on the other folds.

    python -m experiments.recipes.new_fusion_rule                              # made-up predictions, 10 s
    python -m experiments.recipes.new_fusion_rule --workdir=runs/demo          # those of a run of `skinjax hierarchy`
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize_scalar

import skinjax
from skinjax.data.invented import invent_predictions
from skinjax.data.predictions import columns, from_arrays, probabilities, read_predictions
from skinjax.decide.hierarchy import OwnRule, fuse, marginalize
from skinjax.runs.folder import RunFolder


def product_of_experts(exponent: float) -> OwnRule:
    """Returns the rule that `fuse` takes, a function of float[..., M], float[..., S] and int[S]."""
    return lambda meta, sub, parents: sub * meta[..., parents] ** exponent


def fit_exponent(meta: np.ndarray, sub: np.ndarray, parents: np.ndarray, labels: np.ndarray) -> float:
    """Returns the exponent in [0, 4] under which the labels int[N] are likeliest."""

    def loss(exponent: float) -> float:
        fused = np.asarray(fuse(meta, sub, parents, product_of_experts(exponent), normalize=True))
        return -float(np.log(np.maximum(fused[np.arange(len(labels)), labels], 1e-30)).mean())

    return float(minimize_scalar(loss, bounds=(0, 4), method="bounded").x)


def main(arguments: Sequence[str] | None = None) -> None:
    """Fuses, and compares the rules by case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workdir", default="", help="Folder of a run of `skinjax hierarchy`.")
    parser.add_argument("--out", default="runs/new_fusion_rule", help="Folder of the report.")
    parser.add_argument("--seed", type=int, default=0, help="Seed of made-up predictions and the bootstrap.")
    given = parser.parse_args(arguments)
    run = RunFolder.read(given.workdir) if given.workdir else None
    if run:
        frame, taxonomy = read_predictions(next(iter(run.predictions.values()))), run.taxonomy
    else:
        taxonomy = skinjax.load_taxonomy("synthetic19")
        frame, other = invent_predictions(taxonomy, 200, skills=(1.8, 1.8), seed=given.seed)
        coarse = marginalize(probabilities(other, taxonomy), taxonomy.parents("sub", "meta"), 6)
        frame[columns(taxonomy, "meta")] = np.asarray(coarse)
    level = next((one for one in taxonomy.levels[:-1] if columns(taxonomy, one)[0] in frame), None)
    if level is None:
        parser.error(f"--workdir={given.workdir} has no coarser network; `skinjax hierarchy` trains one")
    sub, meta = (probabilities(frame, taxonomy, one) for one in (taxonomy.finest, level))
    parents, labels = taxonomy.parents(taxonomy.finest, level), taxonomy.encode(frame["label"])
    fold_of, own = frame["fold"].to_numpy(), np.empty_like(sub)
    for fold in np.unique(fold_of):
        rest = fold_of != fold
        exponent = fit_exponent(meta[rest], sub[rest], parents, labels[rest])
        own[~rest] = fuse(meta[~rest], sub[~rest], parents, product_of_experts(exponent), normalize=True)
        print(f"fold {fold}: exponent {exponent:.6f}, fitted on {rest.sum()} photos")
    soft = np.asarray(fuse(meta, sub, parents, rule="soft", normalize=True))
    tables = {}
    for name, probs in {"product of experts": own, "soft fusion": soft, "fine network": sub}.items():
        tables[name] = from_arrays(frame["image"], frame["case_id"], frame["label"], fold_of, probs, taxonomy)
    more = {"synthetic": run is not None and run.synthetic, "seed": given.seed, "out": given.out}
    print(skinjax.evaluate(tables, taxonomy=taxonomy, **more))


if __name__ == "__main__":
    main()
