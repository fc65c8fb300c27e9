"""Tasks: the graphs, data files and parity check of each kind of model."""
