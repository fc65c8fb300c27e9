"""CUDA by pycuda: context, memory, streams, kernels and graphs. Nothing is imported before use."""
