"""TensorRT plans, built ahead of time for RTX, or on the target itself."""
