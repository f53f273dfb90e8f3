"""Photos as files: decoding, quality and near-duplicates."""
