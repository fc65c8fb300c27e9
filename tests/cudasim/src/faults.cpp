#include "faults.h"

#include <cstdio>
#include <cstdlib>
#include <sstream>

#include "simulator.h"

namespace cudasim {
namespace {

struct Named {
  Result code;
  const char* name;
  const char* text;
};

constexpr Named kNames[] = {
    {code::kSuccess, "CUDA_SUCCESS", "no error"},
    {code::kInvalidValue, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {code::kOutOfMemory, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {code::kNotInitialized, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {46, "CUDA_ERROR_DEVICE_UNAVAILABLE", "CUDA-capable device(s) is/are busy or unavailable"},
    {code::kNoDevice, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {code::kInvalidDevice, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {code::kInvalidImage, "CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid"},
    {code::kInvalidContext, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {code::kNoBinaryForGpu,
     "CUDA_ERROR_NO_BINARY_FOR_GPU",
     "no kernel image is available for execution on the device"},
    {214, "CUDA_ERROR_ECC_UNCORRECTABLE", "uncorrectable ECC error encountered"},
    {222, "CUDA_ERROR_UNSUPPORTED_PTX_VERSION", "PTX compiled with an unsupported toolchain"},
    {code::kFileNotFound, "CUDA_ERROR_FILE_NOT_FOUND", "file not found"},
    {code::kInvalidHandle, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {code::kNotFound, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {code::kNotReady, "CUDA_ERROR_NOT_READY", "device not ready"},
    {code::kIllegalAddress,
     "CUDA_ERROR_ILLEGAL_ADDRESS",
     "an illegal memory access was encountered"},
    {code::kLaunchOutOfResources,
     "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES",
     "too many resources requested for launch"},
    {702, "CUDA_ERROR_LAUNCH_TIMEOUT", "the launch timed out and was terminated"},
    {code::kPrimaryContextActive,
     "CUDA_ERROR_PRIMARY_CONTEXT_ACTIVE",
     "cannot set while device is active in this process"},
    {code::kHostMemoryAlreadyRegistered,
     "CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED",
     "part or all of the requested memory range is already mapped"},
    {code::kHostMemoryNotRegistered,
     "CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED",
     "pointer does not correspond to a registered memory region"},
    {code::kLaunchFailed, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
    {code::kNotPermitted, "CUDA_ERROR_NOT_PERMITTED", "operation not permitted"},
    {code::kNotSupported, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"},
    {803,
     "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH",
     "system has unsupported display driver / cuda driver combination"},
    {code::kCaptureUnsupported,
     "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED",
     "operation not permitted when stream is capturing"},
    {code::kCaptureInvalidated,
     "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED",
     "operation failed due to a previous error during capture"},
    {code::kCaptureMerge,
     "CUDA_ERROR_STREAM_CAPTURE_MERGE",
     "operation would result in a merge of separate capture sequences"},
    {code::kCaptureUnmatched,
     "CUDA_ERROR_STREAM_CAPTURE_UNMATCHED",
     "capture was not ended in the same stream as it began"},
    {code::kCaptureUnjoined,
     "CUDA_ERROR_STREAM_CAPTURE_UNJOINED",
     "capturing stream has unjoined work"},
    {code::kCaptureIsolation,
     "CUDA_ERROR_STREAM_CAPTURE_ISOLATION",
     "dependency created on uncaptured work in another stream"},
    {code::kCaptureImplicit,
     "CUDA_ERROR_STREAM_CAPTURE_IMPLICIT",
     "operation would make the legacy stream depend on a capturing blocking stream"},
    {code::kCapturedEvent,
     "CUDA_ERROR_CAPTURED_EVENT",
     "operation not permitted on an event last recorded in a capturing stream"},
    {code::kCaptureWrongThread,
     "CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD",
     "attempt to terminate a thread-local capture sequence from another thread"},
    {code::kUnknown, "CUDA_ERROR_UNKNOWN", "unknown error"},
};

const Named* find(Result code) {
  for (const Named& named : kNames) {
    if (named.code == code) return &named;
  }
  return nullptr;
}

template <typename T>
void read_number(const char* variable, T& value) {
  const char* text = std::getenv(variable);
  if (text != nullptr && *text != '\0') value = static_cast<T>(std::strtoull(text, nullptr, 10));
}

void read_text(const char* variable, std::string& value) {
  if (const char* text = std::getenv(variable)) value = text;
}

}  // namespace

const char* name_of(Result code) {
  const Named* named = find(code);
  return named == nullptr ? nullptr : named->name;
}

const char* text_of(Result code) {
  const Named* named = find(code);
  return named == nullptr ? nullptr : named->text;
}

std::string hex(std::uint64_t value) {
  char text[20];
  std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(value));
  return text;
}

void FaultLog::add(const std::string& fault) {
  lines_.push_back(fault);
  if (!simulator().settings.quiet) std::fprintf(stderr, "cudasim: %s\n", fault.c_str());
}

void Injections::order(const std::string& function, int nth, int times, Result code) {
  if (nth < 1 || times < 1) throw std::invalid_argument("calls are counted from 1");
  orders_.insert({function, {nth - 1, times, code}});
}

void Injections::parse(const std::string& orders) {
  std::istringstream list(orders);
  for (std::string item; std::getline(list, item, ',');) {
    const auto first = item.find(':');
    const auto second = item.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) {
      throw std::invalid_argument("CUDASIM_FAIL is function:n:code,..., not '" + item + "'");
    }
    order(item.substr(0, first),
          std::stoi(item.substr(first + 1, second - first - 1)),
          1,
          std::stoi(item.substr(second + 1)));
  }
}

Result Injections::next(const std::string& function) {
  Result answer = code::kSuccess;
  auto [order, end] = orders_.equal_range(function);
  while (order != end) {
    if (order->second.calls_left-- > 0) {
      ++order;
      continue;
    }
    answer = order->second.code;
    order = --order->second.times == 0 ? orders_.erase(order) : std::next(order);
  }
  return answer;
}

Settings Settings::from_environment() {
  Settings settings;
  read_number("CUDASIM_DEVICES", settings.devices);
  read_number("CUDASIM_SM", settings.capability);
  read_number("CUDASIM_MULTIPROCESSORS", settings.multiprocessors);
  read_number("CUDASIM_MEMORY", settings.memory);
  read_number("CUDASIM_DRIVER", settings.driver);
  read_text("CUDASIM_NAME", settings.name);
  read_number("CUDASIM_SEED", settings.seed);
  read_number("CUDASIM_SLOW_COPIES", settings.slow_copies);
  read_number("CUDASIM_HOST_GUARD", settings.host_guard);
  read_number("CUDASIM_QUIET", settings.quiet);
  read_text("CUDASIM_REPORT", settings.leaks_path);
  read_text("CUDASIM_FAIL", settings.fail);
  return settings;
}

}  // namespace cudasim
