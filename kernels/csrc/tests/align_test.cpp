// White-box tests of the aligner: its memory limit, and the proof of a band.
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

// Allocated bytes and their peak, to check the aligner's memory limit.
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

bool same(const mms::Alignment& a, const mms::Alignment& b) {
  return a.starts == b.starts && a.ends == b.ends && a.scores == b.scores && a.score == b.score;
}

void test_every_bound_gives_the_same_and_is_kept() {
  std::mt19937 generator(2);
  const std::int64_t frames = 12'000;
  const Target target = random_target(700, 6, generator);
  const auto scores = whole_scores(frames, 6, generator);
  const auto expected = align(scores, 6, target);
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

}  // namespace

int main() {
  test_every_bound_gives_the_same_and_is_kept();
  test_bound_of_paths_that_leave();
  test_band_is_believed_with_a_proof_only();
  return 0;
}
