"""TensorRT plans: choice, loading, shape buckets and execution."""
