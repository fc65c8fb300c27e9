"""Vocabularies of tokens, and the text they spell."""
