"""Steps that studies share: options, photos, networks, divisions, reports."""
