"""Forced alignment: the times of a text's words in an audio, and where the two differ."""
