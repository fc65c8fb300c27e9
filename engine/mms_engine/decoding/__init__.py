"""CTC decoding: logits to hypotheses, and hypotheses to transcripts."""
