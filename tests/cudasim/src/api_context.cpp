// cuInit, cuGetProcAddress, cuDevice*, cuCtx*, cuDevicePrimaryCtx*.
#include <dlfcn.h>

#include <array>
#include <cstring>

#include "simulator.h"

using namespace cudasim;

namespace {

constexpr int kDriver = 13000;
constexpr char kName[] = "Simulated GPU";
constexpr int kIntegrated = 18;       // CU_DEVICE_ATTRIBUTE_INTEGRATED
constexpr int kCapabilityMajor = 75;  // CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR
constexpr int kCapabilityMinor = 76;

void require_device(DeviceId device) {
  if (device != kDevice) throw Error(code::kInvalidDevice, "device " + std::to_string(device));
}

/// Function of this library by its name in the manual, of the latest interface.
void* function_named(const std::string& name) {
  for (const char* suffix : std::array{"_v4", "_v2", ""}) {
    if (void* found = dlsym(RTLD_DEFAULT, (name + suffix).c_str())) return found;
  }
  return nullptr;
}

}  // namespace

CUDASIM_API Result cuInit(unsigned flags) {
  return call("cuInit", Needs::kNothing, [&](Simulator& simulated) {
    if (flags != 0) throw Error(code::kInvalidValue, "flags must be 0");
    simulated.init();
  });
}
CUDASIM_API Result cuDriverGetVersion(int* version) {
  return call("cuDriverGetVersion", Needs::kNothing, [&](Simulator&) { *version = kDriver; });
}
CUDASIM_API Result cuGetErrorString(Result result, const char** text) {
  *text = text_of(result);
  return *text == nullptr ? code::kInvalidValue : code::kSuccess;
}

/// No fault if there is no such function: it is a query.
CUDASIM_API Result
cuGetProcAddress_v2(const char* name, void** function, int, std::uint64_t, int* found) {
  *function = function_named(name);
  if (found != nullptr) *found = *function == nullptr ? 1 : 0;  // CU_GET_PROC_ADDRESS_*
  return *function == nullptr ? code::kNotFound : code::kSuccess;
}

CUDASIM_API Result cuDeviceGetCount(int* count) {
  return call("cuDeviceGetCount", Needs::kInit, [&](Simulator&) { *count = 1; });
}
CUDASIM_API Result cuDeviceGet(DeviceId* device, int ordinal) {
  return call("cuDeviceGet", Needs::kInit, [&](Simulator&) {
    require_device(ordinal);
    *device = ordinal;
  });
}
CUDASIM_API Result cuDeviceGetName(char* name, int bytes, DeviceId device) {
  return call("cuDeviceGetName", Needs::kInit, [&](Simulator&) {
    require_device(device);
    std::strncpy(name, kName, static_cast<std::size_t>(bytes));
    name[bytes - 1] = '\0';
  });
}
CUDASIM_API Result cuDeviceTotalMem_v2(std::size_t* bytes, DeviceId device) {
  return call("cuDeviceTotalMem", Needs::kInit, [&](Simulator&) {
    require_device(device);
    *bytes = kDeviceBytes;
  });
}
CUDASIM_API Result cuDeviceComputeCapability(int* major, int* minor, DeviceId device) {
  return call("cuDeviceComputeCapability", Needs::kInit, [&](Simulator&) {
    require_device(device);
    *major = kCapability / 10;
    *minor = kCapability % 10;
  });
}
CUDASIM_API Result cuDeviceGetAttribute(int* value, int key, DeviceId device) {
  return call("cuDeviceGetAttribute", Needs::kInit, [&](Simulator&) {
    require_device(device);
    switch (key) {
      case kIntegrated:
        *value = simulator().integrated ? 1 : 0;
        return;
      case kCapabilityMajor:
        *value = kCapability / 10;
        return;
      case kCapabilityMinor:
        *value = kCapability % 10;
        return;
      default:
        throw Error(code::kNotSupported, "attribute " + std::to_string(key) + " is not simulated");
    }
  });
}

CUDASIM_API Result cuCtxCreate_v4(Handle* handle, void*, unsigned, DeviceId device) {
  return call("cuCtxCreate", Needs::kInit, [&](Simulator& simulated) {
    require_device(device);
    context_stack().push_back(simulated.create_context());
    *handle = context_stack().back()->handle;
  });
}
CUDASIM_API Result cuCtxCreate_v2(Handle* handle, unsigned flags, DeviceId device) {
  return cuCtxCreate_v4(handle, nullptr, flags, device);  // of CUDA 12
}
CUDASIM_API Result cuCtxDetach(Handle handle) {
  return call("cuCtxDetach", Needs::kInit, [&](Simulator& simulated) {
    const auto context = simulated.contexts.at(handle);
    simulated.destroy_context(context);
    auto& stack = context_stack();
    if (!stack.empty() && stack.back() == context) stack.pop_back();
  });
}
CUDASIM_API Result cuCtxPushCurrent_v2(Handle handle) {
  return call("cuCtxPushCurrent", Needs::kInit, [&](Simulator& simulated) {
    context_stack().push_back(simulated.contexts.at(handle));
  });
}
CUDASIM_API Result cuCtxPopCurrent_v2(Handle* handle) {
  return call("cuCtxPopCurrent", Needs::kInit, [&](Simulator&) {
    auto& stack = context_stack();
    if (stack.empty()) throw Error(code::kInvalidContext, "no context is current in this thread");
    if (handle != nullptr) *handle = stack.back()->handle;
    stack.pop_back();
  });
}
CUDASIM_API Result cuCtxGetCurrent(Handle* handle) {
  return call("cuCtxGetCurrent", Needs::kInit, [&](Simulator&) {
    const auto& stack = context_stack();
    *handle = stack.empty() ? 0 : stack.back()->handle;
  });
}
CUDASIM_API Result cuCtxGetDevice(DeviceId* device) {
  return call("cuCtxGetDevice", [&](Simulator&) { *device = kDevice; });
}
CUDASIM_API Result cuCtxSynchronize() {
  return call("cuCtxSynchronize", [&](Simulator& simulated) {
    simulated.forbid_in_capture();
    simulated.queue.finish(*simulated.current());
    simulated.memory.check_redzones();
  });
}

CUDASIM_API Result cuDevicePrimaryCtxSetFlags_v2(DeviceId device, unsigned flags) {
  return call("cuDevicePrimaryCtxSetFlags", Needs::kInit, [&](Simulator& simulated) {
    require_device(device);
    simulated.primary_flags = flags;
  });
}
CUDASIM_API Result cuDevicePrimaryCtxRetain(Handle* handle, DeviceId device) {
  return call("cuDevicePrimaryCtxRetain", Needs::kInit, [&](Simulator& simulated) {
    require_device(device);
    if (!simulated.primary) simulated.primary = simulated.create_context();
    ++simulated.primary_users;
    *handle = simulated.primary->handle;
  });
}
CUDASIM_API Result cuDevicePrimaryCtxRelease_v2(DeviceId device) {
  return call("cuDevicePrimaryCtxRelease", Needs::kInit, [&](Simulator& simulated) {
    require_device(device);
    if (simulated.primary_users == 0) {
      throw Error(code::kInvalidContext, "the primary context was not retained");
    }
    if (--simulated.primary_users > 0) return;
    simulated.destroy_context(simulated.primary);
    simulated.primary = nullptr;
  });
}
