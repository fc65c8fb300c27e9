// All kernels, as one fatbin; the host compiles the same file for the tests.
#include "align.cu"
#include "beam.cu"
#include "beam_results.cu"
#include "beam_tokens.cu"
#include "frames.cu"
#include "greedy.cu"
