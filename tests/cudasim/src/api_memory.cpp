// cuMem*: allocation, page-locked host memory, and what a pointer is.
#include <algorithm>

#include "simulator.h"

using namespace cudasim;

namespace {

constexpr unsigned kDeviceMap = 2;

/// Freeing waits for the device, as the driver does: nothing in flight may use the memory.
void free_device(Simulator& simulated, DevicePtr address) {
  if (address == 0) return;
  simulated.forbid_in_capture();
  simulated.queue.finish(*simulated.current());
  simulated.memory.free(address);
}

enum PointerAttribute : int {
  kPointerContext = 1,
  kPointerMemoryType = 2,
  kPointerDevice = 3,
  kPointerHost = 4,
  kPointerOrdinal = 9,
  kPointerStart = 11,
  kPointerSize = 12,
};

void device_attribute(Simulator& simulated, void* out, PointerAttribute key, DevicePtr address) {
  DevicePtr start = address;
  const Allocation& allocation = simulated.memory.containing(start);
  switch (key) {
    case kPointerContext:
      *static_cast<Handle*>(out) = allocation.context;
      break;
    case kPointerMemoryType:
      *static_cast<unsigned*>(out) = kDeviceMemory;
      break;
    case kPointerDevice:
      *static_cast<DevicePtr*>(out) = address;
      break;
    case kPointerOrdinal:
      *static_cast<int*>(out) = 0;
      break;
    case kPointerStart:
      *static_cast<DevicePtr*>(out) = start;
      break;
    case kPointerSize:
      *static_cast<std::size_t*>(out) = allocation.bytes;
      break;
    default:
      throw Error(code::kInvalidValue);
  }
}

}  // namespace

CUDASIM_API Result cuMemAlloc_v2(DevicePtr* address, std::size_t bytes) {
  return call("cuMemAlloc", [&](Simulator& simulated) {
    simulated.forbid_in_capture();
    *address = simulated.memory.allocate(bytes, simulated.current()->handle);
  });
}
CUDASIM_API Result cuMemAllocPitch_v2(DevicePtr* address,
                                      std::size_t* pitch,
                                      std::size_t width,
                                      std::size_t height,
                                      unsigned element_bytes) {
  return call("cuMemAllocPitch", [&](Simulator& simulated) {
    simulated.forbid_in_capture();
    if (element_bytes != 4 && element_bytes != 8 && element_bytes != 16) {
      throw Error(code::kInvalidValue, "elements are of 4, 8 or 16 bytes");
    }
    *pitch = (width + 511) / 512 * 512;
    *address = simulated.memory.allocate(*pitch * height, simulated.current()->handle);
  });
}
CUDASIM_API Result cuMemFree_v2(DevicePtr address) {
  return call("cuMemFree", [&](Simulator& simulated) { free_device(simulated, address); });
}
CUDASIM_API Result cuMemAllocAsync(DevicePtr* address, std::size_t bytes, Handle stream) {
  return call("cuMemAllocAsync", [&](Simulator& simulated) {
    if (simulated.stream(stream)->capture) {
      throw Error(code::kNotSupported, "allocations in graphs are not simulated");
    }
    *address = simulated.memory.allocate(bytes, simulated.current()->handle);
  });
}
CUDASIM_API Result cuMemFreeAsync(DevicePtr address, Handle stream) {
  return call("cuMemFreeAsync", [&](Simulator& simulated) {
    const auto target = simulated.stream(stream);
    if (target->capture) throw Error(code::kNotSupported, "frees in graphs are not simulated");
    DevicePtr start = address;
    simulated.memory.containing(start);
    simulated.enqueue(*target,
                      {"cuMemFreeAsync",
                       [address] {
                         const Entered entered;
                         simulator().memory.free(address);
                       },
                       false});
  });
}
CUDASIM_API Result cuMemGetInfo_v2(std::size_t* free, std::size_t* total) {
  return call("cuMemGetInfo", [&](Simulator& simulated) {
    *total = simulated.memory.limit();
    *free = simulated.memory.limit() - std::min(simulated.memory.used(), *total);
  });
}
CUDASIM_API Result cuMemGetAddressRange_v2(DevicePtr* start,
                                           std::size_t* bytes,
                                           DevicePtr address) {
  return call("cuMemGetAddressRange", [&](Simulator& simulated) {
    const Allocation& allocation = simulated.memory.containing(address);
    if (start != nullptr) *start = address;
    if (bytes != nullptr) *bytes = allocation.bytes;
  });
}

CUDASIM_API Result cuMemHostAlloc(void** address, std::size_t bytes, unsigned flags) {
  return call("cuMemHostAlloc", [&](Simulator& simulated) {
    simulated.forbid_in_capture();
    *address = simulated.host.allocate(bytes, flags, simulated.current()->handle);
  });
}
CUDASIM_API Result cuMemAllocHost_v2(void** address, std::size_t bytes) {
  return call("cuMemAllocHost", [&](Simulator& simulated) {
    simulated.forbid_in_capture();
    *address = simulated.host.allocate(bytes, 0, simulated.current()->handle);
  });
}
CUDASIM_API Result cuMemFreeHost(void* address) {
  return call("cuMemFreeHost", [&](Simulator& simulated) {
    simulated.forbid_in_capture();
    simulated.queue.finish(*simulated.current());
    simulated.host.free(address);
  });
}
CUDASIM_API Result cuMemHostRegister_v2(void* address, std::size_t bytes, unsigned flags) {
  return call("cuMemHostRegister", [&](Simulator& simulated) {
    simulated.forbid_in_capture();
    simulated.host.add(address, bytes, flags, simulated.current()->handle);
  });
}
CUDASIM_API Result cuMemHostUnregister(void* address) {
  return call("cuMemHostUnregister", [&](Simulator& simulated) {
    simulated.forbid_in_capture();
    simulated.queue.finish(*simulated.current());
    simulated.host.remove(address);
  });
}
CUDASIM_API Result cuMemHostGetDevicePointer_v2(DevicePtr* device, void* address, unsigned) {
  return call("cuMemHostGetDevicePointer", [&](Simulator& simulated) {
    if (simulated.host.find(address, 1) == nullptr) {
      throw Error(code::kInvalidValue, "not page-locked memory");
    }
    *device = reinterpret_cast<DevicePtr>(address);
  });
}
CUDASIM_API Result cuMemHostGetFlags(unsigned* flags, void* address) {
  return call("cuMemHostGetFlags", [&](Simulator& simulated) {
    const auto* range = simulated.host.find(address, 1);
    if (range == nullptr) throw Error(code::kInvalidValue, "not page-locked memory");
    *flags = range->flags | kDeviceMap;
  });
}

CUDASIM_API Result cuPointerGetAttribute(void* out, PointerAttribute key, DevicePtr address) {
  return call("cuPointerGetAttribute", [&](Simulator& simulated) {
    if (simulated.memory.covers(address)) return device_attribute(simulated, out, key, address);
    if (simulated.host.find(reinterpret_cast<void*>(address), 1) == nullptr) {
      throw Error(code::kInvalidValue);  // no fault: this is how one asks
    }
    switch (key) {
      case kPointerMemoryType:
        *static_cast<unsigned*>(out) = kHostMemory;
        break;
      case kPointerDevice:
      case kPointerHost:
        *static_cast<DevicePtr*>(out) = address;
        break;
      default:
        throw Error(code::kInvalidValue);
    }
  });
}
