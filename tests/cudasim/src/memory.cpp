#include "memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "faults.h"

namespace cudasim {
namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kAlignment = 256;
constexpr std::size_t kReserved = 1ULL << 42U;
constexpr std::size_t kRemembered = 4096;
constexpr std::size_t kPoisoned = 4U << 20U;  // at each end; more would cost real memory
constexpr int kPoison = 0xFF;
constexpr std::byte kRedzone{0xFA};

std::size_t round_up(std::size_t value, std::size_t unit) {
  return (value + unit - 1) / unit * unit;
}

void* reserve(int file, int protection) {
  void* place = mmap(nullptr, kReserved, protection, MAP_SHARED | MAP_NORESERVE, file, 0);
  if (place == MAP_FAILED) throw Error(code::kUnknown, "no address space for the device's memory");
  return place;
}

std::string place_in(std::uint64_t offset, const Allocation& allocation, const char* state) {
  const std::string where = offset < allocation.bytes
                                ? "byte " + std::to_string(offset) + " of "
                                : std::to_string(offset - allocation.bytes) + " bytes past ";
  return where + "the " + state + "allocation number " + std::to_string(allocation.number) +
         " of " + std::to_string(allocation.bytes) + " bytes";
}

}  // namespace

void DeviceMemory::open() {
  file_ = memfd_create("cudasim", MFD_CLOEXEC);
  if (file_ < 0 || ftruncate(file_, static_cast<off_t>(kReserved)) != 0) {
    throw Error(code::kUnknown, "no shared memory for the device's memory");
  }
  device_ = static_cast<std::byte*>(reserve(file_, PROT_NONE));
  alias_ = static_cast<std::byte*>(reserve(file_, PROT_READ | PROT_WRITE));
}

DevicePtr DeviceMemory::allocate(std::size_t bytes, Handle context) {
  if (bytes == 0) throw Error(code::kInvalidValue, "an allocation of 0 bytes");
  if (bytes > kDeviceBytes - used_) throw Error(code::kOutOfMemory);
  const std::size_t room = round_up(bytes, kAlignment);
  Allocation allocation{bytes, next_, round_up(room, kPage), context, ++count_};
  if (next_ + allocation.mapped_bytes + kPage > kReserved) {
    throw Error(code::kOutOfMemory, "the double's address space is used up");
  }
  next_ += allocation.mapped_bytes + kPage;
  const std::size_t start = allocation.mapped_at + allocation.mapped_bytes - room;
  std::fill(alias_ + allocation.mapped_at, alias_ + start, kRedzone);
  std::fill(alias_ + start + bytes, alias_ + start + room, kRedzone);
  std::memset(alias_ + start, kPoison, std::min(bytes, kPoisoned));
  if (bytes > kPoisoned) {
    const std::size_t tail = std::min(bytes - kPoisoned, kPoisoned);
    std::memset(alias_ + start + bytes - tail, kPoison, tail);
  }
  if (unlocked_ > 0) protect(allocation, true);
  used_ += bytes;
  const auto address = reinterpret_cast<DevicePtr>(device_ + start);
  live_[address] = allocation;
  return address;
}

void DeviceMemory::protect(const Allocation& allocation, bool open) const {
  mprotect(device_ + allocation.mapped_at,
           allocation.mapped_bytes,
           open ? PROT_READ | PROT_WRITE : PROT_NONE);
}

void DeviceMemory::check(DevicePtr address, const Allocation& allocation) const {
  const std::byte* first = alias_ + allocation.mapped_at;
  const std::byte* last = first + allocation.mapped_bytes;
  const std::byte* start = alias_ + (reinterpret_cast<std::byte*>(address) - device_);
  const auto changed = [](std::byte value) { return value != kRedzone; };
  const std::byte* before = std::find_if(first, start, changed);
  const std::byte* after = std::find_if(start + allocation.bytes, last, changed);
  if (before == start && after == last) return;
  const std::string where =
      before != start
          ? std::to_string(start - before) + " bytes before "
          : std::to_string(after - start - static_cast<std::ptrdiff_t>(allocation.bytes)) +
                " bytes past ";
  throw Error(code::kIllegalAddress,
              "something wrote " + where + "allocation number " +
                  std::to_string(allocation.number) + " of " + std::to_string(allocation.bytes) +
                  " bytes");
}

void DeviceMemory::check_redzones() const {
  for (const auto& [address, allocation] : live_) check(address, allocation);
}

void DeviceMemory::free(DevicePtr address) {
  const auto found = live_.find(address);
  if (found == live_.end()) {
    const bool again = freed_.count(address) != 0;
    throw Error(code::kInvalidValue,
                (again ? "freed twice: " : "not the start of an allocation: ") + describe(address));
  }
  const Allocation allocation = found->second;
  live_.erase(found);
  freed_[address] = allocation;
  if (freed_.size() > kRemembered) freed_.erase(freed_.begin());
  used_ -= allocation.bytes;
  protect(allocation, false);
  std::string overrun;
  try {
    check(address, allocation);
  } catch (const Error& error) {
    overrun = error.what();
  }
  fallocate(file_,
            FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
            static_cast<off_t>(allocation.mapped_at),
            static_cast<off_t>(allocation.mapped_bytes));
  if (!overrun.empty()) throw Error(code::kIllegalAddress, overrun);
}

DeviceMemory::Place DeviceMemory::find(const std::map<DevicePtr, Allocation>& map,
                                       std::uint64_t address) const {
  const auto next = map.upper_bound(address);
  return next == map.begin() ? map.end() : std::prev(next);
}

std::byte* DeviceMemory::alias(DevicePtr address, std::size_t bytes) const {
  const auto found = find(live_, address);
  if (found == live_.end() || address >= found->first + found->second.bytes) {
    throw Error(code::kInvalidValue, describe(address));
  }
  const auto& [start, allocation] = *found;
  if (bytes > allocation.bytes - (address - start)) {
    throw Error(code::kInvalidValue,
                std::to_string(bytes) + " bytes from " + place_in(address - start, allocation, "") +
                    " do not fit");
  }
  return alias_ + (reinterpret_cast<std::byte*>(address) - device_);
}

bool DeviceMemory::covers(std::uint64_t address) const {
  const auto start = reinterpret_cast<std::uint64_t>(device_);
  return device_ != nullptr && address >= start && address - start < kReserved;
}

std::string DeviceMemory::describe(std::uint64_t address) const {
  if (!covers(address)) return hex(address) + " is not a device address";
  // Past the end is nearer to the allocation before, freed or not.
  const auto live = find(live_, address);
  const auto freed = find(freed_, address);
  const bool has_live = live != live_.end();
  const bool has_freed = freed != freed_.end();
  if (!has_live && !has_freed) return hex(address) + " was never allocated";
  const bool take_freed = has_freed && (!has_live || freed->first > live->first);
  const auto& [start, allocation] = take_freed ? *freed : *live;
  return hex(address) + " is " + place_in(address - start, allocation, take_freed ? "freed " : "");
}

void DeviceMemory::unlock() {
  if (unlocked_++ > 0) return;
  for (const auto& [address, allocation] : live_) protect(allocation, true);
}

void DeviceMemory::lock() {
  if (--unlocked_ > 0) return;
  for (const auto& [address, allocation] : live_) protect(allocation, false);
}

void* HostMemory::allocate(std::size_t bytes, Handle context) {
  if (bytes == 0) throw Error(code::kInvalidValue, "an allocation of 0 bytes");
  const std::size_t room = round_up(bytes, kPage);
  void* place =
      mmap(nullptr, room + kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (place == MAP_FAILED) throw Error(code::kOutOfMemory);
  mprotect(static_cast<std::byte*>(place) + room, kPage, PROT_NONE);
  std::memset(place, kPoison, std::min(bytes, kPoisoned));
  ranges_[reinterpret_cast<std::uint64_t>(place)] = {bytes, context};
  return place;
}

void HostMemory::free(void* address) {
  const auto key = reinterpret_cast<std::uint64_t>(address);
  const auto found = ranges_.find(key);
  if (found == ranges_.end()) {
    throw Error(code::kInvalidValue, hex(key) + " is not page-locked, or was freed before");
  }
  munmap(address, round_up(found->second.bytes, kPage) + kPage);
  ranges_.erase(found);
}

bool HostMemory::holds(std::uint64_t address, std::size_t bytes) const {
  const auto next = ranges_.upper_bound(address);
  if (next == ranges_.begin()) return false;
  const auto& [start, range] = *std::prev(next);
  if (address >= start + range.bytes) return false;
  if (bytes > range.bytes - (address - start)) {
    throw Error(code::kInvalidValue,
                std::to_string(bytes) + " bytes from byte " + std::to_string(address - start) +
                    " of page-locked memory of " + std::to_string(range.bytes) + " bytes");
  }
  return true;
}

}  // namespace cudasim
