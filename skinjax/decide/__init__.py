"""Decisions from class probabilities: pure functions of arrays that know no network, loader or checkpoint.

| module | what it decides |
|---|---|
| `hierarchy` | fuses the probabilities of two or more levels of a taxonomy |
| `two_stage` | one disease or not, from the probabilities of many; thresholds |
| `logistic_head` | the same, learnt on validation photos |
| `malignancy` | the probability of a tumour, a reference score and a degree of malignancy |
| `advice` | how soon to see a doctor, and when nothing reassuring may be said |
| `calibrate` | temperature and vector scaling |
| `abstain` | when to give no diagnosis |
| `conformal` | sets of diagnoses that hold the true one as often as asked for |
| `pooling` | one distribution from the photos of a case, and how far they disagree |

What is applied to photos takes and gives `jax.numpy` arrays with any leading axes, under `jit` and `vmap` as
well. What is fitted (names with `fit_`) runs on the host in float64, gives plain numbers or a frozen
dataclass, and needs validation photos: cases of which no photo was trained on, and none is tested on.
"""
