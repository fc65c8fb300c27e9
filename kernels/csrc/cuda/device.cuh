// Device vocabulary of the kernels. Arrays shared by threads are Checked<T>: a plain pointer here;
// in the host emulation of the tests (../emulate/device.h), an array that checks bounds and races.
#pragma once

#include <cstdint>

#if defined(__CUDACC__)

namespace mms::cuda {

template <typename T>
using Checked = T*;

/// Global memory shared by the threads of a block.
template <typename T>
__device__ inline Checked<T> checked(T* data, std::int64_t) {
  return data;
}

/// Subarray of `size` elements from `offset` on.
template <typename T>
__device__ inline T* part(T* array, std::int64_t offset, std::int64_t) {
  return array + offset;
}

/// Dynamic shared memory of the launch from byte `offset` on.
template <typename T>
__device__ inline Checked<T> dynamic_shared(std::int64_t offset, std::int64_t) {
  extern __shared__ __align__(16) unsigned char mms_dynamic_shared[];
  return reinterpret_cast<T*>(mms_dynamic_shared + offset);
}

template <typename T>
__device__ inline T atomic_add(T* array, std::int64_t index, T value) {
  return atomicAdd(array + index, value);
}
template <typename T>
__device__ inline T atomic_exchange(T* array, std::int64_t index, T value) {
  return atomicExch(array + index, value);
}

}  // namespace mms::cuda

#define MMS_SHARED(type, name, count) __shared__ type name[count]

#else
#include "../emulate/device.h"
#endif

namespace mms::cuda {

constexpr std::uint32_t kAllLanes = 0xFFFFFFFFU;
constexpr int kWarpSize = 32;
constexpr float kInfinity = __builtin_huge_valf();
constexpr double kNever = -__builtin_huge_val();  // log 0

__device__ inline int lane_id() { return static_cast<int>(threadIdx.x) % kWarpSize; }
__device__ inline int warp_id() { return static_cast<int>(threadIdx.x) / kWarpSize; }
__device__ inline int thread_id() { return static_cast<int>(threadIdx.x); }
__device__ inline int block_threads() { return static_cast<int>(blockDim.x); }

__device__ inline double warp_max(double value) {
  for (int step = kWarpSize / 2; step > 0; step /= 2) {
    const double other = __shfl_xor_sync(kAllLanes, value, step);
    value = other > value ? other : value;
  }
  return value;
}

/// Sum over a warp in a fixed order, so that the bits are reproducible.
template <typename T>
__device__ inline T warp_sum(T value) {
  for (int step = kWarpSize / 2; step > 0; step /= 2) {
    value += __shfl_xor_sync(kAllLanes, value, step);
  }
  return value;
}

/// For a whole block; every thread gets the result.
__device__ inline double block_max(double value) {
  MMS_SHARED(double, of_warps, 32);
  value = warp_max(value);
  if (lane_id() == 0) of_warps[warp_id()] = value;
  __syncthreads();
  double result = of_warps[0];
  for (int warp = 1; warp < block_threads() / kWarpSize; ++warp) {
    const double other = of_warps[warp];
    result = other > result ? other : result;
  }
  __syncthreads();
  return result;
}

__device__ inline double block_sum(double value) {
  MMS_SHARED(double, of_warps, 32);
  value = warp_sum(value);
  if (lane_id() == 0) of_warps[warp_id()] = value;
  __syncthreads();
  double result = 0.0;
  for (int warp = 0; warp < block_threads() / kWarpSize; ++warp) result += of_warps[warp];
  __syncthreads();
  return result;
}

}  // namespace mms::cuda
