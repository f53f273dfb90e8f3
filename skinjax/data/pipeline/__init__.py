"""From photos to batches: decoded once into ArrayRecord, then shuffled and batched."""
