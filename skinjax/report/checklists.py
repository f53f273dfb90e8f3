"""Items of two reporting guidelines for studies, and the section of the report that answers each.

- TRIPOD+AI, for models that predict or diagnose: Collins et al., BMJ 385:e078378, 2024,
  doi:10.1136/bmj-2023-078378; 27 items, 52 with their parts.
- CLAIM, 2024 update, for artificial intelligence in medical imaging: Tejani et al., Radiology: Artificial
  Intelligence 6(4):e240300, 2024, doi:10.1148/ryai.240300; 44 items.

Numbers and order are the guidelines'; the topic of an item is given in our own words and shortened, so that
whoever submits a paper fills in the guideline's own form with the help of this one.

A report knows photos, predictions and settings. Patients, clinics, ethics and meaning only the authors know: an
item that asks for these too is answered in part, and what is left is named.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence

import pandas as pd

TRIPOD_AI = "TRIPOD+AI"
CLAIM = "CLAIM 2024"
GUIDELINES = (TRIPOD_AI, CLAIM)
"""The names that `checklist` takes."""

SECTIONS = (
    "summary", "methods", "data", "training", "curves", "roc", "precision_recall", "confusion", "classes",
    "calibration", "decision_curve", "subgroups", "conformal", "malignancy", "readers", "photos",
    "configuration", "limits",
)  # fmt: skip
"""The ids of the report's sections."""

FACTS = {"audit": "data", "partitions": "data", "clusters": "subgroups", "fusion": "methods"}
"""Contents that a section has on some pages only, and its id: findings of an audit, how photos were parted, how the
figures differ between sources, and how several networks answer together."""


@dataclasses.dataclass(frozen=True)
class Item:
    """One item of a reporting guideline.

    Attributes:
      guideline: One of `GUIDELINES`.
      number: As the guideline writes it, such as "12a".
      part: Where it stands in the guideline, such as "Methods: analysis".
      topic: What it asks for, in our own words.
      section: The report's section that answers it, one of `SECTIONS`, or one of `FACTS`; None where only the
        authors can.
      remains: What only the authors can add to that section; empty where it is the whole answer.
    """

    guideline: str
    number: str
    part: str
    topic: str
    section: str | None = None
    remains: str = ""


def items(guideline: str) -> tuple[Item, ...]:
    """Returns the items of a guideline in its order.

    Args:
      guideline: One of `GUIDELINES`.

    Returns:
      52 items of TRIPOD+AI, lettered parts counted singly, or 44 of CLAIM 2024.

    Raises:
      ValueError: Another name.

    Example:
      >>> [item.number for item in items("TRIPOD+AI")][:5]
      ['1', '2', '3a', '3b', '3c']
    """
    if guideline not in _ITEMS:
        raise ValueError(f"guideline must be one of {', '.join(GUIDELINES)}, got {guideline!r}")
    return _ITEMS[guideline]


def blank(what: str = "") -> str:
    """Returns the mark of what only the authors know.

    Args:
      what: What they are asked for; empty where that stands beside the mark.

    Example:
      >>> blank(), blank("why this model was chosen")
      ('[to be filled in by the authors]', '[to be filled in by the authors: why this model was chosen]')
    """
    return f"[to be filled in by the authors: {what}]" if what else "[to be filled in by the authors]"


def checklist(guideline: str, present: Collection[str]) -> pd.DataFrame:
    """Builds a guideline's items, each with the section that answers it and what is left to the authors.

    Args:
      guideline: One of `GUIDELINES`.
      present: The ids of the sections that the report has, of `SECTIONS`, and the `FACTS` that it tells. What a
        missing one would answer is left to the authors. Leave out "configuration" where it does not tell how the
        networks were trained, as with predictions of another program.

    Returns:
      One row per item, in the guideline's order, all columns text: `item` (its number), `topic`, `answered`
      (id of a section, or empty) and `left` (a mark of `blank`, or empty). At least one of the last two is
      not empty; where both are, the section answers in part.

    Raises:
      ValueError: An unknown guideline or section.

    Example:
      >>> checklist("CLAIM 2024", {"data", "partitions"}).iloc[[18, 20, 34]].to_dict("list")["answered"]
      ['data', '', 'data']
    """
    if isinstance(present, str):
        raise ValueError(f"present must be a collection of ids of sections, got the text {present!r}")
    known = (*SECTIONS, *FACTS)
    unknown = sorted(map(repr, set(present) - set(known)))
    if unknown:
        raise ValueError(f"present must hold ids of {', '.join(known)}, got {', '.join(unknown)}")
    rows = []
    for item in items(guideline):
        answered = item.section is not None and item.section in present
        whole = answered and not item.remains
        left = "" if whole else blank(item.remains if answered else "")
        anchor = FACTS.get(item.section, item.section) if answered and item.section else ""
        rows.append((item.number, item.topic, anchor, left))
    return pd.DataFrame(rows, columns=["item", "topic", "answered", "left"], dtype=object)


_Row = tuple[str, str] | tuple[str, str, str] | tuple[str, str, str, str]
"""Number, topic, and perhaps section and what remains."""

# fmt: off
_TRIPOD_AI: dict[str, Sequence[_Row]] = {
    "Title": [
        ("1", "Title: a model is developed or evaluated, for whom, and what it predicts"),
    ],
    "Abstract": [
        ("2", "Abstract, by TRIPOD+AI's own list for abstracts", "summary", "all of it but the main result"),
    ],
    "Introduction": [
        ("3a", "Medical background, diagnosis or prognosis, why the model is needed, models there are"),
        ("3b", "Whom the model is for, who uses it, and at which step of care"),
        ("3c", "Inequalities in health that are known between groups of people"),
        ("4", "Aims: development, evaluation, or both"),
    ],
    "Methods: data": [
        ("5a", "Sources of the data for development and for evaluation, why these, and whom they represent"),
        ("5b", "Dates: first and last patient, end of follow-up"),
    ],
    "Methods: participants": [
        ("6a", "Setting: kind of care, number of centres and where they are"),
        ("6b", "Who could take part"),
        ("6c", "Treatments given, and how the analysis deals with them"),
    ],
    "Methods: data preparation": [
        ("7", "Preparation and quality checks of the data, and whether alike for all groups of people",
         "audit", "what was done to the photos before, and whether alike for all groups"),
    ],
    "Methods: outcome": [
        ("8a", "What is predicted and for when, how it was established, why it, and whether alike for all"),
        ("8b", "Who judged the outcome, where it takes judgement"),
        ("8c", "Whether the outcome was judged blind"),
    ],
    "Methods: predictors": [
        ("9a", "How the first set of predictors was chosen and narrowed down"),
        ("9b", "What each predictor is, and how, when and how blindly it was measured"),
        ("9c", "Who judged the predictors, where they take judgement"),
    ],
    "Methods: sample size": [
        ("10", "How the size of the study came about, and why it is enough"),
    ],
    "Methods: missing data": [
        ("11", "What became of missing data, and why data were left out", "audit",
         "what was missing or left out before the audit, and why"),
    ],
    "Methods: analysis": [
        ("12a", "Which data served for what, and how they were split", "partitions",
         "data that are not in this report, and how they were kept apart"),
        ("12b", "How predictors were scaled or otherwise transformed", "configuration"),
        ("12c", "Kind of model and why, how it was built and tuned, internal validation", "configuration",
         "why this kind of model, and how its settings were tuned"),
        ("12d", "How differences between clusters, such as hospitals or countries, were measured and dealt with",
         "clusters", "which clusters there are, and how the model takes account of them"),
        ("12e", "Measures and plots of performance and why these, and how models are compared", "methods",
         "why these measures"),
        ("12f", "Whether the evaluation led to changes of the model, such as recalibration, and for whom",
         "calibration", "changes other than this calibration"),
        ("12g", "How the predictions that are evaluated were computed", "configuration"),
    ],
    "Methods: class imbalance": [
        ("13", "Whether classes were balanced, how and why, and recalibration after it", "configuration",
         "why"),
    ],
    "Methods: fairness": [
        ("14", "What was done for fairness, and why"),
    ],
    "Methods: model output": [
        ("15", "What the model puts out, and how thresholds were chosen and why", "roc",
         "why this threshold"),
    ],
    "Methods: training and evaluation": [
        ("16", "How setting, patients, outcome and predictors differ between development and evaluation"),
    ],
    "Methods: ethics": [
        ("17", "Ethics committee, and consent or its waiver"),
    ],
    "Open science": [
        ("18a", "Funding, and the funders' part"),
        ("18b", "Conflicts of interest"),
        ("18c", "Where the protocol is, or that there was none"),
        ("18d", "Where the study is registered, or that it is not"),
        ("18e", "Whether the data can be had"),
        ("18f", "Whether the code of the analysis can be had"),
    ],
    "Patient and public involvement": [
        ("19", "What part patients and the public had, or that they had none"),
    ],
    "Results: participants": [
        ("20a", "How participants passed through the study, with and without the outcome", "data",
         "who was seen, who was left out and why, and for how long they were followed"),
        ("20b", "Who they are: demographics, dates, treatments, events and missing data, by source and group",
         "subgroups", "dates, treatments, missing data, and whatever else the manifest lacks"),
        ("20c", "How predictors and outcome are distributed in development and in evaluation", "data",
         "the same for the patients' characteristics"),
    ],
    "Results: model development": [
        ("21", "Participants and events in each analysis", "data", "those of data that are not in this report"),
    ],
    "Results: model specification": [
        ("22", "The model in full, so that others can run it, and what its use is bound to", "configuration",
         "where the trained model can be had, and on what terms"),
    ],
    "Results: model performance": [
        ("23a", "Performance with intervals, for groups that matter too", "methods",
         "which groups matter, and whether the subgroups hold each of them"),
        ("23b", "How performance differs between clusters", "clusters", "clusters other than the photos' sources"),
    ],
    "Results: model updating": [
        ("24", "The changed model, where it was changed, and its performance", "calibration",
         "changes other than this calibration"),
    ],
    "Discussion": [
        ("25", "What the results mean, for fairness too, beside the aims and earlier studies"),
        ("26", "Limitations, and what they do to bias, uncertainty and generalisability", "limits",
         "limitations of this study: who was sampled, how many, and what is missing"),
        ("27a", "In use: what becomes of poor or missing input"),
        ("27b", "In use: what users have to do, and what they have to know"),
        ("27c", "What research should follow, so that the model applies elsewhere"),
    ],
}

_CLAIM: dict[str, Sequence[_Row]] = {
    "Title and abstract": [
        ("1", "Title or abstract: that this is artificial intelligence, and of which kind"),
        ("2", "Abstract: design, methods, results, conclusions", "summary", "all of it but the main result"),
    ],
    "Introduction": [
        ("3", "Scientific or clinical background, intended use and role"),
        ("4", "Aims and hypotheses"),
    ],
    "Methods: study design": [
        ("5", "Prospective or retrospective"),
        ("6", "What the study is for, such as feasibility or superiority"),
    ],
    "Methods: data": [
        ("7", "Where the data come from"),
        ("8", "Who and what was included and excluded"),
        ("9", "Preparation of the images", "configuration",
         "what was done to the photos before they were listed"),
        ("10", "Parts of the data or of the images that were selected, and how"),
        ("11", "How patients were made unrecognisable"),
        ("12", "What became of missing data", "audit",
         "what was missing or left out before the audit, and why"),
        ("13", "How the images were taken"),
    ],
    "Methods: reference standard": [
        ("14", "How the reference standard was obtained"),
        ("15", "Why this reference standard"),
        ("16", "Who annotated, and with what qualification"),
        ("17", "How the test set was annotated"),
        ("18", "How far annotators agree with each other and with themselves"),
    ],
    "Methods: data partitions": [
        ("19", "How data were assigned to partitions", "partitions",
         "data that are not in this report, and how they were kept apart"),
        ("20", "What no two partitions share: photos, lesions or patients", "partitions",
         "the same of data that are not in this report"),
    ],
    "Methods: testing data": [
        ("21", "The sample size aimed at, and why"),
    ],
    "Methods: model": [
        ("22", "The model, from its input to its output", "configuration"),
        ("23", "Software with versions", "configuration"),
        ("24", "What the parameters started from", "configuration"),
    ],
    "Methods: training": [
        ("25", "How it was trained: augmentation, settings, number of networks", "training"),
        ("26", "How the final model was chosen", "configuration"),
        ("27", "How several networks answer together", "fusion"),
    ],
    "Methods: evaluation": [
        ("28", "Measures of performance", "methods", "why these measures"),
        ("29", "How significance and uncertainty were computed", "methods"),
        ("30", "How the results hold under other assumptions and conditions"),
        ("31", "How the model's answers are explained, and how the explanations were tested"),
        ("32", "Evaluation on data of the same source", "partitions",
         "whether these photos come from where the training photos came from"),
        ("33", "Test on data from elsewhere"),
        ("34", "Registration of the trial"),
    ],
    "Results: data": [
        ("35", "How many patients or examinations were included and excluded", "data",
         "how many were excluded, and why"),
        ("36", "Demographic and clinical characteristics in each partition", "subgroups",
         "the same for each partition, and whatever else the manifest lacks"),
    ],
    "Results: model performance": [
        ("37", "Performance with its uncertainty", "methods"),
        ("38", "Diagnostic accuracy and its precision", "roc"),
        ("39", "Analysis of wrong answers", "confusion", "why, as far as the photos show it"),
    ],
    "Discussion": [
        ("40", "Limitations", "limits",
         "limitations of this study: who was sampled, how many, and what is missing"),
        ("41", "What follows for practice: intended use and role"),
    ],
    "Other information": [
        ("42", "Where the protocol or further technical detail is"),
        ("43", "Whether software, trained model and data can be had"),
        ("44", "Funding, and the funders' part"),
    ],
}
# fmt: on

_ITEMS = {
    guideline: tuple(Item(guideline, row[0], part, *row[1:]) for part, rows in parts.items() for row in rows)
    for guideline, parts in ((TRIPOD_AI, _TRIPOD_AI), (CLAIM, _CLAIM))
}
