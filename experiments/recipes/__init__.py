"""Short scripts that show how the pieces compose; each runs in under a minute on a CPU, with no download."""
