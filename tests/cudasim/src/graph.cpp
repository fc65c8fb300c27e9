#include "graph.h"

#include <algorithm>
#include <utility>

#include "simulator.h"

namespace cudasim {

void Capture::require_valid() const {
  if (invalidated) {
    throw Error(code::kCaptureInvalidated, "an earlier call has spoilt the capture");
  }
}

std::size_t Capture::add(Work work, std::vector<std::size_t> after) {
  require_valid();
  nodes.push_back({std::move(work), std::move(after)});
  return nodes.size() - 1;
}

bool Capture::joined(const std::vector<std::size_t>& last) const {
  std::vector<bool> reached(nodes.size());
  std::vector<std::size_t> open = last;
  while (!open.empty()) {
    const std::size_t node = open.back();
    open.pop_back();
    if (reached[node]) continue;
    reached[node] = true;
    open.insert(open.end(), nodes[node].after.begin(), nodes[node].after.end());
  }
  return std::all_of(reached.begin(), reached.end(), [](bool value) { return value; });
}

void begin_capture(Stream& stream, CaptureMode mode) {
  if (stream.capture) throw Error(code::kCaptureUnmatched, "the stream captures already");
  static std::uint64_t count = 0;
  auto capture = std::make_shared<Capture>();
  capture->context = stream.context;
  capture->mode = mode;
  capture->thread = std::this_thread::get_id();
  capture->origin = &stream;
  capture->number = ++count;
  stream.capture = std::move(capture);
  stream.frontier.clear();
}

std::shared_ptr<Graph> end_capture(Stream& stream) {
  const auto capture = stream.capture;
  if (!capture) throw Error(code::kCaptureUnmatched, "the stream captures nothing");
  if (capture->origin != &stream) {
    throw Error(code::kCaptureUnmatched, "the capture began in another stream");
  }
  if (capture->mode != kCaptureRelaxed && capture->thread != std::this_thread::get_id()) {
    throw Error(code::kCaptureWrongThread, "the capture began in another thread");
  }
  capture->ended = true;
  const bool joined = capture->joined(stream.frontier);
  for (const auto& [handle, other] : simulator().streams.live()) {
    if (other->capture != capture) continue;
    other->capture = nullptr;
    other->frontier.clear();
  }
  capture->require_valid();
  if (!joined) {
    throw Error(code::kCaptureUnjoined,
                "a stream that joined the capture has work that no event leads back");
  }
  auto graph = std::make_shared<Graph>();
  graph->nodes = std::move(capture->nodes);
  return graph;
}

void join_capture(Stream& stream,
                  const std::shared_ptr<Capture>& capture,
                  const std::vector<std::size_t>& nodes) {
  capture->require_valid();
  if (stream.capture && stream.capture != capture) {
    stream.capture->invalidated = capture->invalidated = true;
    throw Error(code::kCaptureMerge, "the event is of another capture");
  }
  stream.capture = capture;
  stream.frontier.insert(stream.frontier.end(), nodes.begin(), nodes.end());
}

void launch(GraphExec& graph, Stream& stream) {
  Simulator& simulated = simulator();
  if (stream.capture) {
    stream.capture->invalidated = true;
    throw Error(code::kNotSupported, "graphs in graphs are not simulated");
  }
  const OperationPtr begin =
      simulated.enqueue(stream, {"graph begins", nullptr, false}, {graph.last});
  std::vector<OperationPtr> operations;
  for (const Node& node : graph.nodes) {
    std::vector<OperationPtr> after{begin};
    for (const std::size_t other : node.after) after.push_back(operations[other]);
    operations.push_back(simulated.queue.add(
        {node.work.name + " (in a graph)", node.work.run, node.work.is_copy, node.work.accesses},
        stream.context,
        std::move(after)));
  }
  graph.last = simulated.enqueue(stream, {"graph ends", nullptr, false}, std::move(operations));
}

}  // namespace cudasim
