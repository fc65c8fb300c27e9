"""Graphs of VITS: text to prior and durations, flow, decoder; the voice is among their inputs."""
