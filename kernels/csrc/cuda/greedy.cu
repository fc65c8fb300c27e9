// Greedy decoding: runs of frames with the same best token, blanks left out (mms/greedy.h).
//
// A warp reads 32 frames at once and processes them in order of time, so that sums do not depend on
// the chunking.
#include "scores.cuh"

namespace mms::cuda {
namespace {

/// Output of a row. Every lane counts, one writes.
struct GreedyWriter {
  const GreedyArgs& args;
  std::int64_t row;
  std::int64_t count = 0;

  __device__ void close(const GreedyStream& stream) {
    if (stream.open == args.blank) return;
    if (lane_id() == 0) {
      const std::int64_t place = row * args.capacity + count;
      args.ids[place] = stream.open;
      args.starts[place] = stream.start;
      args.ends[place] = stream.frame;
      args.scores[place] =
          static_cast<float>(stream.sum / static_cast<double>(stream.frame - stream.start));
      args.peaks[place] = static_cast<float>(stream.peak);
    }
    ++count;
  }
};

__device__ void read_frame(GreedyStream& stream,
                           std::int32_t token,
                           double score,
                           GreedyWriter& writer) {
  if (token != stream.open) {
    writer.close(stream);
    stream = {token, 0, stream.frame, stream.frame, 0.0, score};
  }
  stream.sum += score;
  stream.peak = score > stream.peak ? score : stream.peak;
  ++stream.frame;
}

__device__ void read_frames(GreedyStream& stream,
                            const Frame* frames,
                            std::int64_t length,
                            GreedyWriter& writer) {
  for (std::int64_t base = 0; base < length; base += kWarpSize) {
    const bool inside = base + lane_id() < length;
    const std::int32_t token = inside ? frames[base + lane_id()].best : 0;
    const float score = inside ? frames[base + lane_id()].score : 0.0F;
    const std::int64_t left = length - base;
    const int count = left < kWarpSize ? static_cast<int>(left) : kWarpSize;
    for (int i = 0; i < count; ++i) {
      const std::int32_t best = __shfl_sync(kAllLanes, token, i);
      read_frame(stream, best, __shfl_sync(kAllLanes, score, i), writer);
    }
  }
}

}  // namespace
}  // namespace mms::cuda

extern "C" __global__ void __launch_bounds__(32) mms_greedy(mms::cuda::GreedyArgs args) {
  using namespace mms::cuda;
  const std::int64_t row = blockIdx.x;
  const std::int64_t slot = slot_of(args.slots, row);
  if (slot < 0) return;
  const std::int64_t length = args.lengths[row];
  const Frame* frames = args.frames + row * args.frame_stride;
  Status status = check_frames(frames, length, args.frame_stride);
  if (status.code == Code::kOk && args.capacity < length + 1) status.code = Code::kCapacity;
  const Checked<GreedyStream> kept = checked(args.streams + slot, 1);
  GreedyStream stream = kept[0];
  GreedyWriter writer{args, row};
  if (status.code == Code::kOk) {
    read_frames(stream, frames, length, writer);
    if (args.finish != 0) {
      writer.close(stream);
      stream = {args.blank, 0, 0, 0, 0.0, 0.0};
    }
  }
  __syncwarp();  // every lane has read the stream
  if (lane_id() == 0) {
    args.counts[row] = writer.count;
    args.status[row] = status;
    kept[0] = stream;
  }
}
