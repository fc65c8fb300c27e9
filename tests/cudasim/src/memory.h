// The memories: the device's, which the host cannot touch, and the host's that is page-locked.
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
/// that a stale pointer is always found out.
class DeviceMemory {
 public:
  /// Reserve the address space; `limit` bytes may be allocated.
  void open(std::size_t limit, bool guard);

  /// `bytes` at 256-byte alignment, filled with 0xFF (NaN as floats). Throws Error.
  DevicePtr allocate(std::size_t bytes, Handle context);
  /// Throws Error for what is no allocation, or was written outside.
  void free(DevicePtr address);
  /// Throws Error unless all of [address, address + bytes) lies in one allocation.
  std::byte* alias(DevicePtr address, std::size_t bytes) const;
  const Allocation& containing(DevicePtr& address) const;
  /// Whether an address is of the device at all.
  bool covers(std::uint64_t address) const;
  /// What lies there, for messages.
  std::string describe(std::uint64_t address) const;

  /// Let kernels at the memory, and shut it again; calls nest.
  void unlock();
  void lock();
  /// Throws Error when something was written around an allocation.
  void check_redzones() const;

  const std::map<DevicePtr, Allocation>& live() const { return live_; }
  std::size_t used() const { return used_; }
  std::size_t peak() const { return peak_; }
  std::size_t limit() const { return limit_; }
  void set_limit(std::size_t limit) { limit_ = limit; }

 private:
  using Place = std::map<DevicePtr, Allocation>::const_iterator;
  Place find(const std::map<DevicePtr, Allocation>& map, std::uint64_t address) const;
  void protect(const Allocation& allocation, bool open) const;
  void check(DevicePtr address, const Allocation& allocation) const;

  std::byte* device_ = nullptr;
  std::byte* alias_ = nullptr;
  int file_ = -1;
  bool guard_ = true;
  int unlocked_ = 0;
  std::size_t next_ = 0;
  std::size_t used_ = 0;
  std::size_t peak_ = 0;
  std::size_t limit_ = 0;
  std::uint64_t count_ = 0;
  std::map<DevicePtr, Allocation> live_;
  std::map<DevicePtr, Allocation> freed_;  // the last few thousand
};

/// Page-locked host memory: allocated by the driver, or registered with it.
class HostMemory {
 public:
  struct Range {
    std::size_t bytes = 0;
    bool registered = false;
    unsigned flags = 0;
    Handle context = 0;
  };

  void* allocate(std::size_t bytes, unsigned flags, Handle context);
  void free(void* address);
  void add(void* address, std::size_t bytes, unsigned flags, Handle context);
  void remove(void* address);
  /// The range that holds all of [address, address + bytes), or null for pageable memory.
  const Range* find(const void* address, std::size_t bytes) const;
  const std::map<std::uintptr_t, Range>& ranges() const { return ranges_; }

 private:
  std::map<std::uintptr_t, Range> ranges_;
  std::map<std::uintptr_t, Range> freed_;
};

}  // namespace cudasim
