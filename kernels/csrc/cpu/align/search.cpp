#include "search.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <utility>

namespace mms {

AlignSearch::AlignSearch(const AlignLabels& labels,
                         AlignEmissions& emissions,
                         std::int64_t frames,
                         const AlignPlan& plan)
    : labels_(labels),
      emissions_(emissions),
      frames_(frames),
      lattice_(labels, emissions),
      choices_(plan.choice_bytes),
      starts_(static_cast<std::size_t>(labels.size)),
      ends_(static_cast<std::size_t>(labels.size)),
      sums_(static_cast<std::size_t>(labels.size)) {
  std::int64_t tiles = labels.tiles;
  for (const std::int64_t interval : plan.intervals) {
    const std::int64_t rows = (frames - 1) / interval;
    const std::int64_t doubles = align_row_bytes(tiles) / 8;
    levels_.push_back(
        {interval,
         doubles,
         std::make_unique_for_overwrite<double[]>(static_cast<std::size_t>(rows * doubles)),
         {}});
    levels_.back().rows.reserve(static_cast<std::size_t>(rows + 1));
    frames = interval;
    tiles = align_piece_tiles(interval, tiles);
  }
}

bool AlignSearch::run(const AlignBand& band) {
  band_ = &band;
  return solve(0, {}, {frames_, std::max<std::int64_t>(0, labels_.size - 1), labels_.size});
}

// Recursion over the few levels of the plan.
bool AlignSearch::solve(std::size_t depth, const SavedRow& start, const AlignGoal& goal) {
  ExitBound bound;
  ExitBound* exits = depth == 0 && !band_->holds_all() ? &bound : nullptr;
  lattice_.load(start, goal);
  if (depth == levels_.size()) {
    choices_.restart(start.frame);
    lattice_.advance(goal.frames, goal, *band_, exits, &choices_);
    if (depth == 0 && !choose_end(exits)) return false;
    walk(start.frame, goal.frames);
    return true;
  }
  Level& level = levels_[depth];
  level.rows.assign(1, start);
  double* room = level.room.get();
  for (std::int64_t end = start.frame + level.interval; end < goal.frames; end += level.interval) {
    lattice_.advance(end, goal, *band_, exits, nullptr);
    level.rows.push_back({room, 0, {}});
    lattice_.save(level.rows.back());
    room += level.row_doubles;
  }
  if (depth == 0) {
    lattice_.advance(goal.frames, goal, *band_, exits, nullptr);
    if (!choose_end(exits)) return false;
  }
  std::int64_t end = goal.frames;
  for (; !level.rows.empty(); level.rows.pop_back()) {
    const SavedRow row = level.rows.back();
    solve(depth + 1, row, {end, pair_, pair_});
    end = row.frame;
  }
  return true;
}

bool AlignSearch::choose_end(const ExitBound* exits) {
  const double blank = lattice_.blank(labels_.size);
  const double label = labels_.size > 0 ? lattice_.label(labels_.size - 1) : blank;
  in_label_ = label > blank;
  pair_ = in_label_ ? labels_.size - 1 : labels_.size;
  score_ = std::max(label, blank);
  if (exits != nullptr) return exits->is_below(score_);
  if (std::isinf(score_)) {
    throw std::invalid_argument(
        "no path has a probability: in every alignment some token is -inf in some frame");
  }
  return true;
}

void AlignSearch::walk(std::int64_t begin, std::int64_t end) {
  std::int64_t frame = end;
  while (frame > begin) {
    const std::int64_t block = (frame - 1) / kAlignFrames * kAlignFrames;
    const float* columns = emissions_.block(block);
    for (; frame > block; --frame) visit(frame - 1, columns + (frame - 1 - block));
  }
}

/// Record the state of the path in this frame and step back by one frame.
void AlignSearch::visit(std::int64_t frame, const float* columns) {
  const std::int64_t place = labels_.place(pair_);
  const std::int64_t tile = place / kAlignPlaces;
  const auto* choice = choices_.at(frame, tile)[frame % kAlignFrames];
  const bool from_label = (choice[0] >> (place % kAlignPlaces) & 1) != 0;
  if (in_label_) {
    const auto i = static_cast<std::size_t>(pair_);
    if (ends_[i] == 0) ends_[i] = frame + 1;
    starts_[i] = frame;
    sums_[i] += static_cast<double>(
        columns[labels_.columns[static_cast<std::size_t>(place)] * kAlignFrames]);
    const bool entered = (choice[1] >> (place % kAlignPlaces) & 1) != 0;
    if (!entered) return;
    in_label_ = from_label && labels_.may_skip(pair_);
  } else {
    in_label_ = from_label;
  }
  if (in_label_) --pair_;
}

Alignment AlignSearch::take_result() {
  Alignment alignment{std::move(starts_), std::move(ends_), {}, score_};
  alignment.scores.reserve(sums_.size());
  for (std::size_t i = 0; i < sums_.size(); ++i) {
    const auto frames = static_cast<double>(alignment.ends[i] - alignment.starts[i]);
    alignment.scores.push_back(static_cast<float>(sums_[i] / frames));
  }
  return alignment;
}

}  // namespace mms
