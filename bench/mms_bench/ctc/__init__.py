"""What the measurements of the CTC kernels are made of: posteriors, a language, scores."""
