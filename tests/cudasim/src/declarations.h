// Types and numbers of the driver's public interface, as in the reference manual. Handles are
// integers of a pointer's size, enumerations are int.
#pragma once

#include <cstddef>
#include <cstdint>

#define CUDASIM_API extern "C" __attribute__((visibility("default")))

namespace cudasim {

using Result = int;
using Handle = std::uint64_t;
using DevicePtr = unsigned long long;
using DeviceId = int;

namespace code {
enum : Result {
  kSuccess = 0,
  kInvalidValue = 1,
  kOutOfMemory = 2,
  kNotInitialized = 3,
  kInvalidDevice = 101,
  kInvalidImage = 200,
  kInvalidContext = 201,
  kNoBinaryForGpu = 209,
  kInvalidHandle = 400,
  kNotFound = 500,
  kNotReady = 600,
  kIllegalAddress = 700,
  kLaunchFailed = 719,
  kNotPermitted = 800,
  kNotSupported = 801,
  kCaptureUnsupported = 900,
  kCaptureInvalidated = 901,
  kCaptureUnmatched = 903,
  kCaptureIsolation = 905,
  kUnknown = 999,
};
}  // namespace code

/// The one device: compute capability 8.6, with the dynamic shared memory of such a block.
constexpr DeviceId kDevice = 0;
constexpr int kCapability = 86;
constexpr std::size_t kSharedOptIn = 99U << 10U;
constexpr std::size_t kDeviceBytes = 8ULL << 30U;

constexpr Handle kNullStream = 0;
constexpr unsigned kStreamNonBlocking = 1;
constexpr int kCaptureThreadLocal = 1;

/// CUDA_MEMCPY2D.
struct Copy2D {
  std::size_t src_x_bytes;
  std::size_t src_y;
  int src_type;
  const void* src_host;
  DevicePtr src_device;
  Handle src_array;
  std::size_t src_pitch;
  std::size_t dst_x_bytes;
  std::size_t dst_y;
  int dst_type;
  void* dst_host;
  DevicePtr dst_device;
  Handle dst_array;
  std::size_t dst_pitch;
  std::size_t width_bytes;
  std::size_t height;
};
constexpr int kHostMemory = 1;    ///< Of src_type and dst_type.
constexpr int kDeviceMemory = 2;  ///< Of src_type and dst_type.

/// Keys of the `extra` parameters of cuLaunchKernel.
inline void* const kLaunchParamEnd = nullptr;
inline void* const kLaunchParamPointer = reinterpret_cast<void*>(1);
inline void* const kLaunchParamSize = reinterpret_cast<void*>(2);

}  // namespace cudasim
