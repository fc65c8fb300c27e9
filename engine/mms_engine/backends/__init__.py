"""Backends: libraries that run graphs, behind one `Session` protocol."""
