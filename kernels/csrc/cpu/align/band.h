// Band around the diagonal of the lattice, and the proof that it holds the best path.
#pragma once

#include <cstdint>
#include <limits>

#include "../isa/kernels.h"

namespace mms {

/// Tiles [first, last) of a row.
struct TileRange {
  std::int64_t first = 0;
  std::int64_t last = 0;
};

/// Tiles within `width` frames of the diagonal, which is speech at constant rate.
class AlignBand {
 public:
  AlignBand(std::int64_t frames, std::int64_t size, std::int64_t width)
      : frames_(frames), size_(size), width_(width) {}

  bool holds_all() const { return width_ >= frames_; }
  /// The part of `tiles` in the band in any frame of [begin, end).
  TileRange within(const TileRange& tiles, std::int64_t begin, std::int64_t end) const;

 private:
  std::int64_t frames_;
  std::int64_t size_;
  std::int64_t width_;
};

/// Upper bound of the score of every path that leaves the band.
///
/// Up to the frame where it leaves, a path scores at most as much as its place in the lattice; from
/// there on each frame adds at most the greatest log-probability of the target's tokens, the star
/// and the blank. If the best path within the band scores higher, it is the best of all.
class ExitBound {
 public:
  /// Begin a block with its columns [columns, kAlignFrames].
  void enter(const float* columns, std::int64_t count, std::int64_t frames);
  /// Record a path that leaves before the i-th frame of the block with this score.
  void leave(double score, std::int64_t i);
  /// Record that all paths in a tile leave before the block.
  void leave_tile(const double* blanks, const double* labels);
  /// Valid after the last block.
  bool is_below(double score) const { return highest_ + best_[entered_] < score; }

 private:
  double highest_ = -std::numeric_limits<double>::infinity();  ///< Maximum of score - best_.
  double best_[kAlignFrames + 1] = {};  ///< Best sum up to the i-th frame of the block.
  std::int64_t entered_ = 0;            ///< Frames of the block.
};

}  // namespace mms
