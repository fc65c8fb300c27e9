"""Encoder on graphs whose inputs and outputs are host arrays."""
