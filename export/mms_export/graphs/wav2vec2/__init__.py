"""wav2vec 2.0 graphs: frontend, encoder, and streaming step."""
