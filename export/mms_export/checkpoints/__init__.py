"""Reads MMS checkpoints of transformers and fairseq into one form."""
