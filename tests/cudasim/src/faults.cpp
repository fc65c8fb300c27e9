#include "faults.h"

#include <cstdio>
#include <iterator>

namespace cudasim {

const char* text_of(Result code) {
  static const std::map<Result, const char*> texts = {
      {code::kSuccess, "no error"},
      {code::kInvalidValue, "invalid argument"},
      {code::kOutOfMemory, "out of memory"},
      {code::kNotInitialized, "initialization error"},
      {code::kInvalidDevice, "invalid device ordinal"},
      {code::kInvalidImage, "device kernel image is invalid"},
      {code::kInvalidContext, "invalid device context"},
      {code::kNoBinaryForGpu, "no kernel image is available for execution on the device"},
      {code::kInvalidHandle, "invalid resource handle"},
      {code::kNotFound, "named symbol not found"},
      {code::kNotReady, "device not ready"},
      {code::kIllegalAddress, "an illegal memory access was encountered"},
      {code::kLaunchFailed, "unspecified launch failure"},
      {code::kNotPermitted, "operation not permitted"},
      {code::kNotSupported, "operation not supported"},
      {code::kCaptureUnsupported, "operation not permitted when stream is capturing"},
      {code::kCaptureInvalidated, "operation failed due to a previous error during capture"},
      {code::kCaptureUnmatched, "capture was not ended in the same stream as it began"},
      {code::kCaptureIsolation, "dependency created on uncaptured work in another stream"},
      {code::kUnknown, "unknown error"},
  };
  const auto found = texts.find(code);
  return found == texts.end() ? nullptr : found->second;
}

std::string hex(std::uint64_t value) {
  char text[20];
  std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(value));
  return text;
}

void FaultLog::add(const std::string& fault) {
  lines_.push_back(fault);
  std::fprintf(stderr, "cudasim: %s\n", fault.c_str());
}

void Injections::order(const std::string& function, int nth, int times, Result code) {
  orders_.insert({function, {nth - 1, times, code}});
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

}  // namespace cudasim
