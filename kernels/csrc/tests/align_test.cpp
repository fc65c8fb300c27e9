// The aligner without Python, run under the address and undefined-behaviour sanitizers.
#include "mms/align.h"

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <new>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "../cpu/align/search.h"
#include "check.h"
#include "mms/isa.h"

// Bytes that are allocated, and the most there were: the aligner is to keep its bound.
namespace {
constexpr std::size_t kHeader = 16;
std::atomic<std::int64_t> allocated{0};
std::atomic<std::int64_t> most{0};

void* take(std::size_t size) {
  auto* block = static_cast<std::byte*>(std::malloc(size + kHeader));
  if (block == nullptr) throw std::bad_alloc();
  *reinterpret_cast<std::size_t*>(block) = size;
  most = std::max<std::int64_t>(most, allocated += static_cast<std::int64_t>(size));
  return block + kHeader;
}

void give_back(void* pointer) {
  if (pointer == nullptr) return;
  auto* block = static_cast<std::byte*>(pointer) - kHeader;
  allocated -= static_cast<std::int64_t>(*reinterpret_cast<std::size_t*>(block));
  std::free(block);
}
}  // namespace

void* operator new(std::size_t size) { return take(size); }
void operator delete(void* pointer) noexcept { give_back(pointer); }
void operator delete(void* pointer, std::size_t) noexcept { give_back(pointer); }
void* operator new[](std::size_t size) { return take(size); }
void operator delete[](void* pointer) noexcept { give_back(pointer); }
void operator delete[](void* pointer, std::size_t) noexcept { give_back(pointer); }

namespace {

constexpr double kNever = -std::numeric_limits<double>::infinity();

using Target = std::vector<std::int64_t>;

// Exactly as many numbers as there are, on the heap, so that any step beyond them is caught.
std::vector<float> whole_scores(std::int64_t frames, std::int64_t vocab, std::mt19937& generator) {
  std::vector<float> scores(static_cast<std::size_t>(frames * vocab));
  for (float& score : scores) score = -static_cast<float>(generator() % 5);
  return scores;
}

Target random_target(std::int64_t size, std::int64_t vocab, std::mt19937& generator) {
  Target target(static_cast<std::size_t>(size));
  for (auto& token : target) token = 1 + static_cast<std::int64_t>(generator()) % (vocab - 1);
  return target;
}

std::int64_t frames_needed(const Target& target) {
  auto needed = static_cast<std::int64_t>(target.size());
  for (std::size_t i = 1; i < target.size(); ++i) needed += target[i] == target[i - 1] ? 1 : 0;
  return needed;
}

mms::Alignment align(const std::vector<float>& scores,
                     std::int64_t vocab,
                     const Target& target,
                     const mms::AlignOptions& options = {}) {
  const auto frames = static_cast<std::int64_t>(scores.size()) / vocab;
  return mms::forced_align(
      {scores.data(), frames, vocab, mms::DType::kFloat32, mms::ScoreKind::kLogProbs},
      {target.data(), static_cast<std::int64_t>(target.size())},
      options);
}

// States as text books have them, all in one row: blank, token, blank, ...
double best_score(const std::vector<float>& scores, std::int64_t vocab, const Target& target) {
  const std::size_t states = 2 * target.size() + 1;
  const auto token = [&](std::size_t s) { return s % 2 == 0 ? 0 : target[s / 2]; };
  std::vector<double> row(states, kNever);
  const std::size_t frames = scores.size() / static_cast<std::size_t>(vocab);
  for (std::size_t t = 0; t < frames; ++t) {
    std::vector<double> next(states, kNever);
    for (std::size_t s = 0; s < states; ++s) {
      double best = t == 0 ? (s < 2 ? 0.0 : kNever) : row[s];
      if (t > 0 && s > 0) best = std::max(best, row[s - 1]);
      if (t > 0 && s > 1 && s % 2 == 1 && token(s) != token(s - 2))
        best = std::max(best, row[s - 2]);
      next[s] =
          best +
          static_cast<double>(
              scores[t * static_cast<std::size_t>(vocab) + static_cast<std::size_t>(token(s))]);
    }
    row = next;
  }
  return states > 1 ? std::max(row[states - 1], row[states - 2]) : row[0];
}

/// The score of the path that the spans describe, -inf where they are no path of the target.
double path_score(const std::vector<float>& scores,
                  std::int64_t vocab,
                  const Target& target,
                  const mms::Alignment& found) {
  const std::int64_t frames = static_cast<std::int64_t>(scores.size()) / vocab;
  double total = 0.0;
  std::int64_t end = 0;
  const auto add = [&](std::int64_t from, std::int64_t to, std::int64_t token) {
    for (std::int64_t t = from; t < to; ++t) {
      total += static_cast<double>(scores[static_cast<std::size_t>(t * vocab + token)]);
    }
  };
  for (std::size_t i = 0; i < target.size(); ++i) {
    const bool repeats = i > 0 && target[i] == target[i - 1];
    if (found.starts[i] < end + (repeats ? 1 : 0) || found.ends[i] <= found.starts[i])
      return kNever;
    add(end, found.starts[i], 0);
    add(found.starts[i], found.ends[i], target[i]);
    end = found.ends[i];
  }
  add(end, frames, 0);
  return end <= frames ? total : kNever;
}

bool same(const mms::Alignment& a, const mms::Alignment& b) {
  return a.starts == b.starts && a.ends == b.ends && a.scores == b.scores && a.score == b.score;
}

// No frame, one frame and two frames more than the target takes; targets at the tiles' edges.
void test_tight_lattices_on_every_instruction_set() {
  std::mt19937 generator(1);
  for (const std::int64_t size : {0, 1, 2, 5, 31, 32, 33, 63, 64, 65, 100}) {
    for (const std::int64_t spare : {0, 1, 2, 40}) {
      const Target target = random_target(size, 4, generator);
      const std::int64_t frames = std::max<std::int64_t>(1, frames_needed(target) + spare);
      const auto scores = whole_scores(frames, 4, generator);
      const double expected = best_score(scores, 4, target);
      mms::use_isa(mms::Isa::kScalar);
      const auto scalar = align(scores, 4, target);
      CHECK(scalar.score == expected);
      CHECK(path_score(scores, 4, target, scalar) == expected);
      for (const mms::Isa isa : mms::usable_isas()) {
        mms::use_isa(isa);
        CHECK(same(align(scores, 4, target), scalar));
      }
    }
  }
}

void test_every_bound_gives_the_same_and_is_kept() {
  std::mt19937 generator(2);
  const std::int64_t frames = 12'000;
  const Target target = random_target(700, 6, generator);
  const auto scores = whole_scores(frames, 6, generator);
  const auto expected = align(scores, 6, target);
  CHECK(path_score(scores, 6, target, expected) == expected.score);
  const std::string refusal = error_of([&] { align(scores, 6, target, {.max_bytes = 1}); });
  const std::int64_t least = std::stoll(refusal.substr(refusal.rfind(' ')));
  CHECK(least < 200'000);
  const std::int64_t results = 20 * 700 + 1000;
  for (std::int64_t bytes = least; bytes < 4'000'000; bytes += bytes / 3) {
    const std::int64_t before = allocated;
    most = before;
    const auto found = align(scores, 6, target, {.max_bytes = bytes});
    CHECK(most - before <= bytes + results);
    CHECK(same(found, expected));
  }
}

void test_every_band_gives_the_same() {
  std::mt19937 generator(3);
  for (int round = 0; round < 30; ++round) {
    const Target target = random_target(20 + round * 10, 5, generator);
    const auto scores = whole_scores(frames_needed(target) + round * 20, 5, generator);
    const auto expected = align(scores, 5, target);
    for (const std::int64_t band : {1, 20, 100, 100'000}) {
      CHECK(same(align(scores, 5, target, {.band = band}), expected));
    }
  }
}

/// Whether the best path in the band is proved to be the best of all.
bool proved(const std::vector<float>& scores, const Target& target, std::int64_t width) {
  const auto frames = static_cast<std::int64_t>(scores.size()) / 3;
  const mms::Scores view{scores.data(), frames, 3, mms::DType::kFloat32, mms::ScoreKind::kLogProbs};
  const auto size = static_cast<std::int64_t>(target.size());
  const mms::AlignLabels labels = mms::read_target({target.data(), size}, 3, {});
  mms::AlignEmissions emissions(view, labels, {}, 1);
  const mms::AlignPlan plan =
      mms::plan_alignment({frames, 3, labels.tiles, labels.column_count()}, 1 << 24);
  return mms::AlignSearch(labels, emissions, frames, plan).run({frames, size, width});
}

// Leaving in the first or before the second of two frames that give at most -1 each.
void test_bound_of_paths_that_leave() {
  const std::vector<float> columns(mms::kAlignFrames, -1.0F);
  std::vector<double> never(mms::kAlignPlaces, kNever);
  std::vector<double> once = never;
  once[5] = -3.0;
  for (const bool in_blank : {false, true}) {
    mms::ExitBound bound;
    bound.enter(columns.data(), 1, 2);
    CHECK(bound.is_below(-100.0));
    bound.leave_tile(in_blank ? once.data() : never.data(), in_blank ? never.data() : once.data());
    CHECK(bound.is_below(-4.5) && !bound.is_below(-5.0));
    bound.leave(-2.0, 1);
    CHECK(bound.is_below(-2.5) && !bound.is_below(-3.0));
  }
}

/// 2000 frames of a blank and two tokens, each with the score that `score_of(frame, token)` gives.
template <typename Call>
std::vector<float> scores_of(const Call& score_of) {
  std::vector<float> scores;
  for (std::int64_t frame = 0; frame < 2000; ++frame) {
    for (std::int64_t token = 0; token < 3; ++token) scores.push_back(score_of(frame, token));
  }
  return scores;
}

// Speech as steady as the band expects; all at the start; all at the end. What else there is makes
// paths that leave the band on the wrong side so bad that only those on the right one forbid the
// proof.
void test_band_is_believed_with_a_proof_only() {
  Target target(200);
  for (std::size_t i = 0; i < 200; ++i) target[i] = static_cast<std::int64_t>(1 + i % 2);
  const auto said = [&](std::int64_t i) { return target[static_cast<std::size_t>(i)]; };
  const auto steady = scores_of([&](std::int64_t frame, std::int64_t token) {
    return token == (frame % 10 == 0 ? said(frame / 10) : 0) ? -0.25F : -6.0F;
  });
  const auto early = scores_of([&](std::int64_t frame, std::int64_t token) {
    if (frame < 200) return token == said(frame) ? -0.25F : -6.0F;
    return token == 0 ? -0.5F : -0.75F;
  });
  const auto late = scores_of([&](std::int64_t frame, std::int64_t token) {
    if (frame < 1600) return token == 0 ? -0.5F : frame < 1000 ? -100.0F : -2.0F;
    return token == (frame % 2 == 0 ? said((frame - 1600) / 2) : 0) ? -0.25F : -1.0F;
  });
  CHECK(proved(steady, target, 200));
  for (const auto& scores : {early, late}) {
    CHECK(!proved(scores, target, 1000));
    CHECK(proved(scores, target, 2000));
    CHECK(same(align(scores, 3, target, {.band = 1000}), align(scores, 3, target)));
  }
}

// Each is rounded to a multiple of 2^-26, so that sums of them are exact.
void test_scores_are_rounded() {
  CHECK(align(std::vector<float>(2000, -0x1p-28F), 2, {1}).score == 0.0);
  CHECK(align(std::vector<float>(2000, -0x1.8p-26F), 2, {1}).score == -1000 * 0x1p-25);
  CHECK(align(std::vector<float>(2000, -0x1.234568p-3F), 2, {1}).score == -1000 * 0x1.234568p-3);
}

void test_batch_is_its_rows() {
  std::mt19937 generator(4);
  const std::int64_t rows = 7, frames = 60, vocab = 5, width = 20;
  const auto scores = whole_scores(rows * frames, vocab, generator);
  const Target targets = random_target(rows * width, vocab, generator);
  const std::vector<std::int64_t> lengths = {60, 1, 0, 59, 60, 33, 2};
  const std::vector<std::int64_t> sizes = {20, 1, 0, 19, 0, 10, 1};
  const mms::ScoresBatch batch{scores.data(),
                               rows,
                               frames,
                               vocab,
                               lengths.data(),
                               mms::DType::kFloat32,
                               mms::ScoreKind::kLogProbs};
  for (const std::int64_t threads : {1, 2, 16}) {
    const auto found =
        mms::forced_align_batch(batch, {targets.data(), width, sizes.data()}, {}, threads);
    for (std::size_t row = 0; row < 7; ++row) {
      const auto begin = scores.begin() + static_cast<std::ptrdiff_t>(row) * frames * vocab;
      const auto first = targets.begin() + static_cast<std::ptrdiff_t>(row) * width;
      CHECK(same(found[row],
                 align({begin, begin + lengths[row] * vocab}, vocab, {first, first + sizes[row]})));
    }
  }
}

void test_errors() {
  std::mt19937 generator(5);
  auto scores = whole_scores(5, 3, generator);
  const auto tried = [&](const Target& target, const mms::AlignOptions& options = {}) {
    return error_of([&] { align(scores, 3, target, options); });
  };
  CHECK(tried({1, 1, 1}) == "nothing was thrown");
  CHECK(tried({1, 1, 1, 2}).starts_with("the target takes at least 6 frames, L = 4 "));
  CHECK(tried({1, 0}) == "token 1 of the target is 0, the blank: leave blanks out");
  CHECK(tried({3}) == "token 0 of the target is 3, the logits have only 3 tokens");
  CHECK(tried({-1}) == "token 0 of the target is -1, which is no token, nor the star of this call");
  CHECK(tried({-1}, {.has_star = true}) == "nothing was thrown");
  CHECK(tried({1}, {.blank = -1}) == "blank is -1, it must not be negative");
  for (std::size_t frame = 0; frame < 5; ++frame)
    scores[frame * 3 + 2] = static_cast<float>(kNever);
  CHECK(tried({1, 2}).starts_with("no path has a probability"));
  CHECK(tried({1, 2}, {.band = 1}).starts_with("no path has a probability"));
  scores[4] = std::numeric_limits<float>::quiet_NaN();
  CHECK(tried({1}) == "frame 1 of the logits holds NaN");
}

}  // namespace

int main() {
  test_tight_lattices_on_every_instruction_set();
  test_every_bound_gives_the_same_and_is_kept();
  test_every_band_gives_the_same();
  test_bound_of_paths_that_leave();
  test_band_is_believed_with_a_proof_only();
  test_scores_are_rounded();
  test_batch_is_its_rows();
  test_errors();
  return 0;
}
