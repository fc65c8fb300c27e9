// All kernels, as one fatbin; the host compiles the same file for the tests.
#include "align.cu"
#include "frames.cu"
#include "greedy.cu"
