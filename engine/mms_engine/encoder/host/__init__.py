"""Encoder on graphs whose inputs and outputs are arrays of the host."""
