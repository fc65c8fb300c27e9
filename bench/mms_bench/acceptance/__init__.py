"""Acceptance: what the engine makes of MMS's own checkpoints, against published results."""
