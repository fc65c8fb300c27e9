// What the double needs of the driver's public interface: names and numbers as in the reference
// manual. Handles are integers of a pointer's size, enumerations are int.
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
  kNoDevice = 100,
  kInvalidDevice = 101,
  kInvalidImage = 200,
  kInvalidContext = 201,
  kNoBinaryForGpu = 209,
  kFileNotFound = 301,
  kInvalidHandle = 400,
  kNotFound = 500,
  kNotReady = 600,
  kIllegalAddress = 700,
  kLaunchOutOfResources = 701,
  kPrimaryContextActive = 708,
  kHostMemoryAlreadyRegistered = 712,
  kHostMemoryNotRegistered = 713,
  kLaunchFailed = 719,
  kNotPermitted = 800,
  kNotSupported = 801,
  kCaptureUnsupported = 900,
  kCaptureInvalidated = 901,
  kCaptureMerge = 902,
  kCaptureUnmatched = 903,
  kCaptureUnjoined = 904,
  kCaptureIsolation = 905,
  kCaptureImplicit = 906,
  kCapturedEvent = 907,
  kCaptureWrongThread = 908,
  kUnknown = 999,
};
}  // namespace code

/// Handles that stand for the default stream.
constexpr Handle kNullStream = 0;
constexpr Handle kLegacyStream = 1;
constexpr Handle kPerThreadStream = 2;

constexpr unsigned kStreamNonBlocking = 1;
constexpr unsigned kEventDisableTiming = 2;

enum CaptureMode : int { kCaptureGlobal = 0, kCaptureThreadLocal = 1, kCaptureRelaxed = 2 };
enum CaptureStatus : int { kCaptureNone = 0, kCaptureActive = 1, kCaptureWasInvalidated = 2 };

enum MemoryType : int { kHostMemory = 1, kDeviceMemory = 2, kArrayMemory = 3, kUnifiedMemory = 4 };

/// CUDA_MEMCPY2D.
struct Copy2D {
  std::size_t src_x_bytes;
  std::size_t src_y;
  MemoryType src_type;
  const void* src_host;
  DevicePtr src_device;
  Handle src_array;
  std::size_t src_pitch;
  std::size_t dst_x_bytes;
  std::size_t dst_y;
  MemoryType dst_type;
  void* dst_host;
  DevicePtr dst_device;
  Handle dst_array;
  std::size_t dst_pitch;
  std::size_t width_bytes;
  std::size_t height;
};

/// Keys of the `extra` parameters of cuLaunchKernel.
inline void* const kLaunchParamEnd = nullptr;
inline void* const kLaunchParamPointer = reinterpret_cast<void*>(1);
inline void* const kLaunchParamSize = reinterpret_cast<void*>(2);

}  // namespace cudasim
