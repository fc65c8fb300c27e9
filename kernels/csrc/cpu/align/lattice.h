// The lattice of one alignment: its row of scores, moved on a block of frames at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "band.h"
#include "emissions.h"
#include "target.h"

namespace mms {

/// Paths that are in one of the places [low, high] at frame `frames` - 1.
struct AlignGoal {
  std::int64_t frames;
  std::int64_t low;
  std::int64_t high;
};

/// What matters of a row, before frame `frame`. The room belongs to another; none: the first row.
struct SavedRow {
  double* scores = nullptr;
  std::int64_t frame = 0;
  TileRange tiles;
};

/// Back-pointers of consecutive blocks of frames: see AlignTile.
class AlignChoices {
 public:
  /// Room for `bytes` of them at most.
  explicit AlignChoices(std::int64_t bytes);

  /// Forget all; the next block begins at frame `begin`.
  void restart(std::int64_t begin);
  void add_block(const TileRange& tiles);
  /// Those of a tile in the block of `frame`, [kAlignFrames].
  std::uint32_t (*at(std::int64_t frame, std::int64_t tile))[2];

 private:
  struct Block {
    std::int64_t first_tile;
    std::int64_t offset;
  };
  std::int64_t begin_ = 0;
  std::int64_t size_ = 0;
  std::vector<Block> blocks_;
  std::unique_ptr<std::uint32_t[][2]> choices_;
};

class Lattice {
 public:
  /// The arguments are not copied.
  Lattice(const AlignLabels& labels, AlignEmissions& emissions);

  /// Go back to a saved row, with the tiles that a path to the goal can need.
  void load(const SavedRow& row, const AlignGoal& goal);
  /// Copy the row to where `row.scores` points, and say what it is.
  void save(SavedRow& row) const;

  /// Go on before frame `end`, with the places of the band from which the goal can be reached.
  /// `exits` and `choices` may be null: not asked for.
  void advance(std::int64_t end,
               const AlignGoal& goal,
               const AlignBand& band,
               ExitBound* exits,
               AlignChoices* choices);

  double blank(std::int64_t pair) const;
  double label(std::int64_t pair) const;

 private:
  void advance_tiles(const TileRange& tiles,
                     const float* columns,
                     std::int64_t frames,
                     AlignChoices* choices);

  const AlignLabels& labels_;
  AlignEmissions& emissions_;
  std::int64_t frame_ = 0;  ///< The next to be read.
  TileRange tiles_;         ///< That the last block left up to date.
  std::vector<double> blank_scores_;
  std::vector<double> label_scores_;
  double edge_[kAlignFrames];
  double blank_[kAlignFrames];
  float gathered_[kAlignFrames * kAlignPlaces];
};

}  // namespace mms
