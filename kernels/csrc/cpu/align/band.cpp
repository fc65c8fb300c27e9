#include "band.h"

#include <algorithm>

namespace mms {

TileRange AlignBand::within(const TileRange& tiles, std::int64_t begin, std::int64_t end) const {
  if (holds_all()) return tiles;
  const std::int64_t low = std::max<std::int64_t>(0, begin - width_);
  const std::int64_t high = std::min(frames_, end + width_);
  return {std::max(tiles.first, low * size_ / frames_ / kAlignPlaces),
          std::min(tiles.last, high * size_ / frames_ / kAlignPlaces + 1)};
}

void ExitBound::enter(const float* columns, std::int64_t count, std::int64_t frames) {
  best_[0] = best_[entered_];
  entered_ = frames;
  for (std::int64_t i = 0; i < frames; ++i) {
    float best = columns[i];
    for (std::int64_t k = 1; k < count; ++k) {
      best = std::max(best, columns[k * kAlignFrames + i]);
    }
    best_[i + 1] = best_[i] + best;
  }
}

void ExitBound::leave(double score, std::int64_t i) {
  highest_ = std::max(highest_, score - best_[i]);
}

void ExitBound::leave_tile(const double* blanks, const double* labels) {
  for (std::int64_t place = 0; place < kAlignPlaces; ++place) {
    leave(std::max(blanks[place], labels[place]), 0);
  }
}

}  // namespace mms
