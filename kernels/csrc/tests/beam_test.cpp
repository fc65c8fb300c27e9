// The core without Python, run under the address and undefined-behaviour sanitizers.
#include "mms/beam.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <map>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "check.h"
#include "mms/isa.h"

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
using Tokens = std::vector<std::int32_t>;

// Exactly as many numbers as there are, on the heap, so that any step beyond them is caught.
mms::Scores view(const std::vector<float>& logits, std::int64_t vocab, std::int64_t start = 0) {
  const auto frames = static_cast<std::int64_t>(logits.size()) / vocab - start;
  return {logits.data() + start * vocab, frames, vocab};
}

std::vector<mms::BeamHypothesis> decode(const mms::BeamDecoder& decoder,
                                        const std::vector<float>& logits,
                                        std::int64_t vocab,
                                        std::int64_t step) {
  mms::BeamStream stream(decoder);
  const mms::Scores all = view(logits, vocab);
  for (std::int64_t frame = 0; frame < all.frames; frame += step) {
    stream.step({logits.data() + frame * vocab, std::min(step, all.frames - frame), vocab});
  }
  return stream.results(1000);
}

bool same(const std::vector<mms::BeamHypothesis>& a, const std::vector<mms::BeamHypothesis>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const auto& x, const auto& y) {
    return x.tokens.ids == y.tokens.ids && x.tokens.starts == y.tokens.starts &&
           x.tokens.ends == y.tokens.ends && x.tokens.scores == y.tokens.scores &&
           x.tokens.peaks == y.tokens.peaks && x.log_prob == y.log_prob && x.score == y.score;
  });
}

mms::BeamOptions options_of(std::int64_t beam_size) {
  mms::BeamOptions options;
  options.beam_size = beam_size;
  return options;
}

/// Probability of every labelling, from all paths.
std::map<Tokens, double> enumerate(const std::vector<float>& logits, std::int32_t vocab) {
  std::map<Tokens, double> sums = {{{}, 0.0}};
  const auto frames = static_cast<std::int64_t>(logits.size()) / vocab;
  std::vector<std::pair<Tokens, double>> paths = {{{}, 1.0}};
  for (std::int64_t frame = 0; frame < frames; ++frame) {
    const float* row = logits.data() + frame * vocab;
    double norm = 0.0;
    for (std::int32_t token = 0; token < vocab; ++token) norm += std::exp(row[token]);
    std::vector<std::pair<Tokens, double>> longer;
    for (const auto& [path, p] : paths) {
      for (std::int32_t token = 0; token < vocab; ++token) {
        longer.emplace_back(path, p * std::exp(row[token]) / norm);
        longer.back().first.push_back(token);
      }
    }
    paths.swap(longer);
  }
  for (const auto& [path, p] : paths) {
    Tokens labels;
    for (std::size_t i = 0; i < path.size(); ++i) {
      if (path[i] != 0 && (i == 0 || path[i] != path[i - 1])) labels.push_back(path[i]);
    }
    sums[labels] += p;
  }
  if (frames > 0 && sums[{}] == 0.0) sums.erase(Tokens{});
  return sums;
}

void test_open_beam_is_all_paths() {
  for (unsigned seed = 0; seed < 20; ++seed) {
    const auto logits = random_logits(5, 3, seed, 2.0F);
    const auto sums = enumerate(logits, 3);
    const auto found = decode(mms::BeamDecoder(options_of(200), {}), logits, 3, 5);
    CHECK(found.size() == sums.size());
    for (const auto& one : found) {
      CHECK(std::abs(std::exp(one.log_prob) - sums.at(one.tokens.ids)) < 1e-6);
    }
  }
}

void test_cuts_and_instruction_sets_give_the_same_bits() {
  for (const std::int64_t vocab : {1, 2, 17, 33, 300}) {
    const auto logits = random_logits(150, vocab, 1, 2.0F);
    for (const std::int64_t beam : {1, 7, 8, 33}) {
      mms::BeamOptions options = options_of(beam);
      options.lookback = 40;
      const mms::BeamDecoder decoder(options, {});
      const auto whole = decode(decoder, logits, vocab, 150);
      for (const std::int64_t step : {1, 7}) {
        CHECK(same(decode(decoder, logits, vocab, step), whole));
      }
      const mms::Isa before = mms::current_isa();
      for (const mms::Isa isa : mms::usable_isas()) {
        mms::use_isa(isa);
        CHECK(same(decode(decoder, logits, vocab, 150), whole));
      }
      mms::use_isa(before);
    }
  }
}

void test_batch_is_its_rows() {
  const std::int64_t rows = 9, frames = 20, vocab = 6;
  const auto logits = random_logits(rows * frames, vocab, 2, 2.0F);
  const std::vector<std::int64_t> lengths = {0, 20, 1, 19, 5, 0, 7, 20, 2};
  const mms::BeamDecoder decoder(options_of(10), {});
  const mms::ScoresBatch batch{logits.data(), rows, frames, vocab, lengths.data()};
  for (const std::int64_t threads : {1, 2, 16}) {
    const auto results = decoder.decode(batch, 1000, threads);
    for (std::size_t row = 0; row < 9; ++row) {
      const auto begin = logits.begin() + static_cast<std::ptrdiff_t>(row) * frames * vocab;
      const std::vector<float> alone(begin, begin + lengths[row] * vocab);
      CHECK(same(results[row], decode(decoder, alone, vocab, frames)));
    }
  }
}

void test_failed_step_changes_nothing() {
  auto logits = random_logits(10, 20, 3, 2.0F);
  const mms::BeamDecoder decoder(options_of(6), {});
  const auto whole = decode(decoder, logits, 20, 10);
  mms::BeamStream stream(decoder);
  stream.step({logits.data(), 4, 20});
  const float good = logits[9 * 20 + 19];
  const auto step = [&] { stream.step(view(logits, 20, 4)); };
  logits[9 * 20 + 19] = std::nanf("");
  CHECK(error_of(step) == "frame 9 of the logits holds NaN");
  logits[9 * 20 + 19] = kInfinity;
  CHECK(error_of(step) == "frame 9 of the logits holds +inf");
  logits[9 * 20 + 19] = good;
  step();
  CHECK(same(stream.results(1000), whole));
}

void test_copies_are_independent() {
  const auto logits = random_logits(60, 9, 4, 2.0F);
  const mms::BeamDecoder decoder(options_of(12), {});
  mms::BeamStream stream(decoder);
  stream.step({logits.data(), 30, 9});
  mms::BeamStream twin(stream);
  twin.step({logits.data(), 17, 9});
  mms::BeamStream third(decoder);
  third = twin;
  third.reset();
  stream.step(view(logits, 9, 30));
  CHECK(same(stream.results(1000), decode(decoder, logits, 9, 60)));
  CHECK(twin.frames() == 47 && third.frames() == 0);
}

/// Words are known by their length alone: log10 P = -length / 10.
class LengthModel final : public mms::LanguageModel {
 public:
  mms::LmState start() const override { return 0; }
  mms::LmUnit unit(std::string_view text) const override {
    return static_cast<mms::LmUnit>(text.size());
  }
  bool knows(std::string_view) const override { return true; }
  mms::LmStep score(mms::LmState state, mms::LmUnit unit) const override {
    return {-0.1F * static_cast<float>(unit), state + 1};
  }
  float finish(mms::LmState state) const override { return -0.01F * static_cast<float>(state); }
};

void test_models_and_bounded_memory() {
  const std::int64_t vocab = 6;
  const LengthModel lm;
  const mms::Hotwords hotwords({{{1, 2}, 3.0F}, {{4}, 1.0F}}, vocab, 3);
  mms::BeamOptions options = options_of(9);
  options.lm_weight = 1.0;
  options.separator = 3;
  options.lookback = 64;
  const mms::BeamDecoder decoder(options, {&lm, &hotwords, nullptr, {"", "a", "b", "|", "c", "d"}});
  const auto logits = random_logits(4000, vocab, 5, 2.0F);
  const auto whole = decode(decoder, logits, vocab, 4000);
  mms::BeamStream stream(decoder);
  Tokens tokens;
  for (std::int64_t frame = 0; frame < 4000; frame += 50) {
    stream.step({logits.data() + frame * vocab, 50, vocab});
    const Tokens taken = stream.take_stable().ids;
    tokens.insert(tokens.end(), taken.begin(), taken.end());
    CHECK(stream.live() < 3000);
  }
  const auto rest = stream.results(1);
  tokens.insert(tokens.end(), rest[0].tokens.ids.begin(), rest[0].tokens.ids.end());
  CHECK(tokens == whole[0].tokens.ids);
  double lm_score = 0.0;
  int words = 0, length = 0;
  tokens.push_back(3);
  for (const std::int32_t token : tokens) {
    if (token != 3) {
      ++length;
    } else if (length > 0) {
      lm_score -= 0.1 * length;
      length = 0;
      ++words;
    }
  }
  CHECK(std::abs(rest[0].lm_score - (lm_score - 0.01 * words)) < 1e-3);
  CHECK(std::abs(rest[0].score - rest[0].log_prob - rest[0].lm_score - rest[0].bonus) < 1e-6);
}

void test_lexicon() {
  const mms::Lexicon lexicon({{1, 2}, {1}, {5, 5}, {1, 2}});
  CHECK(lexicon.next(lexicon.root(), 2) == mms::Lexicon::kNone);
  const auto node = lexicon.next(lexicon.root(), 1);
  CHECK(lexicon.is_word(node) && lexicon.is_word(lexicon.next(node, 2)));
  CHECK(!lexicon.is_word(lexicon.next(lexicon.root(), 5)) && !lexicon.is_word(lexicon.root()));
  CHECK(error_of([] { mms::Lexicon(std::vector<Tokens>(1)); }) ==
        "word 0 of the lexicon has no tokens");
  mms::BeamOptions options = options_of(4);
  options.separator = 3;
  const mms::BeamDecoder decoder(options, {nullptr, nullptr, &lexicon, {}});
  // Only a token that begins no word is possible: no hypothesis is left, and nothing breaks.
  std::vector<float> logits(200 * 6, -kInfinity);
  for (std::size_t frame = 0; frame < 200; ++frame) logits[frame * 6 + 4] = 0.0F;
  CHECK(decode(decoder, logits, 6, 200).empty());
}

}  // namespace

int main() {
  test_open_beam_is_all_paths();
  test_cuts_and_instruction_sets_give_the_same_bits();
  test_batch_is_its_rows();
  test_failed_step_changes_nothing();
  test_copies_are_independent();
  test_models_and_bounded_memory();
  test_lexicon();
  return 0;
}
