"""Reference implementations in float64 NumPy: slow, obvious, the oracles of the tests."""
