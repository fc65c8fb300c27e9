#include "shadow.h"

namespace mms::emulate {
namespace {

constexpr std::uint32_t kWarpSize = 32;

bool same_warp(const Moment& a, const Moment& b) {
  return a.thread / kWarpSize == b.thread / kWarpSize;
}

bool ordered(const Moment& before, const Moment& now) {
  if (before.block != now.block) return false;
  if (before.thread == now.thread || before.epoch < now.epoch) return true;
  return same_warp(before, now) && before.warp_epoch < now.warp_epoch;
}

}  // namespace

bool Shadow::reads_race(const Cell& cell, const Moment& now) {
  if (cell.readers == Readers::kNone) return false;
  if (cell.readers == Readers::kOne) return !ordered(cell.read, now);
  if (cell.readers == Readers::kSeveralBlocks || cell.read.block != now.block) return true;
  if (cell.read.epoch < now.epoch) return false;
  // Among several readers at least one is another thread, or in another warp.
  return cell.readers == Readers::kSeveralWarps || !same_warp(cell.read, now) ||
         cell.read.warp_epoch == now.warp_epoch;
}

void Shadow::note_read(Cell& cell, const Moment& now) {
  if (cell.readers == Readers::kNone) {
    cell.readers = Readers::kOne;
  } else if (cell.readers == Readers::kSeveralBlocks || cell.read.block != now.block) {
    cell.readers = Readers::kSeveralBlocks;
  } else if (cell.read.epoch < now.epoch) {
    cell.readers = Readers::kOne;
  } else if (cell.readers == Readers::kSeveralWarps || !same_warp(cell.read, now)) {
    cell.readers = Readers::kSeveralWarps;
  } else if (cell.read.warp_epoch < now.warp_epoch) {
    cell.readers = Readers::kOne;
  } else if (cell.read.thread != now.thread) {
    cell.readers = Readers::kOneWarp;
  }
  cell.read = now;
}

std::optional<std::uint32_t> Shadow::touch(std::size_t element, Access access, const Moment& now) {
  Cell& cell = cells_[element];
  const bool both_atomic = cell.atomic && access == Access::kAtomic;
  const bool after_write = !cell.written || both_atomic || ordered(cell.write, now);
  if (!after_write) return cell.write.thread;
  if (access == Access::kRead) {
    note_read(cell, now);
    return std::nullopt;
  }
  if (reads_race(cell, now)) return cell.read.thread;
  cell.write = now;
  cell.written = true;
  cell.atomic = access == Access::kAtomic;
  cell.readers = Readers::kNone;
  return std::nullopt;
}

Shadow& GlobalShadow::of(const void* data, std::size_t elements) {
  auto& shadow = shadows_[{data, elements}];
  if (!shadow) shadow = std::make_unique<Shadow>(elements);
  return *shadow;
}

}  // namespace mms::emulate
