"""Triton model repository: a bundle's graphs, and models that host the engine (docs/triton.md)."""
