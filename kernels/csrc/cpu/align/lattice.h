// Lattice of one alignment: its current row of scores, advanced by blocks of frames.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "band.h"
#include "emissions.h"
#include "target.h"

namespace mms {

/// Target of a search: the places [low, high] at frame `frames` - 1.
struct AlignGoal {
  std::int64_t frames;
  std::int64_t low;
  std::int64_t high;
};

/// Row of scores before frame `frame`. `scores` is not owned; null for the initial row.
struct SavedRow {
  double* scores = nullptr;
  std::int64_t frame = 0;
  TileRange tiles;
};

/// Back-pointers of consecutive blocks of frames: see AlignTile.
class AlignChoices {
 public:
  /// Reserve `bytes`.
  explicit AlignChoices(std::int64_t bytes);

  /// Clear; the next block begins at frame `begin`.
  void restart(std::int64_t begin);
  void add_block(const TileRange& tiles);
  /// Back-pointers of a tile in the block of `frame`, [kAlignFrames].
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

  /// Restore a saved row, as far as paths to the goal need it.
  void load(const SavedRow& row, const AlignGoal& goal);
  /// Copy the current row to `row.scores` and set its frame and tiles.
  void save(SavedRow& row) const;

  /// Advance to before frame `end`, within the band and the places that reach the goal. `exits` and
  /// `choices` may be null.
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
  std::int64_t frame_ = 0;  ///< Next frame to read.
  TileRange tiles_;         ///< Tiles that are up to date.
  std::vector<double> blank_scores_;
  std::vector<double> label_scores_;
  double edge_[kAlignFrames];
  double blank_[kAlignFrames];
  float gathered_[kAlignFrames * kAlignPlaces];
};

}  // namespace mms
