"""Benchmarks of the exporter, the engine and the kernels beside their peers."""
