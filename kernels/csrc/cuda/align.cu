// CTC forced alignment: the most likely path of a given labelling (Viterbi), for each utterance.
//
// With L targets, a[j] is the best log-probability of the paths that end in the blank before
// target j (a[L]: after the last), b[j] of those that end in target j:
//   a'[j] = max(a[j], b[j-1]) + e(blank)
//   b'[j] = max(b[j], a[j], b[j-1] where target j differs from target j-1) + e(target j)
// One bit per a and two per b record the predecessor; the spans are traced backwards. Among equals
// the first in the order above wins, so that each token begins as early as possible.
//
// Emissions are rounded to multiples of 2^-26 and added in float64, so that sums are exact.
#include "scores.cuh"

namespace mms::cuda {
namespace {

/// One utterance of the batch.
struct Utterance {
  const AlignArgs& args;
  std::int64_t row;
  std::int64_t frames;
  std::int64_t count;  ///< Number of targets.
  const std::int32_t* targets;
  const Frame* infos;

  __device__ Utterance(const AlignArgs& all, std::int64_t index)
      : args(all),
        row(index),
        frames(all.scores.lengths[index]),
        count(all.target_lengths[index]),
        targets(all.targets + index * all.target_stride),
        infos(all.frames + index * all.scores.frames) {}

  __device__ bool is_star(std::int32_t token) const {
    return args.has_star != 0 && token == args.star;
  }

  __device__ double log_prob(std::int64_t frame, std::int32_t token) const {
    if (is_star(token)) return args.star_score;
    const float score = score_at(args.scores, frame_begin(args.scores, row, frame) + token);
    return rint(static_cast<double>(score - infos[frame].offset) * 0x1p26) * 0x1p-26;
  }

  /// True if target j may follow target j-1 without a blank.
  __device__ bool may_skip(std::int64_t j) const { return j > 0 && targets[j] != targets[j - 1]; }
};

/// Check an utterance. For whole blocks.
__device__ Status check(const Utterance& utterance) {
  const AlignArgs& args = utterance.args;
  const Status status = check_frames(utterance.infos, utterance.frames, args.scores.frames);
  if (status.code != Code::kOk) return status;
  if (utterance.count < 0 || utterance.count > args.target_stride) return {Code::kTarget, 0, 0};
  bool wrong = false;
  std::int64_t repeats = 0;
  for (std::int64_t j = thread_id(); j < utterance.count; j += block_threads()) {
    const std::int32_t token = utterance.targets[j];
    const bool known = token >= 0 && token < args.scores.vocab && token != args.blank;
    wrong |= !known && !utterance.is_star(token);
    repeats += j > 0 && !utterance.may_skip(j) ? 1 : 0;
  }
  const double all_repeats = block_sum(static_cast<double>(repeats));
  if (__syncthreads_count(wrong) > 0) return {Code::kTarget, 0, 0};
  if (utterance.frames < utterance.count + static_cast<std::int64_t>(all_repeats)) {
    return {Code::kInfeasible, 0, 0};
  }
  if (args.bits_stride < align_bits(utterance.frames, utterance.count)) {
    return {Code::kCapacity, 0, 0};
  }
  return {Code::kOk, 0, 0};
}

/// Cells of two frames, the last and the next.
struct Cells {
  Checked<double> all;
  std::int64_t width;

  __device__ Checked<double> blanks(std::int64_t frame) const {
    return part(all, (frame & 1) * 2 * width, width);
  }
  __device__ Checked<double> labels(std::int64_t frame) const {
    return part(all, ((frame & 1) * 2 + 1) * width, width);
  }
};

/// Back-pointers: three rows of `words` words per frame.
struct Bits {
  Checked<std::uint32_t> all;
  std::int64_t words;

  __device__ Bits(const Utterance& utterance)
      : all(checked(utterance.args.bits + utterance.row * utterance.args.bits_stride,
                    utterance.args.bits_stride)),
        words(utterance.count / kWarpSize + 1) {}

  __device__ std::int64_t place(std::int64_t frame, int which, std::int64_t word) const {
    return (frame * 3 + which) * words + word;
  }
};

enum Which { kMoved, kLeftBlank, kSkipped };  // a from b[j-1]; b from a[j]; b from b[j-1]

/// Compute cell j of the next frame in a and b. For whole warps.
__device__ void step_cell(const Utterance& utterance,
                          const Cells& cells,
                          const Bits& bits,
                          std::int64_t frame,
                          std::int64_t j) {
  const bool has_blank = j <= utterance.count;
  const bool has_label = j < utterance.count;
  const Checked<double> labels = cells.labels(frame);
  const double a = has_blank ? static_cast<double>(cells.blanks(frame)[j]) : kNever;
  const double b = has_label ? static_cast<double>(labels[j]) : kNever;
  const double before = has_blank && j > 0 ? static_cast<double>(labels[j - 1]) : kNever;
  const bool moved = before > a;
  const bool left_blank = a > b;
  const double stayed = left_blank ? a : b;
  const bool skipped = has_label && utterance.may_skip(j) && before > stayed;
  if (has_blank) {
    const double emission = utterance.log_prob(frame, utterance.args.blank);
    cells.blanks(frame + 1)[j] = (moved ? before : a) + emission;
  }
  if (has_label) {
    const double emission = utterance.log_prob(frame, utterance.targets[j]);
    cells.labels(frame + 1)[j] = (skipped ? before : stayed) + emission;
  }
  const std::uint32_t moved_bits = __ballot_sync(kAllLanes, moved);
  const std::uint32_t left_bits = __ballot_sync(kAllLanes, left_blank);
  const std::uint32_t skipped_bits = __ballot_sync(kAllLanes, skipped);
  if (lane_id() != 0 || !has_blank) return;
  bits.all[bits.place(frame, kMoved, j / kWarpSize)] = moved_bits;
  bits.all[bits.place(frame, kLeftBlank, j / kWarpSize)] = left_bits;
  bits.all[bits.place(frame, kSkipped, j / kWarpSize)] = skipped_bits;
}

/// Forward pass over all frames. For whole blocks.
__device__ void fill(const Utterance& utterance, const Cells& cells, const Bits& bits) {
  for (std::int64_t i = thread_id(); i < 4 * cells.width; i += block_threads()) {
    cells.all[i] = i == 0 ? 0.0 : kNever;  // before frame 0: the empty prefix
  }
  __syncthreads();
  for (std::int64_t frame = 0; frame < utterance.frames; ++frame) {
    // Cells that cannot reach the end are left out.
    const std::int64_t unreachable = utterance.count - (utterance.frames - frame);
    const std::int64_t low = unreachable > 0 ? unreachable / kWarpSize * kWarpSize : 0;
    const std::int64_t high = frame + 1 < utterance.count ? frame + 1 : utterance.count;
    for (std::int64_t base = low; base <= high; base += block_threads()) {
      step_cell(utterance, cells, bits, frame, base + thread_id());
    }
    __syncthreads();
  }
}

/// State of the path: in target j, or in the blank before it.
struct Place {
  std::int64_t j;
  bool in_label;
};

/// Trace the spans backwards. Each lane fetches one of 32 frames: j decreases by at most 32 in
/// them, so that two words of each row suffice. For one whole warp.
__device__ void trace(const Utterance& utterance,
                      const Bits& bits,
                      Place place,
                      const Checked<std::int64_t>& starts,
                      const Checked<std::int64_t>& ends) {
  const bool writes = lane_id() == 0;
  if (place.in_label && writes) ends[place.j] = utterance.frames;
  for (std::int64_t last = utterance.frames - 1; last >= 0; last -= kWarpSize) {
    const std::int64_t mine = last - lane_id();
    const std::int64_t word = place.j / kWarpSize;
    std::uint32_t fetched[2][3] = {};
    for (int which = 0; which < 3 && mine >= 0; ++which) {
      fetched[0][which] = bits.all[bits.place(mine, which, word)];
      if (word > 0) fetched[1][which] = bits.all[bits.place(mine, which, word - 1)];
    }
    const int count = last + 1 < kWarpSize ? static_cast<int>(last) + 1 : kWarpSize;
    for (int i = 0; i < count; ++i) {
      const bool lower = place.j / kWarpSize != word;
      const auto bit = [&](Which which) {
        // No index that is known at run time only: the words stay in registers.
        const std::uint32_t words = lower ? fetched[1][which] : fetched[0][which];
        const std::uint32_t row = __shfl_sync(kAllLanes, words, i);
        return (row >> (place.j % kWarpSize) & 1U) != 0;
      };
      if (!place.in_label) {
        if (!bit(kMoved)) continue;
        --place.j;
        place.in_label = true;
        if (writes) ends[place.j] = last - i;
        continue;
      }
      const bool skipped = bit(kSkipped);
      if (!skipped && !bit(kLeftBlank)) continue;
      if (writes) starts[place.j] = last - i;
      place.in_label = skipped;
      if (!skipped) continue;
      --place.j;
      if (writes) ends[place.j] = last - i;
    }
  }
}

/// Write each target's mean log-probability.
__device__ void write_scores(const Utterance& utterance,
                             const Checked<std::int64_t>& starts,
                             const Checked<std::int64_t>& ends) {
  const AlignArgs& args = utterance.args;
  for (std::int64_t j = thread_id(); j < utterance.count; j += block_threads()) {
    const std::int64_t start = starts[j];
    const std::int64_t end = ends[j];
    double sum = 0.0;
    for (std::int64_t t = start; t < end; ++t) sum += utterance.log_prob(t, utterance.targets[j]);
    args.token_scores[utterance.row * args.target_stride + j] =
        static_cast<float>(sum / static_cast<double>(end - start));
  }
}

/// Align one utterance. For whole blocks.
__device__ Status align(const Utterance& utterance, double& path_score) {
  const AlignArgs& args = utterance.args;
  const Status status = check(utterance);
  if (status.code != Code::kOk) return status;
  const std::int64_t width = args.target_stride + 1;
  const Cells cells{args.cells == nullptr
                        ? dynamic_shared<double>(0, 4 * width)
                        : checked(args.cells + utterance.row * 4 * width, 4 * width),
                    width};
  const Bits bits(utterance);
  fill(utterance, cells, bits);
  const double in_blank = cells.blanks(utterance.frames)[utterance.count];
  const Checked<double> labels = cells.labels(utterance.frames);
  const double in_label =
      utterance.count > 0 ? static_cast<double>(labels[utterance.count - 1]) : kNever;
  if (in_blank == kNever && in_label == kNever) return {Code::kImpossible, 0, 0};
  const std::int64_t begin = utterance.row * args.target_stride;
  const Checked<std::int64_t> starts = checked(args.starts + begin, args.target_stride);
  const Checked<std::int64_t> ends = checked(args.ends + begin, args.target_stride);
  const bool ends_in_label = in_label > in_blank;
  const Place place{utterance.count - (ends_in_label ? 1 : 0), ends_in_label};
  if (warp_id() == 0) trace(utterance, bits, place, starts, ends);
  __syncthreads();
  write_scores(utterance, starts, ends);
  path_score = ends_in_label ? in_label : in_blank;
  return status;
}

}  // namespace
}  // namespace mms::cuda

extern "C" __global__ void mms_align(mms::cuda::AlignArgs args) {
  using namespace mms::cuda;
  const Utterance utterance(args, blockIdx.x);
  double path_score = kNever;
  const Status status = align(utterance, path_score);
  if (thread_id() != 0) return;
  args.status[utterance.row] = status;
  args.path_scores[utterance.row] = path_score;
}
