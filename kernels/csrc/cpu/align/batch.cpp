#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

#include "../frame.h"
#include "../parallel.h"
#include "mms/align.h"
#include "search.h"

namespace mms {
namespace {

void check_options(const AlignOptions& options, std::int64_t vocab) {
  if (options.blank < 0) {
    throw std::invalid_argument("blank is " + std::to_string(options.blank) +
                                ", it must not be negative");
  }
  check_vocab(vocab, 0, options.blank);
  if (options.has_star && options.star >= 0 && options.star < vocab) {
    throw std::invalid_argument("star is " + std::to_string(options.star) +
                                ", which is a token of the logits: use -1");
  }
  if (std::isnan(options.star_score) || options.star_score > 0.0F) {
    throw std::invalid_argument("star_score must be a log-probability, at most 0");
  }
  if (options.band < 0) {
    throw std::invalid_argument("band is " + std::to_string(options.band) +
                                ", it must not be negative");
  }
}

void check_length(std::int64_t frames, const AlignLabels& labels) {
  const std::int64_t needed = labels.size + labels.repeats;
  if (needed <= frames) return;
  throw std::invalid_argument("the target takes at least " + std::to_string(needed) +
                              " frames, L = " + std::to_string(labels.size) +
                              " and a blank before each of R = " + std::to_string(labels.repeats) +
                              " repeats, the logits have T = " + std::to_string(frames) +
                              ": shorten the target, or check that it belongs to this audio");
}

}  // namespace

Alignment forced_align(const Scores& scores,
                       const AlignTarget& target,
                       const AlignOptions& options) {
  check_options(options, scores.vocab);
  const AlignLabels labels = read_target(target, scores.vocab, options);
  check_length(scores.frames, labels);
  if (scores.frames == 0) return {};
  const AlignPlan plan = plan_alignment(
      {scores.frames, scores.vocab, labels.tiles, labels.column_count()}, options.max_bytes);
  AlignEmissions emissions(scores, labels, options, plan.emission_blocks);
  AlignSearch search(labels, emissions, scores.frames, plan);
  std::int64_t width = options.band == 0 ? scores.frames : options.band;
  while (!search.run({scores.frames, target.size, std::min(width, scores.frames)})) width *= 2;
  return search.take_result();
}

std::vector<Alignment> forced_align_batch(const ScoresBatch& batch,
                                          const AlignTargets& targets,
                                          const AlignOptions& options,
                                          std::int64_t threads) {
  std::vector<Alignment> results(static_cast<std::size_t>(batch.rows));
  AlignOptions share = options;
  share.max_bytes /= std::clamp<std::int64_t>(batch.rows, 1, std::max<std::int64_t>(1, threads));
  for_each_row(batch.rows, threads, [&](std::int64_t row) {
    const std::int64_t size = targets.lengths[row];
    if (size < 0 || size > targets.width) {
      throw std::invalid_argument("target length is " + std::to_string(size) +
                                  ", the targets have " + std::to_string(targets.width) +
                                  " tokens");
    }
    const AlignTarget target{targets.tokens + row * targets.width, size};
    results[static_cast<std::size_t>(row)] = forced_align(row_of(batch, row), target, share);
  });
  return results;
}

}  // namespace mms
