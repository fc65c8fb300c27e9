"""Training of an adapter for a language: its corpus, the examination of it, and the training."""
