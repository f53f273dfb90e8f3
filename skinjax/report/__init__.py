"""Reports from stored predictions: figures, tables and one page, with neither a model nor a data loader.

`skinjax.report.page.write_report` writes the page; `skinjax.report.figures.canvas` draws on axes of the caller's.
"""
