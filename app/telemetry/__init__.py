"""The metric catalogue, the Prometheus page, tracing and the trouble log."""
