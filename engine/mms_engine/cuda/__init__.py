"""CUDA through pycuda: context, memory, streams, kernels and graphs. Imported on first use."""
