"""Measuring: worker processes, interleaved timing, correctness checks, result files."""
