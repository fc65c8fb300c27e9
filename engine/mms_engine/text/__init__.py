"""Text: vocabularies of tokens, and any text in their letters, with source offsets."""
