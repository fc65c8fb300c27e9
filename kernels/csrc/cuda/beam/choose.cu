// Choice of the tokens that may extend a hypothesis: the most likely ones of each frame, in order.
//
// Distinct 64-bit keys order the tokens by descending probability, then by id. If not all are
// wanted, a radix selection with eight bits per pass finds the last wanted key.
#include "state.cuh"

namespace mms::cuda {
namespace {

constexpr int kBins = 256;
constexpr int kBinsOfLane = kBins / kWarpSize;

/// Smaller keys are more likely tokens. -0 equals 0; NaN does not occur.
__device__ std::uint64_t key_of(float score, std::int64_t token) {
  const std::uint32_t bits = __float_as_uint(score + 0.0F);
  const std::uint32_t descending = (bits >> 31) != 0 ? bits : bits ^ 0x7FFFFFFFU;
  return static_cast<std::uint64_t>(descending) << 32 | static_cast<std::uint64_t>(token);
}

/// Tokens of a frame without the blank.
struct Tokens {
  const ScoresBatch& scores;
  std::int64_t begin;
  std::int32_t blank;

  __device__ std::uint64_t key(std::int64_t token) const {
    return key_of(score_at(scores, begin + token), token);
  }
};

/// Exclusive prefix sum over the lanes. For whole warps.
__device__ int sum_before(int mine) {
  int sum = mine;
  for (unsigned step = 1; step < kWarpSize; step *= 2) {
    const int before = __shfl_up_sync(kAllLanes, sum, step);
    if (lane_id() >= static_cast<int>(step)) sum += before;
  }
  return sum - mine;
}

struct Digit {
  int value;   ///< Bin of the last wanted key.
  int before;  ///< Keys in earlier bins.
  int inside;
};

/// Find the bin of the `wanted`-th key, counted from 1. For one whole warp.
__device__ Digit find_bin(const Checked<int>& bins, int wanted) {
  int mine = 0;
  for (int i = 0; i < kBinsOfLane; ++i) mine += bins[lane_id() * kBinsOfLane + i];
  Digit digit{0, sum_before(mine), 0};
  const bool here = digit.before < wanted && wanted <= digit.before + mine;
  const int lane = __ffs(static_cast<std::int32_t>(__ballot_sync(kAllLanes, here))) - 1;
  if (here) {
    digit.value = lane_id() * kBinsOfLane;
    while (digit.before + bins[digit.value] < wanted) digit.before += bins[digit.value++];
    digit.inside = bins[digit.value];
  }
  digit.value = __shfl_sync(kAllLanes, digit.value, lane);
  digit.before = __shfl_sync(kAllLanes, digit.before, lane);
  digit.inside = __shfl_sync(kAllLanes, digit.inside, lane);
  return digit;
}

/// Greatest of the `wanted` smallest keys, or any value below the next key. For whole blocks.
__device__ std::uint64_t find_limit(const Tokens& tokens, int wanted) {
  MMS_SHARED(int, bins, kBins);
  MMS_SHARED(Digit, found, 1);
  std::uint64_t prefix = 0;
  for (int shift = 56; shift >= 0; shift -= 8) {
    for (int bin = thread_id(); bin < kBins; bin += block_threads()) bins[bin] = 0;
    __syncthreads();
    for (std::int64_t token = thread_id(); token < tokens.scores.vocab; token += block_threads()) {
      const std::uint64_t key = tokens.key(token);
      const bool matches = shift == 56 || key >> (shift + 8) == prefix;
      if (token == tokens.blank || !matches) continue;
      atomic_add(bins, static_cast<std::int64_t>(key >> shift & 255U), 1);
    }
    __syncthreads();
    if (warp_id() == 0) {
      const Digit digit = find_bin(bins, wanted);
      if (lane_id() == 0) found[0] = digit;
    }
    __syncthreads();
    const Digit digit = found[0];
    prefix = prefix << 8 | static_cast<std::uint64_t>(digit.value);
    wanted -= digit.before;
    if (digit.inside == wanted) return ((prefix + 1) << shift) - 1;
  }
  return prefix;
}

/// Collect the keys up to `limit`, in any order. For whole blocks.
__device__ void collect(const Tokens& tokens,
                        std::uint64_t limit,
                        const Checked<std::uint64_t>& keys) {
  MMS_SHARED(int, count, 1);
  if (thread_id() == 0) count[0] = 0;
  __syncthreads();
  for (std::int64_t token = thread_id(); token < tokens.scores.vocab; token += block_threads()) {
    const std::uint64_t key = tokens.key(token);
    if (token != tokens.blank && key <= limit) keys[atomic_add(count, 0, 1)] = key;
  }
  __syncthreads();
}

}  // namespace
}  // namespace mms::cuda

/// One block per frame: grid (scores.frames, rows), block 32 to 1024, dynamic shared memory
/// beam_tokens_shared_bytes.
extern "C" __global__ void mms_beam_tokens(mms::cuda::BeamArgs args) {
  using namespace mms::cuda;
  const std::int64_t row = blockIdx.y;
  const std::int64_t frame = blockIdx.x;
  if (slot_of(args.slots, row) < 0 || frame >= args.scores.lengths[row]) return;
  const std::int64_t place = row * args.scores.frames + frame;
  if (args.frames[place].code != Code::kOk) return;
  const Tokens tokens{args.scores, frame_begin(args.scores, row, frame), args.blank};
  const std::int32_t wanted = choices_used(args);
  const bool all = wanted == args.scores.vocab - 1;
  const std::uint64_t limit = all ? ~std::uint64_t{0} : find_limit(tokens, wanted);
  const Checked<std::uint64_t> keys = dynamic_shared<std::uint64_t>(0, args.choice_count);
  collect(tokens, limit, keys);
  for (int i = thread_id(); i < wanted; i += block_threads()) {
    const std::uint64_t key = keys[i];
    int rank = 0;
    for (int other = 0; other < wanted; ++other) rank += keys[other] < key ? 1 : 0;
    const auto token = static_cast<std::int32_t>(key);
    const float score = score_at(args.scores, tokens.begin + token);
    args.choices[place * args.choice_count + rank] = {token, score - args.frames[place].offset};
  }
}
