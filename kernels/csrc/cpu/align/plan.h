// Plan of an alignment within a memory limit.
//
// Back-pointers of the whole lattice (2 bits per place and frame) if they fit. Otherwise rows of
// scores are saved at intervals, and the path is traced from the end, piece by piece: each piece is
// recomputed from the row before it, with back-pointers, for the places that reach the path's next
// state only. If a piece does not fit either, it is divided in turn.
//
// With T frames, L tokens and K frames between rows, a row takes 16 L bytes and the back-pointers
// of a piece K * min(K, L) / 8. The first pass visits at most T * L places, the second T * min(K,
// L) / 2.
#pragma once

#include <cstdint>
#include <vector>

namespace mms {

struct AlignShape {
  std::int64_t frames;
  std::int64_t vocab;
  std::int64_t tiles;    ///< Tiles of kAlignPlaces places.
  std::int64_t columns;  ///< Distinct tokens and a few more.
};

struct AlignPlan {
  std::int64_t emission_blocks = 1;  ///< Cached blocks of columns; all of a piece if they fit.
  /// Frames between two saved rows of scores, at each level; the last level has back-pointers.
  std::vector<std::int64_t> intervals;
  std::int64_t choice_bytes = 0;  ///< Back-pointers of a piece at the last level.
};

/// Bytes of one row of scores of `tiles` tiles.
std::int64_t align_row_bytes(std::int64_t tiles);

/// Most tiles that a piece of `frames` frames needs once its last place is known.
std::int64_t align_piece_tiles(std::int64_t frames, std::int64_t tiles);

/// Throws std::invalid_argument, naming a sufficient limit, if `max_bytes` is too small.
AlignPlan plan_alignment(const AlignShape& shape, std::int64_t max_bytes);

}  // namespace mms
