// A band around the straight line of the lattice, and the proof that the best path is in it.
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

/// The tiles with places that are within `width` frames of where a steady speaker would be.
class AlignBand {
 public:
  AlignBand(std::int64_t frames, std::int64_t size, std::int64_t width)
      : frames_(frames), size_(size), width_(width) {}

  bool holds_all() const { return width_ >= frames_; }
  /// What of `tiles` is in the band in some frame of [begin, end).
  TileRange within(const TileRange& tiles, std::int64_t begin, std::int64_t end) const;

 private:
  std::int64_t frames_;
  std::int64_t size_;
  std::int64_t width_;
};

/// An upper bound of the score of every path that leaves the band.
///
/// Up to the frame where it leaves, its score is at most that of the place, which the lattice
/// knows; from there on each frame gives it at most the frame's greatest log-probability of any
/// token of the target, star or blank. Where the best path within the band is better than the
/// bound, it is the best of all.
class ExitBound {
 public:
  /// Begin a block with the columns that a path may take, [columns, kAlignFrames].
  void enter(const float* columns, std::int64_t count, std::int64_t frames);
  /// A path with this score leaves before the i-th frame of the block.
  void leave(double score, std::int64_t i);
  /// All paths that are in a tile leave before the block.
  void leave_tile(const double* blanks, const double* labels);
  /// To be asked after the last block.
  bool is_below(double score) const { return highest_ + best_[entered_] < score; }

 private:
  double highest_ = -std::numeric_limits<double>::infinity();  ///< Of score - best_.
  double best_[kAlignFrames + 1] = {};  ///< Best sum of all frames before the i-th of the block.
  std::int64_t entered_ = 0;            ///< Frames of the block.
};

}  // namespace mms
