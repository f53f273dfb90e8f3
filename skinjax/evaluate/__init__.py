"""How good stored predictions are: pure numpy functions that know no network, loader or checkpoint.

`skinjax.evaluate.confusion` counts and summarises; `skinjax.evaluate.bootstrap` puts intervals and paired
tests on any metric by resampling cases, never photos.
"""
