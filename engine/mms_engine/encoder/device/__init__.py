"""Encoder on TensorRT plans: samples are uploaded, logits and KV caches stay on the device."""
