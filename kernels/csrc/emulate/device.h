// CUDA vocabulary for the host compiler, against which tests compile the .cu files.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "block.h"
#include "checked.h"

#define __global__
#define __device__
#define __host__
#define __launch_bounds__(...)

namespace mms::emulate {

/// threadIdx and the like: fields evaluated when read.
template <unsigned (*kRead)()>
struct Field {
  operator unsigned() const { return kRead(); }
};
inline unsigned thread_x() { return Block::current().thread(); }
inline unsigned block_x() { return Block::current().index().x; }
inline unsigned block_y() { return Block::current().index().y; }
inline unsigned block_size() { return Block::current().shape().block.x; }

struct Thread {
  Field<thread_x> x;
};
struct Index {
  Field<block_x> x;
  Field<block_y> y;
};
struct Size {
  Field<block_size> x;
};

template <typename T>
std::uint64_t to_bits(T value) {
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  return bits;
}

template <typename T>
T from_lane(const char* operation, std::uint32_t mask, T value, unsigned source, const Site& site) {
  static_assert(sizeof(T) <= sizeof(std::uint64_t));
  const Lanes lanes = Block::current().exchange(operation, mask, to_bits(value), site);
  if ((mask >> source & 1U) == 0) {
    throw Fault(std::string(operation) + " reads lane " + std::to_string(source) +
                ", which is not in the mask");
  }
  T result;
  std::memcpy(&result, &lanes[source], sizeof result);
  return result;
}

}  // namespace mms::emulate

namespace mms::cuda {

using emulate::Checked;
using emulate::Site;

inline constexpr emulate::Thread threadIdx;
inline constexpr emulate::Index blockIdx;
inline constexpr emulate::Size blockDim;

inline void __syncthreads(const Site& site = Site::current()) {
  emulate::Block::current().barrier(false, site);
}
inline int __syncthreads_count(int flag, const Site& site = Site::current()) {
  return emulate::Block::current().barrier(flag != 0, site);
}
inline void __syncwarp(std::uint32_t mask = ~0U, const Site& site = Site::current()) {
  emulate::Block::current().sync_warp(mask, site);
}

template <typename T>
T __shfl_sync(std::uint32_t mask, T value, int lane, const Site& site = Site::current()) {
  const auto source = static_cast<unsigned>(lane) % emulate::kWarp;
  return emulate::from_lane("__shfl_sync", mask, value, source, site);
}
template <typename T>
T __shfl_xor_sync(std::uint32_t mask, T value, int bits, const Site& site = Site::current()) {
  const unsigned source = (threadIdx.x ^ static_cast<unsigned>(bits)) % emulate::kWarp;
  return emulate::from_lane("__shfl_xor_sync", mask, value, source, site);
}
template <typename T>
T __shfl_up_sync(std::uint32_t mask, T value, unsigned delta, const Site& site = Site::current()) {
  const unsigned lane = threadIdx.x % emulate::kWarp;
  const unsigned source = lane >= delta ? lane - delta : lane;
  return emulate::from_lane("__shfl_up_sync", mask, value, source, site);
}
inline std::uint32_t __ballot_sync(std::uint32_t mask,
                                   int flag,
                                   const Site& site = Site::current()) {
  const auto lanes =
      emulate::Block::current().exchange("__ballot_sync", mask, flag != 0 ? 1U : 0U, site);
  std::uint32_t bits = 0;
  for (unsigned lane = 0; lane < emulate::kWarp; ++lane) {
    bits |= static_cast<std::uint32_t>(lanes[lane]) << lane;
  }
  return bits;
}
inline int __any_sync(std::uint32_t mask, int flag, const Site& site = Site::current()) {
  return __ballot_sync(mask, flag, site) != 0 ? 1 : 0;
}

inline int __ffs(std::int32_t bits) {
  return bits == 0 ? 0 : std::countr_zero(static_cast<std::uint32_t>(bits)) + 1;
}
inline int __popc(std::uint32_t bits) { return std::popcount(bits); }
inline float __uint_as_float(std::uint32_t bits) { return std::bit_cast<float>(bits); }
inline std::uint32_t __float_as_uint(float value) { return std::bit_cast<std::uint32_t>(value); }
inline long long __double_as_longlong(double value) { return std::bit_cast<long long>(value); }
inline double __longlong_as_double(long long value) { return std::bit_cast<double>(value); }

template <typename T>
T atomic_add(const Checked<T>& array, std::int64_t index, T value) {
  return array.exchange(index, [&](T before) { return before + value; });
}
template <typename T>
T atomic_exchange(const Checked<T>& array, std::int64_t index, T value) {
  return array.exchange(index, [&](T) { return value; });
}

/// Global memory shared by the threads of a block.
template <typename T>
Checked<T> checked(T* data, std::int64_t size) {
  return Checked<T>(data, size);
}
template <typename T>
Checked<T> part(const Checked<T>& array, std::int64_t offset, std::int64_t size) {
  return array.part(offset, size);
}
template <typename T>
Checked<T> dynamic_shared(std::int64_t offset, std::int64_t count) {
  return Checked<T>(emulate::Block::current().dynamic_shared(
      static_cast<std::size_t>(offset), static_cast<std::size_t>(count), sizeof(T)));
}
template <typename T>
Checked<T> static_shared(std::int64_t count, const Site& site = Site::current()) {
  return Checked<T>(
      emulate::Block::current().static_shared(static_cast<std::size_t>(count), sizeof(T), site));
}

}  // namespace mms::cuda

#define MMS_SHARED(type, name, count) const auto name = ::mms::cuda::static_shared<type>(count)
