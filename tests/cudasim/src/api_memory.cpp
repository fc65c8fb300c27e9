// cuMem*: allocation, copies and fills.
#include <cstring>

#include "simulator.h"

using namespace cudasim;

namespace {

/// One end of a copy of lines; a plain copy has one line.
struct Side {
  bool on_device = false;
  std::uint64_t address = 0;
  std::size_t pitch = 0;  ///< Bytes from one line to the next.
};

struct Extent {
  std::size_t width = 0;  ///< Bytes of a line.
  std::size_t height = 1;
};

Side host(const void* address) { return {false, reinterpret_cast<std::uint64_t>(address), 0}; }

std::size_t bytes_in(const Side& side, const Extent& extent) {
  return side.pitch * (extent.height - 1) + extent.width;
}

bool pinned(const Side& side, const Extent& extent) {
  return simulator().host.holds(side.address, bytes_in(side, extent));
}

/// Check a side, and return where the double finds its bytes.
std::byte* bytes_of(const Side& side, const Extent& extent) {
  const DeviceMemory& memory = simulator().memory;
  if (extent.height > 1 && side.pitch < extent.width) {
    throw Error(code::kInvalidValue,
                "a pitch of " + std::to_string(side.pitch) + " for lines of " +
                    std::to_string(extent.width) + " bytes");
  }
  if (side.on_device) return memory.alias(side.address, bytes_in(side, extent));
  if (memory.covers(side.address)) {
    throw Error(code::kInvalidValue,
                "the host's side is device memory: " + memory.describe(side.address));
  }
  if (side.address == 0) throw Error(code::kInvalidValue, "the host's side is null");
  return reinterpret_cast<std::byte*>(side.address);
}

/// Copy from what memory holds when the copy runs.
std::function<void()> direct(const Side& to, const Side& from, const Extent& extent) {
  return [=] {
    const Entered entered;
    const std::byte* source = bytes_of(from, extent);
    std::byte* target = bytes_of(to, extent);
    for (std::size_t line = 0; line < extent.height; ++line) {
      std::memcpy(target + line * to.pitch, source + line * from.pitch, extent.width);
    }
  };
}

/// Copy from what pageable memory holds now.
std::function<void()> staged(const Side& to, const Side& from, const Extent& extent) {
  const std::byte* source = bytes_of(from, extent);
  return [=, stage = std::vector<std::byte>(source, source + extent.width)] {
    const Entered entered;
    std::memcpy(bytes_of(to, extent), stage.data(), stage.size());
  };
}

void add_accesses(std::vector<Access>& all, const Side& side, const Extent& extent, bool writes) {
  for (std::size_t line = 0; line < extent.height; ++line) {
    all.push_back({side.address + line * side.pitch, extent.width, writes});
  }
}

/// Enqueue a copy; when it reads and returns is as the manual states under "API synchronization
/// behavior". A call that waits ("kWhenDone") still returns early from pageable memory.
enum class Return { kWhenDone, kAtOnce };

Result copy(const char* name, Handle handle, Side to, Side from, Extent extent, Return when) {
  return call(name, [&](Simulator& simulated) {
    const auto stream = simulated.stream(handle);
    if (extent.width == 0 || extent.height == 0) return;
    bytes_of(to, extent);
    bytes_of(from, extent);
    if (when == Return::kWhenDone) simulated.forbid_in_capture();
    const bool from_pageable = !from.on_device && !pinned(from, extent);
    const bool to_pageable = !to.on_device && !pinned(to, extent);
    if (from_pageable || to_pageable) {
      refuse_in_capture(
          *stream, code::kCaptureUnsupported, "a copy of pageable host memory in a capture");
    }
    Work work{name, from_pageable ? staged(to, from, extent) : direct(to, from, extent), true};
    add_accesses(work.accesses, to, extent, true);
    if (!from_pageable) add_accesses(work.accesses, from, extent, false);
    const OperationPtr operation = simulated.enqueue(*stream, std::move(work));
    if (!operation) return;  // captured
    if (to_pageable || (when == Return::kWhenDone && !from_pageable)) {
      simulated.queue.finish(operation);
    }
  });
}

}  // namespace

CUDASIM_API Result cuMemAlloc_v2(DevicePtr* address, std::size_t bytes) {
  return call("cuMemAlloc", [&](Simulator& simulated) {
    simulated.forbid_in_capture();
    *address = simulated.memory.allocate(bytes, simulated.current()->handle);
  });
}
/// Freeing waits for all work of the context, as the driver does.
CUDASIM_API Result cuMemFree_v2(DevicePtr address) {
  return call("cuMemFree", [&](Simulator& simulated) {
    simulated.forbid_in_capture();
    simulated.queue.finish(*simulated.current());
    simulated.memory.free(address);
  });
}
CUDASIM_API Result cuMemGetInfo_v2(std::size_t* free, std::size_t* total) {
  return call("cuMemGetInfo", [&](Simulator& simulated) {
    *total = kDeviceBytes;
    *free = kDeviceBytes - simulated.memory.used();
  });
}
CUDASIM_API Result cuMemHostAlloc(void** address, std::size_t bytes, unsigned) {
  return call("cuMemHostAlloc", [&](Simulator& simulated) {
    simulated.forbid_in_capture();
    *address = simulated.host.allocate(bytes, simulated.current()->handle);
  });
}
CUDASIM_API Result cuMemFreeHost(void* address) {
  return call("cuMemFreeHost", [&](Simulator& simulated) {
    simulated.forbid_in_capture();
    simulated.queue.finish(*simulated.current());
    simulated.host.free(address);
  });
}

CUDASIM_API Result cuMemcpyHtoD_v2(DevicePtr to, const void* from, std::size_t bytes) {
  return copy("cuMemcpyHtoD", kNullStream, {true, to}, host(from), {bytes}, Return::kWhenDone);
}
CUDASIM_API Result cuMemcpyDtoH_v2(void* to, DevicePtr from, std::size_t bytes) {
  return copy("cuMemcpyDtoH", kNullStream, host(to), {true, from}, {bytes}, Return::kWhenDone);
}
CUDASIM_API Result cuMemcpyHtoDAsync_v2(DevicePtr to, const void* from, std::size_t n, Handle s) {
  return copy("cuMemcpyHtoDAsync", s, {true, to}, host(from), {n}, Return::kAtOnce);
}
CUDASIM_API Result cuMemcpyDtoHAsync_v2(void* to, DevicePtr from, std::size_t n, Handle s) {
  return copy("cuMemcpyDtoHAsync", s, host(to), {true, from}, {n}, Return::kAtOnce);
}
CUDASIM_API Result cuMemcpyDtoDAsync_v2(DevicePtr to, DevicePtr from, std::size_t n, Handle s) {
  return copy("cuMemcpyDtoDAsync", s, {true, to}, {true, from}, {n}, Return::kAtOnce);
}
CUDASIM_API Result cuMemcpy2DAsync_v2(const Copy2D* c, Handle stream) {
  constexpr char name[] = "cuMemcpy2DAsync";
  const bool to_host = c->dst_type == kHostMemory;
  if (c->src_type != kDeviceMemory || (c->dst_type != kDeviceMemory && !to_host)) {
    return call(name, [](Simulator&) {
      throw Error(code::kNotSupported, "only copies from the device are simulated");
    });
  }
  const std::uint64_t base = to_host ? reinterpret_cast<std::uint64_t>(c->dst_host) : c->dst_device;
  const std::uint64_t to = base + c->dst_y * c->dst_pitch + c->dst_x_bytes;
  const DevicePtr from = c->src_device + c->src_y * c->src_pitch + c->src_x_bytes;
  return copy(name,
              stream,
              {!to_host, to, c->dst_pitch},
              {true, from, c->src_pitch},
              {c->width_bytes, c->height},
              Return::kAtOnce);
}
CUDASIM_API Result cuMemsetD8Async(DevicePtr to, unsigned char value, std::size_t n, Handle s) {
  return call("cuMemsetD8Async", [&](Simulator& simulated) {
    const auto stream = simulated.stream(s);
    if (n == 0) return;
    simulated.memory.alias(to, n);
    const auto fill = [=] {
      const Entered entered;
      std::memset(simulator().memory.alias(to, n), value, n);
    };
    simulated.enqueue(*stream, {"cuMemsetD8Async", fill, false, {{to, n, true}}});
  });
}
