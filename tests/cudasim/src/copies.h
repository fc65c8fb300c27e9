// Copies and fills, of lines in a plane: a plain copy has one line.
#pragma once

#include "simulator.h"

namespace cudasim {

/// One end of a copy.
struct Side {
  bool on_device = false;
  std::uint64_t address = 0;
  std::size_t pitch = 0;  ///< Bytes from one line to the next.

  static Side device(DevicePtr address, std::size_t pitch = 0) { return {true, address, pitch}; }
  static Side host(const void* address, std::size_t pitch = 0) {
    return {false, reinterpret_cast<std::uint64_t>(address), pitch};
  }
};

struct Extent {
  std::size_t width = 0;  ///< Bytes of a line.
  std::size_t height = 1;
};

/// Whether the call returns before the copy is done, where the manual lets it.
enum class Return { kWhenDone, kAtOnce };

/// Order a copy. What the host may see and when is as the manual says under "API synchronization
/// behavior". Throws Error for bounds, the wrong side, and pageable memory in a capture.
void copy(const char* name, Handle stream, Side to, Side from, Extent extent, Return when);

/// Order a fill of lines with `value` of 1, 2 or 4 bytes.
struct Fill {
  std::uint32_t value = 0;
  std::size_t value_bytes = 1;
};
void fill(const char* name, Handle stream, Side to, Fill fill, Extent extent);

}  // namespace cudasim
