// cuInit, cuDevice*, cuCtx*, cuDevicePrimaryCtx*.
#include <algorithm>
#include <cstring>

#include "simulator.h"

using namespace cudasim;

namespace {

constexpr DeviceId kDevice = 0;

void require_device(DeviceId device) {
  if (device != kDevice) throw Error(code::kInvalidDevice, "device " + std::to_string(device));
}

/// By the number of CU_DEVICE_ATTRIBUTE_*; what is not here is 0.
int attribute(const Settings& settings, int key) {
  switch (key) {
    case 1:
      return 1024;  // MAX_THREADS_PER_BLOCK
    case 2:         // MAX_BLOCK_DIM_X, _Y, _Z
    case 3:
      return 1024;
    case 4:
      return 64;
    case 5:
      return 2147483647;  // MAX_GRID_DIM_X, _Y, _Z
    case 6:
    case 7:
      return 65535;
    case 8:
      return 48 << 10;  // MAX_SHARED_MEMORY_PER_BLOCK
    case 9:
      return 64 << 10;  // TOTAL_CONSTANT_MEMORY
    case 10:
      return 32;  // WARP_SIZE
    case 11:
      return 2147483647;  // MAX_PITCH
    case 12:
      return 65536;  // MAX_REGISTERS_PER_BLOCK
    case 14:
      return 512;  // TEXTURE_ALIGNMENT
    case 16:
      return settings.multiprocessors;  // MULTIPROCESSOR_COUNT
    case 15:                            // GPU_OVERLAP
    case 19:                            // CAN_MAP_HOST_MEMORY
    case 31:                            // CONCURRENT_KERNELS
    case 41:                            // UNIFIED_ADDRESSING
    case 78:                            // STREAM_PRIORITIES_SUPPORTED
    case 91:                            // CAN_USE_HOST_POINTER_...
    case 99:                            // HOST_REGISTER_SUPPORTED
    case 115:
      return 1;  // MEMORY_POOLS_SUPPORTED
    case 39:
      return 1536;  // MAX_THREADS_PER_MULTIPROCESSOR
    case 40:
      return 2;  // ASYNC_ENGINE_COUNT
    case 75:
      return settings.capability / 10;  // COMPUTE_CAPABILITY_MAJOR
    case 76:
      return settings.capability % 10;  // COMPUTE_CAPABILITY_MINOR
    case 81:
      return shared_opt_in(settings.capability) + 1024;  // ..._PER_MULTIPROCESSOR
    case 82:
      return 65536;  // MAX_REGISTERS_PER_MULTIPROCESSOR
    case 97:
      return shared_opt_in(settings.capability);  // ..._PER_BLOCK_OPTIN
    case 106:
      return 16;  // MAX_BLOCKS_PER_MULTIPROCESSOR
    case 111:
      return 1024;  // RESERVED_SHARED_MEMORY_PER_BLOCK
    default:
      return 0;
  }
}

void push(const std::shared_ptr<Context>& context) { context_stack().push_back(context); }

void replace_top(const std::shared_ptr<Context>& context) {
  if (!context_stack().empty()) context_stack().pop_back();
  if (context) push(context);
}

Result create(const char* name, Handle* out, unsigned flags, DeviceId device) {
  return call(name, Needs::kInit, [&](Simulator& simulated) {
    require_device(device);
    const auto context = simulated.create_context(flags, false);
    push(context);
    *out = context->handle;
  });
}

void drop_user(Simulator& simulated, const std::shared_ptr<Context>& context) {
  if (--context->users > 0) return;
  simulated.destroy_context(context);
  auto& stack = context_stack();
  if (!stack.empty() && stack.back() == context) stack.pop_back();
}

void end_primary(Simulator& simulated) {
  if (simulated.primary) simulated.destroy_context(simulated.primary);
  simulated.primary = nullptr;
  simulated.primary_users = 0;
}

}  // namespace

CUDASIM_API Result cuInit(unsigned flags) {
  return call("cuInit", Needs::kNothing, [&](Simulator& simulated) {
    if (flags != 0) throw Error(code::kInvalidValue, "flags must be 0");
    simulated.init();
  });
}
CUDASIM_API Result cuDriverGetVersion(int* version) {
  return call("cuDriverGetVersion", Needs::kNothing, [&](Simulator& simulated) {
    *version = simulated.settings.driver;
  });
}
CUDASIM_API Result cuGetErrorString(Result result, const char** text) {
  *text = text_of(result);
  return *text == nullptr ? code::kInvalidValue : code::kSuccess;
}
CUDASIM_API Result cuGetErrorName(Result result, const char** name) {
  *name = name_of(result);
  return *name == nullptr ? code::kInvalidValue : code::kSuccess;
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
  return call("cuDeviceGetName", Needs::kInit, [&](Simulator& simulated) {
    require_device(device);
    std::strncpy(name, simulated.settings.name.c_str(), static_cast<std::size_t>(bytes));
    name[bytes - 1] = '\0';
  });
}
CUDASIM_API Result cuDeviceGetUuid_v2(char* uuid, DeviceId device) {
  return call("cuDeviceGetUuid", Needs::kInit, [&](Simulator&) {
    require_device(device);
    std::memcpy(uuid, "cudasim-device-0", 16);
  });
}
CUDASIM_API Result cuDeviceTotalMem_v2(std::size_t* bytes, DeviceId device) {
  return call("cuDeviceTotalMem", Needs::kInit, [&](Simulator& simulated) {
    require_device(device);
    *bytes = simulated.memory.limit();
  });
}
CUDASIM_API Result cuDeviceGetAttribute(int* value, int key, DeviceId device) {
  return call("cuDeviceGetAttribute", Needs::kInit, [&](Simulator& simulated) {
    require_device(device);
    *value = attribute(simulated.settings, key);
  });
}
CUDASIM_API Result cuDeviceComputeCapability(int* major, int* minor, DeviceId device) {
  return call("cuDeviceComputeCapability", Needs::kInit, [&](Simulator& simulated) {
    require_device(device);
    *major = simulated.settings.capability / 10;
    *minor = simulated.settings.capability % 10;
  });
}
CUDASIM_API Result cuDeviceGetPCIBusId(char* text, int bytes, DeviceId device) {
  return call("cuDeviceGetPCIBusId", Needs::kInit, [&](Simulator&) {
    require_device(device);
    std::strncpy(text, "0000:00:00.0", static_cast<std::size_t>(bytes));
    text[bytes - 1] = '\0';
  });
}

CUDASIM_API Result cuCtxCreate_v2(Handle* context, unsigned flags, DeviceId device) {
  return create("cuCtxCreate", context, flags, device);
}
CUDASIM_API Result cuCtxCreate_v3(Handle* out, void*, int, unsigned flags, DeviceId device) {
  return create("cuCtxCreate", out, flags, device);
}
CUDASIM_API Result cuCtxCreate_v4(Handle* out, void*, unsigned flags, DeviceId device) {
  return create("cuCtxCreate", out, flags, device);
}
CUDASIM_API Result cuCtxDestroy_v2(Handle handle) {
  return call("cuCtxDestroy", Needs::kInit, [&](Simulator& simulated) {
    const auto context = simulated.contexts.at(handle);
    if (context->primary) throw Error(code::kInvalidContext, "a primary context is released");
    context->users = 1;
    drop_user(simulated, context);
  });
}
CUDASIM_API Result cuCtxAttach(Handle* handle, unsigned) {
  return call("cuCtxAttach", Needs::kInit, [&](Simulator& simulated) {
    const auto context = simulated.current();
    ++context->users;
    *handle = context->handle;
  });
}
CUDASIM_API Result cuCtxDetach(Handle handle) {
  return call("cuCtxDetach", Needs::kInit, [&](Simulator& simulated) {
    drop_user(simulated, simulated.contexts.at(handle));
  });
}
CUDASIM_API Result cuCtxPushCurrent_v2(Handle handle) {
  return call("cuCtxPushCurrent", Needs::kInit, [&](Simulator& simulated) {
    push(simulated.contexts.at(handle));
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
CUDASIM_API Result cuCtxSetCurrent(Handle handle) {
  return call("cuCtxSetCurrent", Needs::kInit, [&](Simulator& simulated) {
    replace_top(handle == 0 ? nullptr : simulated.contexts.at(handle));
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
CUDASIM_API Result cuCtxGetFlags(unsigned* flags) {
  return call("cuCtxGetFlags", [&](Simulator& simulated) { *flags = simulated.current()->flags; });
}
CUDASIM_API Result cuCtxGetApiVersion(Handle handle, unsigned* version) {
  return call("cuCtxGetApiVersion", Needs::kInit, [&](Simulator& simulated) {
    if (handle != 0) simulated.contexts.at(handle);
    *version = static_cast<unsigned>(simulated.settings.driver);
  });
}
CUDASIM_API Result cuCtxSynchronize() {
  return call("cuCtxSynchronize", [&](Simulator& simulated) {
    simulated.forbid_in_capture();
    simulated.queue.finish(*simulated.current());
    simulated.memory.check_redzones();
  });
}
CUDASIM_API Result cuCtxGetStreamPriorityRange(int* least, int* greatest) {
  return call("cuCtxGetStreamPriorityRange", [&](Simulator&) {
    *least = 0;
    *greatest = -5;
  });
}
CUDASIM_API Result cuCtxSetLimit(int, std::size_t) {
  return call("cuCtxSetLimit", [](Simulator&) {});
}

CUDASIM_API Result cuDevicePrimaryCtxRetain(Handle* handle, DeviceId device) {
  return call("cuDevicePrimaryCtxRetain", Needs::kInit, [&](Simulator& simulated) {
    require_device(device);
    if (!simulated.primary) {
      simulated.primary = simulated.create_context(simulated.primary_flags, true);
    }
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
    if (--simulated.primary_users == 0) end_primary(simulated);
  });
}
CUDASIM_API Result cuDevicePrimaryCtxReset_v2(DeviceId device) {
  return call("cuDevicePrimaryCtxReset", Needs::kInit, [&](Simulator& simulated) {
    require_device(device);
    end_primary(simulated);
  });
}
CUDASIM_API Result cuDevicePrimaryCtxGetState(DeviceId device, unsigned* flags, int* active) {
  return call("cuDevicePrimaryCtxGetState", Needs::kInit, [&](Simulator& simulated) {
    require_device(device);
    *flags = simulated.primary_flags;
    *active = simulated.primary ? 1 : 0;
  });
}
CUDASIM_API Result cuDevicePrimaryCtxSetFlags_v2(DeviceId device, unsigned flags) {
  return call("cuDevicePrimaryCtxSetFlags", Needs::kInit, [&](Simulator& simulated) {
    require_device(device);
    simulated.primary_flags = flags;
  });
}
