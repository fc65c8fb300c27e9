// All kernels in one translation unit, for one fatbin; the host build of the tests includes it too.
#include "align.cu"
#include "beam/choose.cu"
#include "beam/decoder.cu"
#include "beam/results.cu"
#include "frame.cu"
#include "greedy.cu"
