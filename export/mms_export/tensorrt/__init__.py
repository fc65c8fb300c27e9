"""TensorRT plans of a bundle's graphs: built ahead of time for RTX, or on the target itself."""
