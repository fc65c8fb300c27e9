"""Roofline: lower bounds on the time of a run on a GPU, from its data sheet."""
