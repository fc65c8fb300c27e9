// Functions that both the host and a CUDA kernel call.
#pragma once

#ifdef __CUDACC__
#define MMS_HD __host__ __device__
#else
#define MMS_HD
#endif
