"""Acoustic encoder: samples and languages to logits, for whole utterances and streaming steps."""
