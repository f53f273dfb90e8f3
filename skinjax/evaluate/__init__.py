"""Evaluation of stored predictions: pure numpy functions that know no network, loader or checkpoint.

Intervals and tests are by case: the photos of a case resemble each other, so cases are what was sampled.

- Classes: `confusion` counts and summarises, `agreement` has kappa, `mcnemar` compares two models' answers.
- Scores: `roc`, `delong`, `precision_recall`, `multiclass`; `readers` holds a model against people.
- Probabilities: `calibration`, `decision_curve`.
- Several trainings under different seeds: `training_runs`; folds and random splits: `folds`.
- Groups of people: `subgroups`.
- Any figure: `metrics` has those that `bootstrap` puts intervals and paired tests on; `proportions` has Wilson's.
"""
