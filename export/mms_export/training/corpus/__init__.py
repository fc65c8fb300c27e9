"""Corpora of transcribed speech, in the formats in which people have them."""
