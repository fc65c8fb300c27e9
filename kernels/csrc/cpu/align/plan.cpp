#include "plan.h"

#include <algorithm>
#include <optional>
#include <stdexcept>
#include <string>

#include "../isa/kernels.h"

namespace mms {
namespace {

constexpr std::int64_t kFewChoices = std::int64_t{4} << 20;  // bytes; about the size of a cache
constexpr std::int64_t kShortPiece = 512;                    // frames; shorter pieces gain nothing

std::int64_t round_up(std::int64_t value, std::int64_t unit) {
  return (value + unit - 1) / unit * unit;
}

/// Bytes of the current row, columns, tables of the places, and frames.
std::int64_t fixed_bytes(const AlignShape& shape) {
  const std::int64_t places = shape.tiles * kAlignPlaces;
  const std::int64_t target = places * (4 + 4 + 8) + shape.tiles * 4 + shape.vocab * 4;
  const std::int64_t block = shape.columns * (kAlignFrames * 4 + 8) + shape.vocab * 8 * 4;
  return align_row_bytes(shape.tiles) + target + block + (std::int64_t{16} << 10);
}

/// Bytes of back-pointers of a piece: per block of frames, those of the tiles in reach.
std::int64_t choice_bytes(std::int64_t frames, std::int64_t tiles) {
  std::int64_t bytes = 0;
  for (std::int64_t left = frames; left > 0; left -= kAlignFrames) {
    bytes += align_piece_tiles(left, tiles) * kAlignFrames * 8 + 32;
  }
  return bytes;
}

/// Frames between saved rows if half of `left` bytes hold them, or 0.
std::int64_t interval_of(std::int64_t frames, std::int64_t row_bytes, std::int64_t left) {
  const std::int64_t most = std::max<std::int64_t>(1, frames / kShortPiece);
  const std::int64_t rows = std::min(left / 2 / row_bytes, most);
  if (rows < 1) return 0;
  const std::int64_t interval = round_up((frames + rows) / (rows + 1), kAlignFrames);
  return interval < frames ? interval : 0;
}

std::optional<AlignPlan> try_plan(const AlignShape& shape, std::int64_t max_bytes) {
  AlignPlan plan;
  std::int64_t left = max_bytes - fixed_bytes(shape);
  const std::int64_t block = shape.columns * kAlignFrames * 4 + 8;
  const std::int64_t blocks = round_up(shape.frames, kAlignFrames) / kAlignFrames;
  const std::int64_t kept = std::clamp<std::int64_t>(left / 4 / block, 1, blocks);
  left -= (kept - 1) * block;
  std::int64_t frames = shape.frames;
  std::int64_t tiles = shape.tiles;
  for (;;) {
    plan.choice_bytes = choice_bytes(frames, tiles);
    plan.emission_blocks = std::min(kept, round_up(frames, kAlignFrames) / kAlignFrames);
    if (plan.choice_bytes <= std::min(left, kFewChoices)) return plan;
    const std::int64_t row = align_row_bytes(tiles) + 32;
    const std::int64_t interval = interval_of(frames, row, left);
    if (interval == 0) break;
    left -= (frames - 1) / interval * row;
    plan.intervals.push_back(interval);
    frames = interval;
    tiles = align_piece_tiles(interval, tiles);
  }
  if (plan.choice_bytes > left) return std::nullopt;
  return plan;
}

}  // namespace

std::int64_t align_row_bytes(std::int64_t tiles) { return tiles * kAlignPlaces * 16; }

std::int64_t align_piece_tiles(std::int64_t frames, std::int64_t tiles) {
  return std::min(tiles, (frames + kAlignPlaces - 1) / kAlignPlaces + 2);
}

AlignPlan plan_alignment(const AlignShape& shape, std::int64_t max_bytes) {
  if (const auto plan = try_plan(shape, max_bytes)) return *plan;
  std::int64_t enough = std::max<std::int64_t>(max_bytes, 1);
  while (!try_plan(shape, enough)) enough += enough / 8 + 1;
  throw std::invalid_argument("max_bytes is " + std::to_string(max_bytes) + ", to align " +
                              std::to_string(shape.frames) + " frames to this target takes " +
                              std::to_string(enough));
}

}  // namespace mms
