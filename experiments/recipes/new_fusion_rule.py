"""A fusion rule of one's own, from stored predictions to the report (beside those of the thesis's section 4.4).

The rule is a product of experts, p_j ~ p^f_j (p^l_l(j))^a. The exponent says how far to believe the coarse one: at 0
the fine network answers alone, 1 is soft fusion. It is fitted by likelihood, for each fold on the other folds.

    python -m experiments.recipes.new_fusion_rule                              # made-up predictions, 10 s
    python -m experiments.recipes.new_fusion_rule --workdir=runs/demo          # those of a run of experiments.hierarchy
"""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from absl import flags
from scipy.optimize import minimize_scalar

from experiments import flags as shared
from experiments import script, stored_run
from skinjax.data.invented import invent_predictions
from skinjax.data.predictions import columns, from_arrays, probabilities, read_predictions
from skinjax.decide.hierarchy import fuse, marginalize
from skinjax.evaluate import bootstrap
from skinjax.labels.taxonomy import Taxonomy, load_taxonomy
from skinjax.report.page import write_report
from skinjax.report.tables import has_network

FLAGS = flags.FLAGS
flags.DEFINE_string("workdir", "", "Folder of a run of experiments.hierarchy.", module_name=shared.SCRIPT)
flags.DEFINE_string("out", "runs/new_fusion_rule", "Folder of the report.", module_name=shared.SCRIPT)
shared.define_run_flags()


@jax.jit
def product_of_experts(meta: jax.Array, sub: jax.Array, parents: jax.Array, exponent: float) -> jax.Array:
    """Fuses float[..., M] and float[..., S], none of them 0, into probabilities float[..., S]."""
    return jax.nn.softmax(jnp.log(sub) + exponent * jnp.log(jnp.take(meta, parents, axis=-1)), axis=-1)


def fit_exponent(meta: np.ndarray, sub: np.ndarray, parents: np.ndarray, labels: np.ndarray) -> float:
    """Returns the exponent in [0, 4] under which the labels int[N] are likeliest."""

    def loss(exponent: float) -> float:
        fused = np.asarray(product_of_experts(meta, sub, parents, exponent))
        return -float(np.log(fused[np.arange(len(labels)), labels]).mean())

    return float(minimize_scalar(loss, bounds=(0, 4), method="bounded").x)


def stored() -> tuple[pd.DataFrame, Taxonomy, bool]:
    """Returns predictions of a fine and a coarse network, their taxonomy, and whether photos are the built-in ones."""
    if FLAGS.workdir:
        run = stored_run.read_run(Path(FLAGS.workdir))
        return read_predictions(run.predictions), run.taxonomy, run.config.get("synthetic") is True
    taxonomy = load_taxonomy("synthetic19")
    fine, other = invent_predictions(taxonomy, 200, skills=(1.8, 1.8), seed=FLAGS.seed)
    coarse = marginalize(probabilities(other, taxonomy), taxonomy.parents("sub", "meta"), 6)
    fine[columns(taxonomy, "meta")] = np.asarray(coarse)
    return fine, taxonomy, False


def main() -> None:
    """Fuses, compares by case and reports."""
    frame, taxonomy, synthetic = stored()
    level = next((one for one in taxonomy.levels[:-1] if has_network(frame, taxonomy, one)), None)
    if level is None:
        raise ValueError(
            f"--workdir={FLAGS.workdir} has no coarser network; experiments.hierarchy trains one"
        )
    sub, meta = (
        np.maximum(probabilities(frame, taxonomy, name), np.finfo(np.float32).tiny)
        for name in (taxonomy.finest, level)
    )
    parents, labels = taxonomy.parents(taxonomy.finest, level), taxonomy.encode(frame["label"])
    fold_of, own, exponents = frame["fold"].to_numpy(), np.empty_like(sub), {}
    for fold in np.unique(fold_of):
        rest, held_out = fold_of != fold, fold_of == fold
        exponents[int(fold)] = fit_exponent(meta[rest], sub[rest], parents, labels[rest])
        own[held_out] = product_of_experts(meta[held_out], sub[held_out], parents, exponents[int(fold)])
        print(f"fold {fold}: exponent {exponents[int(fold)]:.2f}, fitted on {rest.sum()} photos")
    rivals = {"soft fusion": np.asarray(fuse(meta, sub, parents, normalize=True)), "fine network": sub}
    for name, probs in rivals.items():
        calls = own.argmax(axis=1), probs.argmax(axis=1)
        found = bootstrap.paired_by_case(
            bootstrap.accuracy, labels, *calls, frame["case_id"], seed=FLAGS.seed
        )
        print(
            f"accuracy less that of {name}: {found.difference:+.4f} ({found.low:+.4f} to {found.high:+.4f})"
        )

    def table(probs: np.ndarray) -> pd.DataFrame:
        image, case_id, label = (frame[name] for name in ("image", "case_id", "label"))
        return from_arrays(image, case_id, label, fold_of, probs, taxonomy)

    path = write_report(
        FLAGS.out, title="A fusion rule of one’s own", predictions=table(own),
        taxonomy=taxonomy, coarse_level=None, curves=None, photo_root=None, name="product of experts", seed=FLAGS.seed,
        config={"predictions": FLAGS.workdir or "made up", "exponents": exponents, "synthetic": synthetic},
        others={name: table(probs) for name, probs in rivals.items()},
    )  # fmt: skip
    print(f"report: {path}")


if __name__ == "__main__":
    script.run_script(main)
