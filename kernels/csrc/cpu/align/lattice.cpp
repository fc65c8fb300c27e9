#include "lattice.h"

#include <algorithm>

namespace mms {
namespace {

constexpr double kNever = -std::numeric_limits<double>::infinity();

/// Tiles with a place that is reachable from the start before frame `end` and reaches the goal from
/// frame `begin`: a path advances by at most one place per frame.
TileRange reachable_tiles(const AlignGoal& goal, std::int64_t begin, std::int64_t end) {
  const std::int64_t low = std::max<std::int64_t>(0, goal.low - (goal.frames - 1 - begin));
  const std::int64_t high = std::min(goal.high, end - 1);
  return {low / kAlignPlaces, high / kAlignPlaces + 1};
}

}  // namespace

AlignChoices::AlignChoices(std::int64_t bytes)
    : choices_(
          std::make_unique_for_overwrite<std::uint32_t[][2]>(static_cast<std::size_t>(bytes / 8))) {
}

void AlignChoices::restart(std::int64_t begin) {
  begin_ = begin;
  size_ = 0;
  blocks_.clear();
}

void AlignChoices::add_block(const TileRange& tiles) {
  blocks_.push_back({tiles.first, size_});
  size_ += (tiles.last - tiles.first) * kAlignFrames;
}

std::uint32_t (*AlignChoices::at(std::int64_t frame, std::int64_t tile))[2] {
  const Block& block = blocks_[static_cast<std::size_t>((frame - begin_) / kAlignFrames)];
  return choices_.get() + block.offset + (tile - block.first_tile) * kAlignFrames;
}

Lattice::Lattice(const AlignLabels& labels, AlignEmissions& emissions)
    : labels_(labels),
      emissions_(emissions),
      blank_scores_(static_cast<std::size_t>(labels.tiles * kAlignPlaces)),
      label_scores_(static_cast<std::size_t>(labels.tiles * kAlignPlaces)) {}

double Lattice::blank(std::int64_t pair) const {
  return blank_scores_[static_cast<std::size_t>(labels_.place(pair))];
}

double Lattice::label(std::int64_t pair) const {
  return label_scores_[static_cast<std::size_t>(labels_.place(pair))];
}

void Lattice::load(const SavedRow& row, const AlignGoal& goal) {
  frame_ = row.frame;
  tiles_ = reachable_tiles(goal, row.frame, goal.frames);
  const std::int64_t first = tiles_.first * kAlignPlaces;
  const std::int64_t last = tiles_.last * kAlignPlaces;
  std::fill(blank_scores_.begin() + first, blank_scores_.begin() + last, kNever);
  std::fill(label_scores_.begin() + first, label_scores_.begin() + last, kNever);
  if (row.scores == nullptr) {
    blank_scores_[static_cast<std::size_t>(labels_.place(0))] = 0.0;
    return;
  }
  const std::int64_t begin = row.tiles.first * kAlignPlaces;
  const std::int64_t from = std::max(begin, first);
  const std::int64_t to = std::min(row.tiles.last * kAlignPlaces, last);
  const double* labels = row.scores + (row.tiles.last - row.tiles.first) * kAlignPlaces;
  std::copy(row.scores + from - begin, row.scores + to - begin, blank_scores_.begin() + from);
  std::copy(labels + from - begin, labels + to - begin, label_scores_.begin() + from);
}

void Lattice::save(SavedRow& row) const {
  row.frame = frame_;
  row.tiles = tiles_;
  const std::int64_t first = tiles_.first * kAlignPlaces;
  const std::int64_t last = tiles_.last * kAlignPlaces;
  double* labels =
      std::copy(blank_scores_.begin() + first, blank_scores_.begin() + last, row.scores);
  std::copy(label_scores_.begin() + first, label_scores_.begin() + last, labels);
}

void Lattice::advance(std::int64_t end,
                      const AlignGoal& goal,
                      const AlignBand& band,
                      ExitBound* exits,
                      AlignChoices* choices) {
  while (frame_ < end) {
    const std::int64_t frames = std::min(kAlignFrames, end - frame_);
    const TileRange reachable = reachable_tiles(goal, frame_, frame_ + frames);
    const TileRange tiles = band.within(reachable, frame_, frame_ + frames);
    const float* columns = emissions_.block(frame_);
    if (choices != nullptr) choices->add_block(tiles);
    if (exits != nullptr) {
      exits->enter(columns + kAlignFrames, labels_.column_count() - 1, frames);
      for (std::int64_t tile = std::max(tiles_.first, reachable.first); tile < tiles.first;
           ++tile) {
        exits->leave_tile(&blank_scores_[static_cast<std::size_t>(tile * kAlignPlaces)],
                          &label_scores_[static_cast<std::size_t>(tile * kAlignPlaces)]);
      }
    }
    advance_tiles(tiles, columns, frames, choices);
    if (exits != nullptr && tiles.last < reachable.last) {
      for (std::int64_t i = 0; i < frames; ++i) exits->leave(edge_[i], i);
    }
    tiles_ = tiles;
    frame_ += frames;
  }
}

void Lattice::advance_tiles(const TileRange& tiles,
                            const float* columns,
                            std::int64_t frames,
                            AlignChoices* choices) {
  std::fill(edge_, edge_ + frames, kNever);
  std::copy_n(columns + kBlankColumn * kAlignFrames, frames, blank_);
  for (std::int64_t tile = tiles.first; tile < tiles.last; ++tile) {
    const auto place = static_cast<std::size_t>(tile * kAlignPlaces);
    labels_.kernels.gather(columns, &labels_.columns[place], frames, gathered_);
    labels_.kernels.advance({&blank_scores_[place],
                             &label_scores_[place],
                             labels_.skips[static_cast<std::size_t>(tile)],
                             gathered_,
                             blank_,
                             edge_,
                             choices == nullptr ? nullptr : choices->at(frame_, tile),
                             frames});
  }
}

}  // namespace mms
