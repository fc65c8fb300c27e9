"""The demo voice: a synthetic teacher, the training of its text side, and its publication."""
