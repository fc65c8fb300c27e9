#include "copies.h"

#include <cstring>
#include <memory>
#include <vector>

namespace cudasim {
namespace {

std::size_t span(const Side& side, const Extent& extent) {
  return side.pitch * (extent.height - 1) + extent.width;
}

bool pinned(const Side& side, const Extent& extent) {
  return simulator().host.find(reinterpret_cast<const void*>(side.address), span(side, extent)) !=
         nullptr;
}

/// Check a side, and return where its bytes are for the double.
std::byte* bytes_of(const Side& side, const Extent& extent) {
  Simulator& simulated = simulator();
  if (side.on_device) {
    // Page-locked host memory has the same address on the device.
    if (!simulated.memory.covers(side.address) && pinned(side, extent)) {
      return reinterpret_cast<std::byte*>(side.address);
    }
    return simulated.memory.alias(side.address, span(side, extent));
  }
  if (simulated.memory.covers(side.address)) {
    throw Error(code::kInvalidValue,
                "the host's side is device memory: " + simulated.memory.describe(side.address));
  }
  if (side.address == 0) throw Error(code::kInvalidValue, "the host's side is null");
  return reinterpret_cast<std::byte*>(side.address);
}

void copy_lines(std::byte* to,
                std::size_t to_pitch,
                const std::byte* from,
                std::size_t from_pitch,
                const Extent& extent) {
  for (std::size_t line = 0; line < extent.height; ++line) {
    std::memcpy(to + line * to_pitch, from + line * from_pitch, extent.width);
  }
}

/// Copy from what the host's memory holds now.
std::function<void()> staged(const Side& to, const Side& from, const Extent& extent) {
  auto stage = std::make_shared<std::vector<std::byte>>(extent.width * extent.height);
  copy_lines(stage->data(), extent.width, bytes_of(from, extent), from.pitch, extent);
  return [=] {
    const Entered entered;
    copy_lines(bytes_of(to, extent), to.pitch, stage->data(), extent.width, extent);
  };
}

/// Copy from what memory holds when the copy runs.
std::function<void()> direct(const Side& to, const Side& from, const Extent& extent) {
  return [=] {
    const Entered entered;
    const std::byte* source = bytes_of(from, extent);
    copy_lines(bytes_of(to, extent), to.pitch, source, from.pitch, extent);
  };
}

/// What a copy touches in the memories whose order the streams keep.
std::vector<Access> accesses(const Side& to, const Side& from, const Extent& extent) {
  std::vector<Access> found;
  for (std::size_t line = 0; line < extent.height; ++line) {
    found.push_back({to.address + line * to.pitch, extent.width, true});
    found.push_back({from.address + line * from.pitch, extent.width, false});
  }
  return found;
}

void check(const Side& side, const Extent& extent) {
  if (extent.height > 1 && side.pitch < extent.width) {
    throw Error(code::kInvalidValue,
                "a pitch of " + std::to_string(side.pitch) + " for lines of " +
                    std::to_string(extent.width) + " bytes");
  }
  bytes_of(side, extent);
}

void refuse_in_capture(Stream& stream) {
  if (!stream.capture) return;
  stream.capture->invalidated = true;
  throw Error(code::kCaptureUnsupported, "a copy of pageable host memory in a capture");
}

}  // namespace

void copy(const char* name, Handle handle, Side to, Side from, Extent extent, Return when) {
  Simulator& simulated = simulator();
  const auto stream = simulated.stream(handle);
  if (extent.width == 0 || extent.height == 0) return;
  check(to, extent);
  check(from, extent);
  if (when == Return::kWhenDone) simulated.forbid_in_capture();
  const bool from_pageable = !from.on_device && !pinned(from, extent);
  const bool to_pageable = !to.on_device && !pinned(to, extent);
  if (from_pageable || to_pageable) refuse_in_capture(*stream);
  // What is staged is read now.
  Work work{name,
            from_pageable ? staged(to, from, extent) : direct(to, from, extent),
            true,
            accesses(to, from_pageable ? to : from, extent)};
  const OperationPtr operation = simulated.enqueue(*stream, std::move(work));
  if (!operation) return;  // captured
  if (to_pageable) return simulated.queue.finish(operation);
  if (when == Return::kAtOnce || (to.on_device && from.on_device)) return;
  if (!from_pageable) return simulated.queue.finish(operation);
  // Only what is before: the bytes are in the stage, and the copy itself may come later.
  for (const OperationPtr& before : std::vector(operation->after)) simulated.queue.finish(before);
}

void fill(const char* name, Handle handle, Side to, Fill fill, Extent extent) {
  Simulator& simulated = simulator();
  const auto stream = simulated.stream(handle);
  if (extent.width == 0 || extent.height == 0) return;
  if (to.address % fill.value_bytes != 0) {
    throw Error(code::kInvalidValue, hex(to.address) + " is not aligned for the value");
  }
  check(to, extent);
  simulated.enqueue(*stream,
                    {name,
                     [=] {
                       const Entered entered;
                       std::byte* first = bytes_of(to, extent);
                       for (std::size_t line = 0; line < extent.height; ++line) {
                         std::byte* at = first + line * to.pitch;
                         for (std::size_t x = 0; x < extent.width; x += fill.value_bytes) {
                           std::memcpy(at + x, &fill.value, fill.value_bytes);
                         }
                       }
                     },
                     false,
                     accesses(to, to, extent)});
}

}  // namespace cudasim
