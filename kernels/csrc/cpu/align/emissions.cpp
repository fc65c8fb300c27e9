#include "emissions.h"

#include <algorithm>
#include <limits>

#include "../frame.h"
#include "../isa/kernels.h"

namespace mms {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();
constexpr std::int64_t kRows = 8;

/// Nearest multiple of 2^-26, never -0. Every float32 of at least 1/8 is one.
float rounded(float x) {
  const float eighth = x < 0.0F ? -0.125F : 0.125F;
  const float small = (x + eighth) - eighth;
  return x * eighth < 0.015625F ? small : x;
}

}  // namespace

AlignEmissions::AlignEmissions(const Scores& scores,
                               const AlignLabels& labels,
                               const AlignOptions& options,
                               std::int64_t blocks)
    : scores_(scores),
      labels_(labels),
      blank_(options.blank),
      star_score_(options.has_star ? rounded(options.star_score) : kNever),
      held_(static_cast<std::size_t>(blocks), -1),
      blocks_(std::make_unique_for_overwrite<float[]>(
          static_cast<std::size_t>(blocks * labels.column_count() * kAlignFrames))),
      rows_(static_cast<std::size_t>(kRows * scores.vocab)) {}

const float* AlignEmissions::block(std::int64_t begin) {
  const std::int64_t number = begin / kAlignFrames;
  const std::int64_t slot = number % static_cast<std::int64_t>(held_.size());
  float* columns = blocks_.get() + slot * labels_.column_count() * kAlignFrames;
  std::int64_t& held = held_[static_cast<std::size_t>(slot)];
  if (held != number) fill(begin, columns);
  held = number;
  return columns;
}

void AlignEmissions::fill(std::int64_t begin, float* columns) {
  // Values beyond the last frame are copied but never used.
  if (begin + kAlignFrames > scores_.frames) {
    std::fill_n(columns, labels_.column_count() * kAlignFrames, 0.0F);
  }
  std::fill_n(columns + kPadColumn * kAlignFrames, kAlignFrames, kNever);
  std::fill_n(columns + kStarColumn * kAlignFrames, kAlignFrames, star_score_);
  const std::int64_t end = std::min(begin + kAlignFrames, scores_.frames);
  for (std::int64_t frame = begin; frame < end; frame += kRows) {
    fill_rows(frame, std::min(kRows, end - frame), columns + frame - begin);
  }
}

/// Transpose a few frames at a time, to write whole cache lines.
void AlignEmissions::fill_rows(std::int64_t begin, std::int64_t count, float* columns) {
  const float* rows[kRows];
  for (std::int64_t i = 0; i < count; ++i) {
    rows[i] = log_probs_of(scores_, begin + i, 0, rows_.data() + i * scores_.vocab);
    columns[kBlankColumn * kAlignFrames + i] = rounded(rows[i][blank_]);
  }
  float* column = columns + kFirstColumn * kAlignFrames;
  for (const std::int64_t token : labels_.tokens) {
    for (std::int64_t i = 0; i < count; ++i) column[i] = rounded(rows[i][token]);
    column += kAlignFrames;
  }
}

}  // namespace mms
