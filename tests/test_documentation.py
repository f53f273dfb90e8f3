"""Every public name says what it is."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil

import pytest

import skinjax
from benchmarks import picture
from skinjax import studies
from skinjax.runs import RunFolder
from skinjax.runs.options import Options, details, option_types
from skinjax.studies.result import StudyResult
from tests.support.commands import run_python

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


@pytest.mark.parametrize("path", [picture.PICTURE, picture.APP_PICTURE], ids=lambda path: path.name)
def test_the_pictures_of_the_readme_are_of_the_demo_as_it_is(path):
    """Where this fails, the demo's settings have changed: run it, then `benchmarks.picture` and `.app_picture`."""
    assert picture.settings_of(path) == picture.demo_settings()


def test_the_contract_of_names_holds():
    """The names that other people's code imports (those of the parts that exist)."""
    contract = {
        "skinjax.labels.taxonomy": ["load_taxonomy", "catalogue", "Taxonomy"],
        "skinjax.data.manifest": ["read_manifest"],
        "skinjax.data.audit": ["audit_manifest", "AuditReport"],
        "skinjax.data.split": ["split_by_case", "kfold_by_case"],
        "skinjax.models.registry": ["list_models", "create", "spec"],
        "skinjax.models.pixels": ["normalize"],
        "skinjax.models.ops.depthwise": ["depthwise_conv"],
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
        "skinjax.runs": ["RunFolder"],
        "skinjax.data.photo_set": ["PhotoSet", "read_photos"],
        "skinjax": [
            "PhotoSet", "read_photos", "synthetic_photos", "create", "spec", "list_models", "load_pretrained",
            "load_run", "load_taxonomy", "fuse", "evaluate", "studies",
        ],
    }  # fmt: skip
    for module, names in contract.items():
        loaded = importlib.import_module(module)
        assert [name for name in names if not hasattr(loaded, name)] == [], module


def test_the_top_level_has_its_names_and_no_other():
    assert [name for name in skinjax.__all__ if name not in dir(skinjax)] == []
    for name in skinjax.__all__:
        assert (inspect.getdoc(getattr(skinjax, name)) or "").strip(), name
    with pytest.raises(AttributeError, match="module 'skinjax' has no attribute 'nosuch'"):
        skinjax.nosuch  # noqa: B018


@pytest.mark.parametrize("first", ["skinjax.evaluate", "import skinjax.evaluate.roc"])
def test_evaluate_is_a_function_and_a_package_whichever_is_asked_for_first(first):
    code = (
        f"import skinjax\n{first}\n"
        "import skinjax.evaluate.roc as module\nassert module is skinjax.evaluate.roc\n"
        "import inspect\nprint(callable(skinjax.evaluate), *inspect.signature(skinjax.evaluate).parameters)"
    )
    assert (
        run_python("-c", code).stdout == "True predictions taxonomy target out photo_root synthetic options\n"
    )


@pytest.mark.parametrize("name", studies.STUDIES)
def test_every_study_is_a_configuration_a_function_and_a_result(name):
    study = getattr(studies, name)
    assert [field.name for field in dataclasses.fields(study.Config) if field.kw_only is False] == []
    for kind in (study.Config, study.Result):
        assert kind.__dataclass_params__.frozen
    assert issubclass(study.Config, Options)
    assert issubclass(study.Result, StudyResult)
    assert all(details(study.Config, option).help for option in option_types(study.Config))
    arguments = inspect.signature(study.run).parameters
    first = "predictions" if name == "evaluation" else "photos"
    assert list(arguments)[:3] == [first, "config", "workdir"]
    assert all(one.kind is one.KEYWORD_ONLY for one in list(arguments.values())[3:])
    assert study.run.__module__ == study.__name__
    assert callable(study.Result._repr_html_)


def test_the_run_folder_has_its_names():
    names = ["open", "read", "finished", "predictions", "networks"]
    assert [name for name in names if not (inspect.getdoc(getattr(RunFolder, name)) or "").strip()] == []


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
        ("skinjax.models.ops.depthwise.depthwise_conv", ["x", "kernel", "strides", "padding"]),
        ("skinjax.models.transfer.transfer", ["source_variables", "target_variables", "blocks", "spec"]),
        ("skinjax.models.registry.create", ["name", "num_classes"]),
        ("skinjax.models.pixels.normalize", ["images", "spec"]),
        ("skinjax.models.pretrained.load_pretrained", ["name", "path", "num_classes"]),
        ("skinjax.decide.hierarchy.marginalize", ["sub_probs", "parents", "num_parents"]),
        ("skinjax.predict.load.load_run", ["workdir"]),
        ("skinjax.runs.folder.RunFolder.open", ["path", "study", "config"]),
        ("skinjax.read_photos", ["manifest", "dataset", "source", "taxonomy"]),
        ("skinjax.evaluate", ["predictions", "taxonomy", "target"]),
        ("skinjax.data.photo_set.PhotoSet.prepare", ["self", "folder", "image_size"]),
        ("skinjax.train.schedules.thesis_schedule", ["lr0", "lrf", "burn_in", "total_steps", "decay"]),
        ("skinjax.train.optimizers.sgd_momentum", ["schedule", "momentum", "weight_decay", "decay"]),
    ],
)
def test_the_order_of_arguments_is_law(path, first):
    function = pkgutil.resolve_name(path)
    assert list(inspect.signature(function).parameters)[: len(first)] == first
