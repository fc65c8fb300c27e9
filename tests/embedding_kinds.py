"""Kinds of models whose hidden states are tested."""

KINDS = ("pretrained", "bare", "adapted", "asr", "plain", "lid")
LAYERS = 3
