#include "mms/greedy.h"

#include <exception>
#include <stdexcept>
#include <string>

#include "frame.h"
#include "parallel.h"

namespace mms {
namespace {

void close_run(const GreedyState& state, GreedyTokens& tokens) {
  if (state.open == state.blank) return;
  const auto frames = static_cast<double>(state.frame - state.start);
  tokens.ids.push_back(state.open);
  tokens.starts.push_back(state.start);
  tokens.ends.push_back(state.frame);
  tokens.scores.push_back(static_cast<float>(state.sum / frames));
  tokens.peaks.push_back(static_cast<float>(state.peak));
}

void read_frame(GreedyState& state, const float* scores, ScoreKind kind, GreedyTokens& tokens) {
  const Peak found = find_peak(scores, state.vocab);
  check_peak(found, state.frame);
  const float peak = found.value;
  const auto token = static_cast<std::int32_t>(find_first(scores, state.vocab, peak));
  const bool begins = token != state.open;
  if (begins) {
    close_run(state, tokens);
    state.open = token;
    state.start = state.frame;
  }
  // Most frames are blank, and nobody asks how likely a blank is.
  if (token != state.blank) {
    const double score =
        kind == ScoreKind::kLogits ? log_softmax_of_peak(scores, state.vocab, peak) : scores[token];
    state.sum = begins ? score : state.sum + score;
    state.peak = begins || score > state.peak ? score : state.peak;
  }
  ++state.frame;
}

void truncate(GreedyTokens& tokens, std::size_t size) {
  tokens.ids.resize(size);
  tokens.starts.resize(size);
  tokens.ends.resize(size);
  tokens.scores.resize(size);
  tokens.peaks.resize(size);
}

GreedyTokens decode_row(const ScoresBatch& batch, std::int32_t blank, std::int64_t row) {
  GreedyTokens tokens;
  GreedyState state = greedy_begin(blank);
  greedy_step(state, row_of(batch, row), tokens);
  greedy_end(state, tokens);
  return tokens;
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

void greedy_step(GreedyState& state, const Scores& scores, GreedyTokens& tokens) {
  check_vocab(scores.vocab, state.vocab, state.blank);
  const GreedyState before = state;
  const std::size_t size = tokens.ids.size();
  std::vector<float> wide(static_cast<std::size_t>(scores.vocab));
  state.vocab = scores.vocab;
  try {
    for (std::int64_t frame = 0; frame < scores.frames; ++frame) {
      read_frame(state, widen(scores, frame, wide.data()), scores.kind, tokens);
    }
  } catch (...) {
    state = before;
    truncate(tokens, size);
    throw;
  }
}

void greedy_end(const GreedyState& state, GreedyTokens& tokens) { close_run(state, tokens); }

std::vector<GreedyTokens> greedy_batch(const ScoresBatch& batch,
                                       std::int32_t blank,
                                       std::int64_t threads) {
  std::vector<GreedyTokens> results(static_cast<std::size_t>(batch.rows));
  for_each_row(batch.rows, threads, [&](std::int64_t row) {
    try {
      results[static_cast<std::size_t>(row)] = decode_row(batch, blank, row);
    } catch (const std::invalid_argument& error) {
      throw std::invalid_argument("row " + std::to_string(row) + ": " + error.what());
    }
  });
  return results;
}

}  // namespace mms
