"""Names of diagnoses and how they nest: the hierarchy of classes that everything else speaks in.

`skinjax.labels.taxonomy` holds the `Taxonomy` type and its loader; the JSON files in `catalogue/` are the
hierarchies of public data sets, each with its source and licence. Needs numpy alone.
"""
