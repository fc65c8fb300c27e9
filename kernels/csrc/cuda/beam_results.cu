// Hypotheses out of the arena, and the arena cleared of what no hypothesis needs.
#include "beam_rows.cuh"

namespace mms::cuda {
namespace {

/// Tokens after the root, up to `node`.
__device__ std::int64_t depth_of(const BeamRow& stream, std::int32_t node) {
  std::int64_t depth = 0;
  for (; node != 0; node = static_cast<BeamNode>(stream.nodes[node]).parent) ++depth;
  return depth;
}

/// Write the tokens after `root`, up to `node`, of which there are `count`.
__device__ void write_tokens(const BeamRow& stream,
                             std::int32_t node,
                             std::int64_t count,
                             std::int32_t* tokens) {
  while (count > 0) {
    const BeamNode prefix = stream.nodes[node];
    tokens[--count] = prefix.token;
    node = prefix.parent;
  }
}

/// How many of the block's scores come before this thread's. For whole blocks.
__device__ int rank_of(double score, int used) {
  MMS_SHARED(double, scores, kMaxBeam);
  if (thread_id() < used) scores[thread_id()] = score;
  __syncthreads();
  int rank = 0;
  for (int other = 0; other < used; ++other) {
    const double theirs = scores[other];
    rank += theirs > score || (theirs == score && other < thread_id()) ? 1 : 0;
  }
  return rank;
}

/// For whole blocks.
__device__ Code write_results(const BeamRow& stream, const BeamOutput& out) {
  const BeamArgs& args = stream.args;
  const int used = static_cast<BeamStream>(stream.state[0]).used;
  const int slot = thread_id();
  const std::int64_t begin = stream.row * out.nbest;
  for (int i = used + slot; i < out.nbest; i += block_threads()) {
    out.counts[begin + i] = 0;
    out.scores[begin + i] = kNever;
  }
  BeamEntry entry{};
  std::int64_t count = 0;
  if (slot < used) {
    entry = stream.entries[slot];
    count = depth_of(stream, entry.node);
    if (out.finish != 0) {
      entry.gain = finish(args.scoring, stream.nodes, entry.node, entry.gain);
    }
  }
  const double score = entry.total + weigh(args.scoring, entry.gain);
  const int rank = rank_of(score, used);
  const bool wanted = slot < used && rank < out.nbest;
  if (__syncthreads_count(wanted && count > out.capacity) > 0) return Code::kCapacity;
  if (!wanted) return Code::kOk;
  const std::int64_t place = begin + rank;
  write_tokens(stream, entry.node, count, out.tokens + place * out.capacity);
  out.counts[place] = count;
  out.log_probs[place] = entry.total;
  out.lm_scores[place] = entry.gain.lm_score;
  out.bonuses[place] = entry.gain.bonus;
  out.scores[place] = score;
  return Code::kOk;
}

/// The last node that all hypotheses have gone through, and whose word, where words are scored, is
/// over. For whole blocks.
__device__ std::int32_t find_root(const BeamRow& stream, const Checked<std::int32_t>& marks) {
  const BeamArgs& args = stream.args;
  const BeamStream state = stream.state[0];
  for (int i = thread_id(); i < state.nodes; i += block_threads()) marks[i] = 0;
  __syncthreads();
  if (thread_id() < state.used) {
    std::int32_t node = static_cast<BeamEntry>(stream.entries[thread_id()]).node;
    for (; node >= 0; node = static_cast<BeamNode>(stream.nodes[node]).parent) {
      atomic_add(marks, node, 1);
    }
  }
  __syncthreads();
  double last = 0.0;
  for (int i = thread_id(); i < state.nodes; i += block_threads()) {
    if (marks[i] == state.used) last = i;
  }
  auto root = static_cast<std::int32_t>(block_max(last));
  if (args.scoring.has_lm == 0 || args.scoring.scores_words == 0) return root;
  while (root != 0) {
    const BeamNode node = stream.nodes[root];
    if (node.token == args.scoring.separator) break;
    root = node.parent;
  }
  return root;
}

/// Move the marked nodes from `root` on together; a node's mark becomes its new place. Parents
/// come before their children and stay so. For whole blocks; returns how many there are.
__device__ int move_nodes(const BeamRow& stream,
                          const Checked<std::int32_t>& marks,
                          std::int32_t root,
                          std::int32_t end) {
  int moved = 0;
  for (std::int32_t base = root; base < end; base += block_threads()) {
    const std::int32_t from = base + thread_id();
    const bool kept = from < end && marks[from] > 0;
    BeamNode node{};
    if (kept) node = stream.nodes[from];
    const Count count = count_threads(kept);
    const int to = moved + count.before;
    if (kept) {
      marks[from] = to;
      stream.heads[to] = -1;
    }
    __syncthreads();
    if (kept) {
      node.parent = from == root ? -1 : static_cast<std::int32_t>(marks[node.parent]);
      node.sibling = from == root ? -1 : atomic_exchange(stream.heads, node.parent, to);
      stream.nodes[to] = node;
    }
    moved += count.all;
  }
  return moved;
}

/// For whole blocks.
__device__ Code compact(const BeamRow& stream, const BeamOutput& out) {
  const BeamArgs& args = stream.args;
  BeamStream state = stream.state[0];
  const auto marks = checked(args.marks + stream.row * args.arena, args.arena);
  const std::int32_t root = find_root(stream, marks);
  const std::int64_t count = depth_of(stream, root);
  if (count > out.capacity) return Code::kCapacity;
  if (thread_id() == 0) {
    write_tokens(stream, root, count, out.tokens + stream.row * out.capacity);
    out.counts[stream.row] = count;
  }
  const std::int32_t end = state.nodes;
  state.nodes = move_nodes(stream, marks, root, end);
  if (thread_id() < state.used) {
    BeamEntry entry = stream.entries[thread_id()];
    entry.node = marks[entry.node];
    // A prefix before the root can come back no more: every hypothesis is longer.
    const bool known = entry.parent_node >= root;
    entry.parent_node = known ? static_cast<std::int32_t>(marks[entry.parent_node]) : -1;
    stream.entries[thread_id()] = entry;
  }
  state.settled += count;
  if (thread_id() == 0) stream.state[0] = state;
  return Code::kOk;
}

}  // namespace
}  // namespace mms::cuda

/// The best hypotheses, without the tokens before the root: grid (rows), block beam_threads.
extern "C" __global__ void __launch_bounds__(128)
    mms_beam_results(mms::cuda::BeamArgs args, mms::cuda::BeamOutput out) {
  using namespace mms::cuda;
  const BeamRow stream(args, blockIdx.x);
  const Code code = write_results(stream, out);
  if (thread_id() == 0) args.status[stream.row] = {code, 0, 0};
}

/// Hand over the tokens that can no longer change, and free all prefixes that no hypothesis needs:
/// grid (rows), block beam_threads. `out` needs tokens [rows, capacity] and counts [rows].
extern "C" __global__ void __launch_bounds__(128)
    mms_beam_compact(mms::cuda::BeamArgs args, mms::cuda::BeamOutput out) {
  using namespace mms::cuda;
  const BeamRow stream(args, blockIdx.x);
  const Code code = compact(stream, out);
  if (thread_id() == 0) args.status[stream.row] = {code, 0, 0};
}
