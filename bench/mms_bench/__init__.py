"""Measures the exporter and the engine beside their peers, and names the machine it ran on."""
