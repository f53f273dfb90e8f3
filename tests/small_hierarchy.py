"""Runs `experiments.hierarchy` with a network that compiles fast, for tests of the experiment and not of the network.

python -m tests.small_hierarchy --backbone=small --flag=value ...
"""

from __future__ import annotations

from typing import Any

from experiments import hierarchy, workdir
from skinjax.models.registry import ModelSpec, register
from tests.fitting import Small

SPEC = ModelSpec(
    name="small", family="small", image_size=32, mean=(0.5,) * 3, std=(0.25,) * 3, feature_width=8, bn_epsilon=1e-3,
    bn_momentum=0.9, padding="SAME", stem=("stem", "stem_norm"), block_names=("depthwise", "norm"), top=(), head="head",
    dropout_rate=0.2, drop_path_rate=0.2, paper="none", weights="none",
)  # fmt: skip


def build(spec: ModelSpec, num_classes: int, *, axis_name: str | None, **_: Any) -> Small:
    return Small(num_classes, axis_name)


if __name__ == "__main__":
    register({"small": SPEC}, build)
    workdir.run_script(hierarchy.main)
