// The CUDA kernels on the host under the sanitizers: every array is on the heap and exactly as
// large as it has to be, so that any step beyond it is caught. What comes out is checked against
// the CPU's kernels in tests/kernels; here it must be the same in any order of the threads.
#include "mms/cuda.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "check.h"
#include "mms/cuda_beam.h"

extern "C" int mms_emulated_launch(const char* name,
                                   const unsigned* grid,
                                   unsigned threads,
                                   std::size_t shared_bytes,
                                   unsigned seed,
                                   void** arguments,
                                   char* error,
                                   std::size_t error_bytes);

namespace {

using namespace mms::cuda;

constexpr std::int64_t kRows = 3;
constexpr std::int64_t kFrames = 37;
constexpr std::int64_t kVocab = 45;

template <typename T>
std::vector<T> array(std::int64_t size) {
  return std::vector<T>(static_cast<std::size_t>(size));
}

struct Launcher {
  unsigned seed;
  unsigned threads;

  template <typename... Arguments>
  void operator()(const char* name,
                  unsigned x,
                  unsigned y,
                  unsigned block,
                  std::int64_t shared_bytes,
                  Arguments... arguments) const {
    const unsigned grid[3] = {x, y, 1};
    void* pointers[] = {&arguments...};
    char error[500] = "";
    const auto bytes = static_cast<std::size_t>(shared_bytes);
    const int code =
        mms_emulated_launch(name, grid, block, bytes, seed, pointers, error, sizeof error);
    if (code != 0) std::fprintf(stderr, "%s: %s\n", name, error);
    CHECK(code == 0);
  }
};

struct Batch {
  std::vector<float> data = array<float>(kRows * kFrames * kVocab);
  std::vector<std::int64_t> lengths = {kFrames, 0, kFrames - 5};
  std::vector<Frame> frames = array<Frame>(kRows * kFrames);
  mms::ScoresBatch scores{};

  explicit Batch(const Launcher& launch) {
    std::mt19937 generator(1);
    std::normal_distribution<float> normal(0.0F, 3.0F);
    for (float& value : data) value = normal(generator);
    scores = {data.data(), kRows, kFrames, kVocab, lengths.data()};
    const unsigned warps = launch.threads / 32;
    const auto blocks = (static_cast<unsigned>(kFrames) + warps - 1) / warps;
    launch("mms_frames", blocks, kRows, launch.threads, 0, scores, frames.data());
  }
};

void check_codes(const std::vector<Status>& status) {
  for (const Status& one : status) CHECK(one.code == Code::kOk);
}

std::vector<std::int32_t> greedy(const Launcher& launch) {
  const Batch batch(launch);
  const std::int64_t capacity = kFrames + 1;
  std::vector<GreedyStream> streams(kRows, GreedyStream{});
  auto status = array<Status>(kRows);
  auto counts = array<std::int64_t>(kRows);
  auto ids = array<std::int32_t>(kRows * capacity);
  auto starts = array<std::int64_t>(kRows * capacity);
  auto ends = starts;
  auto means = array<float>(kRows * capacity);
  auto peaks = means;
  const GreedyArgs args{batch.frames.data(),
                        batch.lengths.data(),
                        kFrames,
                        nullptr,
                        streams.data(),
                        status.data(),
                        counts.data(),
                        ids.data(),
                        starts.data(),
                        ends.data(),
                        means.data(),
                        peaks.data(),
                        capacity,
                        0,
                        1};
  launch("mms_greedy", kRows, 1, 32, 0, args);
  check_codes(status);
  CHECK(counts[0] > 20 && counts[1] == 0);
  return ids;
}

std::vector<double> align(const Launcher& launch) {
  const Batch batch(launch);
  const std::int64_t width = 33;
  std::vector<std::int32_t> targets;
  for (std::int64_t i = 0; i < kRows * width; ++i) {
    targets.push_back(static_cast<std::int32_t>(1 + i * 7 % (kVocab - 1)));
  }
  const std::vector<std::int64_t> counts = {width, 0, 32};
  const std::int64_t words = align_bits(kFrames, width);
  auto bits = array<std::uint32_t>(kRows * words);
  auto cells = array<double>(kRows * 4 * (width + 1));
  auto starts = array<std::int64_t>(kRows * width);
  auto ends = starts;
  auto means = array<float>(kRows * width);
  auto scores = array<double>(kRows);
  auto status = array<Status>(kRows);
  const bool in_shared = launch.seed % 2 == 0;
  const AlignArgs args{batch.scores,
                       batch.frames.data(),
                       targets.data(),
                       counts.data(),
                       width,
                       bits.data(),
                       words,
                       in_shared ? nullptr : cells.data(),
                       starts.data(),
                       ends.data(),
                       means.data(),
                       scores.data(),
                       status.data(),
                       0,
                       0,
                       0,
                       0.0F};
  launch("mms_align", kRows, 1, launch.threads, in_shared ? align_shared_bytes(width) : 0, args);
  check_codes(status);
  CHECK(starts[0] >= 0 && ends[width - 1] <= kFrames && scores[0] < 0);
  return scores;
}

/// Tokens with their times, of `rows` rows.
struct Tokens {
  std::int64_t capacity;
  std::vector<std::int32_t> ids;
  std::vector<std::int64_t> starts;
  std::vector<std::int64_t> ends = starts;
  std::vector<float> means;
  std::vector<float> peaks = means;

  Tokens(std::int64_t rows, std::int64_t size)
      : capacity(size),
        ids(array<std::int32_t>(rows * size)),
        starts(array<std::int64_t>(rows * size)),
        means(array<float>(rows * size)) {}

  TokenArrays view() {
    return {ids.data(), starts.data(), ends.data(), means.data(), peaks.data(), capacity};
  }
};

/// Streams in slots of which one is not used, with as little memory as has to be there.
struct Beam {
  static constexpr std::int64_t kSlots = kRows + 1;
  std::int32_t size = 20;
  std::int64_t choice_count = beam_exact_choices(20, kVocab);
  std::int64_t arena = beam_least_arena(20, 0);
  std::vector<std::int32_t> slots = {3, 0, 1};
  std::vector<BeamScoring> scorings = array<BeamScoring>(kSlots);
  std::vector<BeamChoice> choices = array<BeamChoice>(kRows * kFrames * choice_count);
  std::vector<BeamStream> streams = array<BeamStream>(kSlots);
  std::vector<BeamEntry> entries = array<BeamEntry>(kSlots * size);
  std::vector<BeamNode> nodes = array<BeamNode>(kSlots * arena);
  std::vector<std::int32_t> heads = array<std::int32_t>(kSlots * arena);
  std::vector<BeamSpan> spans = array<BeamSpan>(kSlots * arena);
  std::vector<std::int32_t> marks = array<std::int32_t>(kRows * arena);
  std::vector<Status> status = array<Status>(kRows);
  std::vector<std::int64_t> settled_counts = array<std::int64_t>(kRows);
  Tokens settled{kRows, arena + kFrames};
  Tokens tokens{kRows * size, arena};
  std::vector<std::int64_t> counts = array<std::int64_t>(kRows * size);
  std::vector<std::int64_t> stable = array<std::int64_t>(kRows);
  std::vector<double> log_probs = array<double>(kRows * size);
  std::vector<double> lm_scores = log_probs;
  std::vector<double> bonuses = log_probs;
  std::vector<double> scores = log_probs;

  BeamArgs args(const Batch& batch) {
    for (BeamScoring& scoring : scorings) scoring.separator = -1;
    return {batch.scores,
            batch.frames.data(),
            choices.data(),
            choice_count,
            slots.data(),
            scorings.data(),
            streams.data(),
            entries.data(),
            nodes.data(),
            heads.data(),
            spans.data(),
            marks.data(),
            arena,
            settled.view(),
            settled_counts.data(),
            status.data(),
            20,
            size,
            0,
            -INFINITY};
  }
  BeamOutput output() {
    return {tokens.view(),
            counts.data(),
            stable.data(),
            log_probs.data(),
            lm_scores.data(),
            bonuses.data(),
            scores.data(),
            size,
            1};
  }
};

struct BeamResult {
  std::vector<double> scores;
  std::vector<std::int64_t> ends;
  std::int64_t settled;

  bool operator==(const BeamResult&) const = default;
};

/// Read the batch often enough that memory has to be looked after, and is short.
BeamResult beam(const Launcher& launch) {
  const Batch batch(launch);
  Beam state;
  const BeamArgs args = state.args(batch);
  const auto threads = static_cast<unsigned>(beam_threads(state.size));
  const std::int64_t bytes = beam_tokens_shared_bytes(state.choice_count);
  const std::int64_t shared = beam_step_shared_bytes(state.size, beam_threads(state.size));
  launch("mms_beam_begin", kRows, 1, 32, 0, args);
  launch("mms_beam_tokens", kFrames, kRows, launch.threads, bytes, args);
  BeamResult result{};
  for (int i = 0; i < 8; ++i) {
    launch("mms_beam_step", kRows, 1, threads, shared, args);
    check_codes(state.status);
    result.settled += state.settled_counts[0];
  }
  launch("mms_beam_results", kRows, 1, threads, 0, args, state.output());
  check_codes(state.status);
  CHECK(result.settled > 50 && state.streams[2].used == 0);
  CHECK(state.scores[0] > state.scores[1] && std::isinf(state.scores[21]));
  CHECK(state.tokens.ends[static_cast<std::size_t>(state.counts[0] - 1)] <= 8 * kFrames);
  result.scores = state.scores;
  result.ends = state.tokens.ends;
  return result;
}

}  // namespace

int main() {
  const Launcher first{0, 64};
  const auto ids = greedy(first);
  const auto paths = align(first);
  const auto scores = beam(first);
  for (const Launcher& other : {Launcher{1, 32}, Launcher{2, 128}}) {
    CHECK(greedy(other) == ids);
    CHECK(align(other) == paths);
    CHECK(beam(other) == scores);
  }
  return 0;
}
