"""Text: vocabularies of tokens, and the words they spell."""
