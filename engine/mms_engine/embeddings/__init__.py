"""Embeddings: hidden states of a model's encoder, for classifiers and search of one's own."""
