"""Tools for tasks that run long: supervision, single flight, backoff, spans, histograms."""
