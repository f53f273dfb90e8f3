"""Decisions from class probabilities: pure functions of arrays that know no network, loader or checkpoint.

`skinjax.decide.hierarchy` fuses the probabilities of two levels of a taxonomy.
"""
