// Device memory, which the host cannot touch, and page-locked host memory.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "declarations.h"

namespace cudasim {

struct Allocation {
  std::size_t bytes = 0;
  std::size_t mapped_at = 0;     ///< Offset of its first page.
  std::size_t mapped_bytes = 0;  ///< Its pages; an untouchable page follows.
  Handle context = 0;
  std::uint64_t number = 0;  ///< Counted from 1, to find it again in the caller's code.
};

/// Device memory. Each page is mapped twice: at its device address, where only a running kernel may
/// touch it, and at an alias through which the double itself copies. Addresses are never reused, so
/// that a stale pointer is always detected.
class DeviceMemory {
 public:
  /// Reserve the address space; kDeviceBytes may be allocated.
  void open();

  /// Return `bytes` at 256-byte alignment, filled with 0xFF (NaN as floats). Throws Error.
  DevicePtr allocate(std::size_t bytes, Handle context);
  /// Throws Error unless `address` is the start of an allocation whose surroundings are intact.
  void free(DevicePtr address);
  /// Throws Error unless all of [address, address + bytes) lies in one allocation.
  std::byte* alias(DevicePtr address, std::size_t bytes) const;
  /// Whether an address lies in the reserved range.
  bool covers(std::uint64_t address) const;
  /// Description of an address, for messages.
  std::string describe(std::uint64_t address) const;

  /// Open the memory to kernels, and close it again; calls nest.
  void unlock();
  void lock();
  /// Throws Error if something was written around an allocation.
  void check_redzones() const;

  const std::map<DevicePtr, Allocation>& live() const { return live_; }
  std::size_t used() const { return used_; }

 private:
  using Place = std::map<DevicePtr, Allocation>::const_iterator;
  Place find(const std::map<DevicePtr, Allocation>& map, std::uint64_t address) const;
  void protect(const Allocation& allocation, bool open) const;
  void check(DevicePtr address, const Allocation& allocation) const;

  std::byte* device_ = nullptr;
  std::byte* alias_ = nullptr;
  int file_ = -1;
  int unlocked_ = 0;
  std::size_t next_ = 0;
  std::size_t used_ = 0;
  std::uint64_t count_ = 0;
  std::map<DevicePtr, Allocation> live_;
  std::map<DevicePtr, Allocation> freed_;  // the last few thousand
};

/// Page-locked host memory.
class HostMemory {
 public:
  struct Range {
    std::size_t bytes = 0;
    Handle context = 0;
  };

  void* allocate(std::size_t bytes, Handle context);
  void free(void* address);
  /// Whether [address, address + bytes) is page-locked. Throws Error if only a part of it is.
  bool holds(std::uint64_t address, std::size_t bytes) const;
  const std::map<std::uint64_t, Range>& ranges() const { return ranges_; }

 private:
  std::map<std::uint64_t, Range> ranges_;
};

}  // namespace cudasim
