// Race detection for emulated memory: the access history of each element.
//
// Two accesses to an element, one of them a write, race unless the same thread made them, a
// barrier of the block lies between them, or a __syncwarp where both are of one warp. Atomic
// operations do not race with each other. Blocks of a launch are never ordered.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <vector>

namespace mms::emulate {

/// Time and thread of an access; epochs count the barriers so far.
struct Moment {
  std::uint32_t block;
  std::uint32_t epoch;
  std::uint32_t warp_epoch;
  std::uint32_t thread;
};

enum class Access : std::uint8_t { kRead, kWrite, kAtomic };

/// Access history of an array, as far as it can still race.
class Shadow {
 public:
  explicit Shadow(std::size_t elements) : cells_(elements) {}

  /// Record an access; returns the thread it races with.
  std::optional<std::uint32_t> touch(std::size_t element, Access access, const Moment& now);
  std::size_t size() const { return cells_.size(); }
  bool written(std::size_t element) const { return cells_[element].written; }

 private:
  enum class Readers : std::uint8_t { kNone, kOne, kOneWarp, kSeveralWarps, kSeveralBlocks };
  struct Cell {
    Moment write{};
    Moment read{};
    bool written = false;
    bool atomic = false;
    Readers readers = Readers::kNone;
  };

  static bool reads_race(const Cell& cell, const Moment& now);
  static void note_read(Cell& cell, const Moment& now);

  std::vector<Cell> cells_;
};

/// Histories of the arrays in global memory during a launch.
class GlobalShadow {
 public:
  Shadow& of(const void* data, std::size_t elements);

 private:
  std::map<std::pair<const void*, std::size_t>, std::unique_ptr<Shadow>> shadows_;
};

/// Shared memory as a thread sees it.
struct Memory {
  std::byte* data = nullptr;
  std::size_t bytes = 0;
  Shadow* shadow = nullptr;
};

}  // namespace mms::emulate
