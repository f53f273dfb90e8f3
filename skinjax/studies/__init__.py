"""Floor 6: the studies, a module each, with a frozen `Config`, a function `run` and a frozen `Result`.

    from skinjax.studies import hierarchy
    result = hierarchy.run(photos, hierarchy.Config(backbone="efficientnet_b0"), "runs/mine")

A study reads no flag and no global; it reports its progress by `logging` (logger "skinjax") and on standard error, and
returns its result. The same arguments again resume a run that was stopped, or read the result of one that is finished.

| study | question | thesis |
|---|---|---|
| `training` | how good is one network on one split or fold? | 3, 4 |
| `backbones` | which network is best on one split of cases? | 2, 3.2 |
| `two_stage` | is one disease told better by a network of all diseases, or by networks of that one and the rest? | 3 |
| `hierarchy` | do a coarser network and fusion help? | 4 |
| `evolution` | which hyper-parameters suit these photos? | 4.2.2 |
| `malignancy` | how malignant is a tumour, and which cancers were graded too low? | 5 |
| `cross_dataset` | what does a network lose on another population? | 2 |
| `features` | a vector per photo, by a network as it is | 4.3 |
| `probe` | how good are heads on such vectors, of any network? | 4 |
| `evaluation` | how good are anybody's predictions? | all |
| `reader_kit` | photos for readers, blinded, and a page to answer on | 3 |
| `prediction` | what are these photos? | all |
| `app` | the same on a page in the browser | 5 |
| `export` | networks of a run for other programs and people | all |
| `audit` | what is wrong with these photos and their table? | 2 |
| `preview` | how do photos look under the augmentation of a training? | 4.1 |
| `preparation` | decodes photos once, for several runs | 2 |
"""

from __future__ import annotations

import importlib
from types import ModuleType

STUDIES = (
    "training", "backbones", "two_stage", "hierarchy", "evolution", "malignancy", "cross_dataset", "features",
    "probe", "evaluation", "reader_kit", "prediction", "app", "export", "audit", "preparation", "preview",
)  # fmt: skip
"""Names of the studies, which are those of their modules."""

__all__ = ["STUDIES"]


def __getattr__(name: str) -> ModuleType:
    """Imports a study where it is first asked for."""
    if name in STUDIES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *STUDIES])
