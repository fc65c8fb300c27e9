// How an alignment is done within a bound on its memory.
//
// Back-pointers of the whole lattice (2 bits a place and frame) where they are few. Else the scores
// are saved every so many frames and the path is found from the end, a piece at a time: from the
// scores saved before it, a piece is done again with back-pointers, but only the places from which
// the path's next state can be reached. Where even that is too much, pieces are cut in turn.
//
// With T frames, L tokens and K frames between rows: a row takes 16 L bytes, the back-pointers of a
// piece K * min(K, L) / 8. One pass over at most T * L places, then one over T * min(K, L) / 2.
#pragma once

#include <cstdint>
#include <vector>

namespace mms {

struct AlignShape {
  std::int64_t frames;
  std::int64_t vocab;
  std::int64_t tiles;    ///< Of kAlignPlaces places.
  std::int64_t columns;  ///< Distinct tokens and a few more.
};

struct AlignPlan {
  std::int64_t emission_blocks = 1;  ///< Of columns that are kept, all of a piece if there is room.
  /// Frames between two saved rows of scores, at each level; the last level has back-pointers.
  std::vector<std::int64_t> intervals;
  std::int64_t choice_bytes = 0;  ///< Of the back-pointers of a piece of the last level.
};

/// Bytes of one row of scores of `tiles` tiles.
std::int64_t align_row_bytes(std::int64_t tiles);

/// The most tiles that a piece of `frames` frames needs where its last place is known.
std::int64_t align_piece_tiles(std::int64_t frames, std::int64_t tiles);

/// Throws std::invalid_argument, naming a bound that would do, where `max_bytes` is too small.
AlignPlan plan_alignment(const AlignShape& shape, std::int64_t max_bytes);

}  // namespace mms
