"""Every public name says what it is."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import pytest

import skinjax

MODULES = sorted(module.name for module in pkgutil.walk_packages(skinjax.__path__, "skinjax."))


@pytest.mark.parametrize("name", MODULES)
def test_every_public_name_is_documented(name):
    module = importlib.import_module(name)
    assert (module.__doc__ or "").strip(), f"{name} has no docstring"
    undocumented = []
    for attribute, value in vars(module).items():
        if attribute.startswith("_") or getattr(value, "__module__", None) != name:
            continue
        if not (inspect.isfunction(value) or inspect.isclass(value)):
            continue
        if not (inspect.getdoc(value) or "").strip():
            undocumented.append(f"{name}.{attribute}")
        if inspect.isclass(value):
            undocumented += [
                f"{name}.{attribute}.{method}"
                for method, function in vars(value).items()
                if inspect.isfunction(function)
                and not method.startswith("_")
                and not inspect.getdoc(function)
            ]
    assert undocumented == []


def test_the_contract_of_names_holds():
    """The names that other people's code imports (those of the parts that exist)."""
    contract = {
        "skinjax.labels.taxonomy": ["load_taxonomy", "catalogue", "Taxonomy"],
        "skinjax.data.manifest": ["read_manifest"],
        "skinjax.data.audit": ["audit_manifest", "AuditReport"],
        "skinjax.data.split": ["split_by_case", "kfold_by_case"],
        "skinjax.models.registry": ["list_models", "create", "spec"],
        "skinjax.models.pixels": ["normalize"],
        "skinjax.models.depthwise": ["depthwise_conv"],
        "skinjax.models.pretrained": ["load_pretrained"],
        "skinjax.models.transfer": ["transfer", "TransferReport"],
        "skinjax.augment": ["augment", "Strengths"],
        "skinjax.decide.hierarchy": ["fuse", "marginalize"],
        "skinjax.decide.two_stage": ["target_score", "binarize"],
        "skinjax.decide.malignancy": [
            "degree_probabilities",
            "reference_score",
            "grade",
            "fit_cutpoints",
        ],
        "skinjax.decide.calibrate": ["fit_temperature"],
        "skinjax.evaluate.roc": ["roc_curve", "auc", "youden", "OperatingPoint", "sensitivity_at"],
        "skinjax.evaluate.delong": ["auc_interval", "compare", "AucInterval", "AucComparison"],
        "skinjax.evaluate.readers": ["reader_points", "compare_with_readers"],
        "skinjax.evolve": ["Gene", "mutate", "select_parents", "evolve"],
        "skinjax.train.schedules": ["burn_in", "thesis_schedule"],
        "skinjax.train.optimizers": ["sgd_momentum"],
        "skinjax.evaluate.confusion": ["confusion_matrix", "summary", "top_k"],
        "skinjax.evaluate.bootstrap": ["by_case", "paired_by_case"],
        "skinjax.predict.load": ["load_run"],
    }
    for module, names in contract.items():
        loaded = importlib.import_module(module)
        assert [name for name in names if not hasattr(loaded, name)] == [], module


@pytest.mark.parametrize(
    ("path", "first"),
    [
        ("skinjax.augment.augment", ["key", "images", "strengths"]),
        ("skinjax.data.split.kfold_by_case", ["labels", "cases", "folds", "seed"]),
        ("skinjax.data.split.split_by_case", ["labels", "cases", "ratios", "seed"]),
        ("skinjax.decide.hierarchy.fuse", ["meta_probs", "sub_probs", "parents", "rule", "normalize"]),
        (
            "skinjax.evaluate.bootstrap.by_case",
            ["metric", "arrays", "cases", "replicates", "confidence", "seed"],
        ),
        (
            "skinjax.evaluate.bootstrap.paired_by_case",
            ["metric", "labels", "a", "b", "cases", "replicates", "confidence", "seed"],
        ),
        ("skinjax.evaluate.delong.auc_interval", ["labels", "scores", "confidence", "cases"]),
        ("skinjax.evaluate.delong.compare", ["labels", "scores_a", "scores_b", "cases"]),
        ("skinjax.evaluate.roc.sensitivity_at", ["labels", "scores", "specificity"]),
        ("skinjax.evaluate.readers.reader_points", ["labels", "calls"]),
        ("skinjax.evaluate.readers.compare_with_readers", ["labels", "scores", "calls"]),
        ("skinjax.decide.two_stage.target_score", ["probs", "target", "rule"]),
        ("skinjax.decide.two_stage.binarize", ["scores", "threshold"]),
        (
            "skinjax.decide.malignancy.degree_probabilities",
            ["probs", "degree_of_class", "num_degrees"],
        ),
        ("skinjax.decide.malignancy.reference_score", ["degree_probs", "values"]),
        ("skinjax.decide.malignancy.grade", ["degree_probs", "rule", "cutpoints", "cost"]),
        ("skinjax.decide.malignancy.fit_cutpoints", ["scores", "degrees", "cost"]),
        ("skinjax.decide.calibrate.fit_temperature", ["logits", "labels"]),
        ("skinjax.evolve.evolve", ["fitness", "genes", "generations"]),
        (
            "skinjax.evolve.mutate",
            ["rng", "genes", "values", "probability", "sigma", "shared_factor"],
        ),
        ("skinjax.evolve.Gene", ["name", "start", "low", "high", "gain"]),
        ("skinjax.models.depthwise.depthwise_conv", ["x", "kernel", "strides", "padding"]),
        ("skinjax.models.transfer.transfer", ["source_variables", "target_variables", "blocks", "spec"]),
        ("skinjax.train.schedules.thesis_schedule", ["lr0", "lrf", "burn_in", "total_steps", "decay"]),
        ("skinjax.train.optimizers.sgd_momentum", ["schedule", "momentum", "weight_decay", "decay"]),
    ],
)
def test_the_order_of_arguments_is_law(path, first):
    module, name = path.rsplit(".", 1)
    function = getattr(importlib.import_module(module), name)
    assert list(inspect.signature(function).parameters)[: len(first)] == first
