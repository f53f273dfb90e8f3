"""Floor 1: manifests, audits, splits, photo decoding, prepared ArrayRecords, Grain loaders and synthetic photos."""
