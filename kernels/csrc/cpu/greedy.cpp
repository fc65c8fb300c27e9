#include "mms/greedy.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <stdexcept>
#include <string>

#include "frame.h"
#include "isa/kernels.h"
#include "parallel.h"

namespace mms {
namespace {

void close_run(const GreedyState& state, TimedTokens& tokens) {
  if (state.open == state.blank) return;
  const auto frames = static_cast<double>(state.frame - state.start);
  tokens.ids.push_back(state.open);
  tokens.starts.push_back(state.start);
  tokens.ends.push_back(state.frame);
  tokens.scores.push_back(static_cast<float>(state.sum / frames));
  tokens.peaks.push_back(static_cast<float>(state.peak));
}

void read_best(GreedyState& state, const Best& best, ScoreKind kind, TimedTokens& tokens) {
  if (!std::isfinite(best.score)) check_peak({best.score, std::isnan(best.score)}, state.frame);
  const bool begins = best.token != state.open;
  if (begins) {
    close_run(state, tokens);
    state.open = best.token;
    state.start = state.frame;
  }
  if (best.token != state.blank) {
    // Adding 0 turns -0 into 0.
    const double score = kind == ScoreKind::kLogits ? -std::log(static_cast<double>(best.sum))
                                                    : static_cast<double>(best.score) + 0.0;
    state.sum = begins ? score : state.sum + score;
    state.peak = begins || score > state.peak ? score : state.peak;
  }
  ++state.frame;
}

void read_frames(GreedyState& state, const Scores& scores, TimedTokens& tokens) {
  std::array<Best, 64> best;
  const auto most = static_cast<std::int64_t>(best.size());
  for (std::int64_t frame = 0; frame < scores.frames; frame += most) {
    const std::int64_t count = std::min(most, scores.frames - frame);
    MMS_TABLE(kGreedy).find_best(scores, frame, count, state.blank, best.data());
    for (std::int64_t i = 0; i < count; ++i) {
      read_best(state, best[static_cast<std::size_t>(i)], scores.kind, tokens);
    }
  }
}

}  // namespace

GreedyState greedy_begin(std::int32_t blank) {
  if (blank < 0) {
    throw std::invalid_argument("blank is " + std::to_string(blank) + ", it must not be negative");
  }
  GreedyState state;
  state.blank = blank;
  state.open = blank;
  return state;
}

void greedy_step(GreedyState& state, const Scores& scores, TimedTokens& tokens) {
  check_vocab(scores.vocab, state.vocab, state.blank);
  const GreedyState before = state;
  const std::size_t size = tokens.ids.size();
  state.vocab = scores.vocab;
  try {
    read_frames(state, scores, tokens);
  } catch (...) {
    state = before;
    tokens.resize(size);
    throw;
  }
}

void greedy_end(const GreedyState& state, TimedTokens& tokens) { close_run(state, tokens); }

std::vector<TimedTokens> greedy_batch(const ScoresBatch& batch,
                                      std::int32_t blank,
                                      std::int64_t threads) {
  std::vector<TimedTokens> results(static_cast<std::size_t>(batch.rows));
  for_each_row(batch.rows, threads, [&](std::int64_t row) {
    TimedTokens& tokens = results[static_cast<std::size_t>(row)];
    GreedyState state = greedy_begin(blank);
    greedy_step(state, row_of(batch, row), tokens);
    greedy_end(state, tokens);
  });
  return results;
}

}  // namespace mms
