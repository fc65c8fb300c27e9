// Target prepared for the lattice: columns of its distinct tokens, divided into tiles.
#pragma once

#include <cstdint>
#include <vector>

#include "../isa/kernels.h"
#include "mms/align.h"

namespace mms {

/// Columns of every target; those of its tokens follow.
enum AlignColumn : std::int32_t { kPadColumn, kBlankColumn, kStarColumn, kFirstColumn };

struct AlignLabels {
  const AlignKernels& kernels;
  std::int64_t size = 0;                ///< L; the lattice has L + 1 places, the last but a blank.
  std::int64_t repeats = 0;             ///< Tokens equal to their predecessor.
  std::int64_t tiles = 0;               ///< Of kAlignPlaces places.
  std::vector<std::int64_t> tokens{};   ///< Token of each column from kFirstColumn on.
  std::vector<std::int32_t> columns{};  ///< [tiles * kAlignPlaces], permuted in each tile.
  std::vector<std::uint32_t> skips{};   ///< [tiles]: see AlignTile.

  std::int64_t column_count() const {
    return kFirstColumn + static_cast<std::int64_t>(tokens.size());
  }
  /// Index of place `pair` in the permuted arrays.
  std::int64_t place(std::int64_t pair) const;
  bool may_skip(std::int64_t pair) const;
};

/// Throws std::invalid_argument if the target holds the blank or an invalid token.
AlignLabels read_target(const AlignTarget& target, std::int64_t vocab, const AlignOptions& options);

}  // namespace mms
