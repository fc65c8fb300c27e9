// The core without Python, run under the address and undefined-behaviour sanitizers.
#include "mms/greedy.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "check.h"

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Exactly as many numbers as there are, on the heap, so that any step beyond them is caught.
mms::TimedTokens decode(const std::vector<float>& logits, std::int64_t vocab, std::int64_t step) {
  const auto frames = static_cast<std::int64_t>(logits.size()) / vocab;
  mms::GreedyState state = mms::greedy_begin(0);
  mms::TimedTokens tokens;
  for (std::int64_t frame = 0; frame < frames; frame += step) {
    const std::int64_t count = std::min(step, frames - frame);
    mms::greedy_step(state, {logits.data() + frame * vocab, count, vocab}, tokens);
  }
  mms::greedy_end(state, tokens);
  return tokens;
}

bool same(const mms::TimedTokens& a, const mms::TimedTokens& b) {
  return a.ids == b.ids && a.starts == b.starts && a.ends == b.ends && a.scores == b.scores &&
         a.peaks == b.peaks;
}

void test_every_cut_gives_the_same_bits() {
  for (const std::int64_t vocab : {1, 2, 15, 16, 17, 33, 100}) {
    const auto logits = random_logits(40, vocab, 1, 3.0F);
    const auto whole = decode(logits, vocab, 40);
    for (const std::int64_t step : {1, 2, 3, 7, 39})
      CHECK(same(decode(logits, vocab, step), whole));
  }
}

void test_scores() {
  const std::vector<float> logits = {0.0F, 1.0F, -kInfinity, 0.0F, 3.0F, -kInfinity};
  const auto tokens = decode(logits, 3, 2);
  const double first = 1.0 - std::log(1.0 + std::exp(1.0));
  const double second = 3.0 - std::log(1.0 + std::exp(3.0));
  CHECK(tokens.ids == std::vector<std::int32_t>{1});
  CHECK(tokens.starts == std::vector<std::int64_t>{0});
  CHECK(tokens.ends == std::vector<std::int64_t>{2});
  CHECK(std::abs(tokens.scores[0] - (first + second) / 2) < 1e-6);
  CHECK(std::abs(tokens.peaks[0] - second) < 1e-6);
}

void test_batch_is_its_rows() {
  const std::int64_t rows = 9, frames = 20, vocab = 6;
  const auto logits = random_logits(rows * frames, vocab, 2, 3.0F);
  const std::vector<std::int64_t> lengths = {0, 20, 1, 19, 5, 0, 7, 20, 2};
  const std::vector<std::int64_t> begins = {20, 0, 19, 1, 0, 3, 7, 0, 2};
  mms::ScoresBatch batch{logits.data(), rows, frames, vocab, lengths.data()};
  batch.begins = begins.data();
  for (const std::int64_t threads : {1, 2, 16}) {
    const auto results = mms::greedy_batch(batch, 0, threads);
    for (std::size_t row = 0; row < 9; ++row) {
      const auto first = static_cast<std::ptrdiff_t>(row) * frames + begins[row];
      const auto begin = logits.begin() + first * vocab;
      const std::vector<float> alone(begin, begin + lengths[row] * vocab);
      CHECK(same(results[row], decode(alone, vocab, frames)));
    }
  }
}

void test_errors() {
  auto logits = random_logits(4, 20, 3, 3.0F);
  logits[2 * 20 + 19] = std::nanf("");
  CHECK(error_of([&] { decode(logits, 20, 4); }) == "frame 2 of the logits holds NaN");
  logits[2 * 20 + 19] = kInfinity;
  CHECK(error_of([&] { decode(logits, 20, 1); }) == "frame 2 of the logits holds +inf");
  for (std::size_t i = 0; i < 20; ++i) logits[2 * 20 + i] = -kInfinity;
  CHECK(error_of([&] { decode(logits, 20, 3); }) ==
        "frame 2 of the logits is -inf for every token");
  CHECK(error_of([] { mms::greedy_begin(-1); }) == "blank is -1, it must not be negative");
}

void test_failed_step_changes_nothing() {
  auto logits = random_logits(10, 5, 4, 3.0F);
  mms::GreedyState state = mms::greedy_begin(0);
  mms::TimedTokens tokens;
  mms::greedy_step(state, {logits.data(), 5, 5}, tokens);
  const mms::TimedTokens before = tokens;
  const float good = logits[9 * 5];
  logits[9 * 5] = std::nanf("");
  const auto step = [&] { mms::greedy_step(state, {logits.data() + 25, 5, 5}, tokens); };
  CHECK(error_of(step) == "frame 9 of the logits holds NaN");
  CHECK(same(tokens, before));
  logits[9 * 5] = good;
  step();
  mms::greedy_end(state, tokens);
  CHECK(same(tokens, decode(logits, 5, 10)));
}

}  // namespace

int main() {
  test_every_cut_gives_the_same_bits();
  test_scores();
  test_batch_is_its_rows();
  test_errors();
  test_failed_step_changes_nothing();
  return 0;
}
