// Streams that record instead of run, and what they recorded.
#pragma once

#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "declarations.h"
#include "queue.h"

namespace cudasim {

struct Stream;

struct Node {
  Work work;
  std::vector<std::size_t> after;
};

struct Graph {
  std::vector<Node> nodes;
};

struct GraphExec {
  std::shared_ptr<Context> context;
  std::vector<Node> nodes;
  OperationPtr last;  ///< Launches of one executable graph follow each other.
};

/// A capture that has begun and not ended.
struct Capture {
  std::shared_ptr<Context> context;
  CaptureMode mode = kCaptureGlobal;
  std::thread::id thread;
  const Stream* origin = nullptr;
  bool invalidated = false;
  bool ended = false;
  std::uint64_t number = 0;
  std::vector<Node> nodes;

  /// Throws Error unless more can be captured.
  void require_valid() const;
  std::size_t add(Work work, std::vector<std::size_t> after);
  /// Whether every node is before one of `last`.
  bool joined(const std::vector<std::size_t>& last) const;
};

void begin_capture(Stream& stream, CaptureMode mode);
/// Throws Error as cuStreamEndCapture fails; the capture has ended then too.
std::shared_ptr<Graph> end_capture(Stream& stream);
/// Make a stream that captures (or is about to) come after `nodes` of `capture`.
void join_capture(Stream& stream,
                  const std::shared_ptr<Capture>& capture,
                  const std::vector<std::size_t>& nodes);
/// Order all nodes on a stream.
void launch(GraphExec& graph, Stream& stream);

}  // namespace cudasim
