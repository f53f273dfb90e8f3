"""Measurements, each `python -m benchmarks.<name>`; what they came to lies in `results/`."""
