"""MMS checkpoints of transformers and fairseq, read into one form."""
